//! A build that is cut off is resumed: what was finished is not encoded again, and the result is the same.

use std::time::Duration;

use anyhow::{Context, Result};
use contract::status::{Final, Status};
use serde_json::json;
use tests::tree;
use tests::world::{World, eventually};

use crate::builds::{Bench, estimate, pulled_into, report_of_release};
use crate::layers::stop;

/// Tracks of the collection; each is encoded once for each of two profiles.
const TRACKS: u32 = 24;
/// Encodes of an undisturbed build.
const ENCODES: usize = 2 * TRACKS as usize;
/// Encodes that are finished before the cut.
pub(crate) const BEFORE: u64 = 8;

/// A collection whose encoding takes some seconds, so that there is a halfway.
pub(crate) fn slow_collection(bench: &Bench) -> Result<()> {
    bench.profile("home", "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=-8e\n")?;
    bench.profile("phone", "CONFIG_ENCODER=opusenc\nCONFIG_OPUSENC_FLAGS=--comp 10\n")?;
    for number in 1..=TRACKS {
        let path = bench
            .sources
            .join(format!("Long/Album {}/{number:02}-long.wav", number % 4));
        tests::sample::long_track(&path, number, 15_000)?;
    }
    Ok(())
}

/// A build in the middle of its work.
pub(crate) struct Begun {
    pub(crate) bench: Bench,
    pub(crate) world: World,
    pub(crate) build: String,
    /// Of its first attempt, when it had encoded some tracks.
    pub(crate) status: Status,
}

/// Starts a build and waits until it has encoded some tracks. These rules are switched off before.
pub(crate) async fn begun(off: &[&str]) -> Result<Begun> {
    let bench = Bench::new()?;
    slow_collection(&bench)?;
    let world = World::start(&bench.profiles, 1).await?;
    for rule in off {
        world.switch_off(rule)?;
    }
    world.vibes(&["upload", bench.sources.to_str().context("UTF-8")?])?;
    let build = world.building().await?;
    let status = world.encoded(&build, BEFORE).await?;
    Ok(Begun {
        bench,
        world,
        build,
        status,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_is_followed_by_an_attempt_that_continues() -> Result<()> {
    let Begun {
        bench,
        world,
        build,
        status,
    } = begun(&[]).await?;
    world.twin("POST", &format!("instances/{}/vanish", status.instance))?;
    world.idle().await?;

    let release = world.release().await?;
    assert_eq!(release.release, build, "the same build ended well");
    let second = world
        .object::<serde_json::Value>(&contract::objects::status(&build, 0, 2))
        .await?;
    assert!(second.is_some(), "there was a second attempt");
    let used = estimate(&world, &build).await?;
    let attempts: Vec<_> = used.instances.iter().map(|instance| instance.attempt).collect();
    assert_eq!(attempts, [1, 2], "the lost attempt counts too");
    assert!(
        used.instances.iter().all(|instance| instance.seconds > 0),
        "both worked: {used:?}"
    );
    finished_tracks_were_not_encoded_again(&world).await?;
    the_report_tells_of_the_interruption(&world, &build, "without a last word").await?;
    the_release_equals_an_undisturbed_one(&world, &bench).await?;
    world.done()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spot_notice_costs_at_most_the_tracks_in_flight() -> Result<()> {
    let Begun {
        bench: _bench,
        world,
        build,
        status,
    } = begun(&[]).await?;
    world.twin("POST", &format!("instances/{}/spot-notice", status.instance))?;
    world.idle().await?;

    let release = world.release().await?;
    assert_eq!(release.release, build, "the same build ended well");
    let key = contract::objects::status(&build, 0, 1);
    let first: Status = world.object(&key).await?.context("the first attempt said nothing")?;
    assert_eq!(first.last, Some(Final::Interrupted), "{first:?}");
    let finished: u64 = first.profiles.values().map(|tracks| tracks.done).sum();
    assert!(
        finished >= BEFORE,
        "{finished} were finished before the end of the first attempt"
    );
    let encoded = finished as usize + report_of_release(&world).await?.built.len();
    let in_flight = std::thread::available_parallelism()?.get();
    // A track whose output was whole, but whom tup had not noted yet, is in neither number.
    assert!(
        (ENCODES.saturating_sub(in_flight)..=ENCODES).contains(&encoded),
        "{finished} finished by the first attempt, {encoded} of {ENCODES} in all"
    );
    the_report_tells_of_the_interruption(&world, &build, "told to stop").await?;
    world.done()
}

/// The report for people and the execution's output say which attempt was interrupted, and what it took.
async fn the_report_tells_of_the_interruption(world: &World, build: &str, how: &str) -> Result<()> {
    let key = contract::objects::report_text(build);
    let object = world
        .s3
        .get_object()
        .bucket(&world.state_bucket)
        .key(key)
        .send()
        .await?;
    let text = String::from_utf8(object.body.collect().await?.to_vec())?;
    let used = estimate(world, build).await?;
    let first = used.instances.first().context("no attempt")?;
    assert!(first.seconds > 0, "{used:?}");
    let expected = format!(
        "1 of 2 attempts were interrupted and took {0} instance seconds, what they finished was kept \
         (shard 0 attempt 1: {1} {2} for {0} s, {how})",
        first.seconds,
        first.market.as_str(),
        first.instance_type
    );
    assert!(text.contains(&expected), "expected: {expected}\n{text}");
    let ended = world.ended(&world.execution(build)).await?;
    let output = ended.output.context("no output")?;
    assert!(output.contains("1 of 2 attempts were interrupted"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_execution_is_cleaned_up_and_the_next_build_continues() -> Result<()> {
    let Begun {
        bench, world, build, ..
    } = begun(&[]).await?;
    stop(&world, &build).await?;
    eventually(
        Duration::from_secs(120),
        "the cleanup machine frees control",
        async || {
            let control: Option<contract::control::Control> = world.object("control.json").await?;
            Ok(control.filter(|control| control.owner.as_ref() != Some(&build)))
        },
    )
    .await?;
    world.idle().await?;
    let inventory = world.twin("GET", "inventory")?;
    assert_eq!(inventory["volumes"], json!([]), "no volume is left: {inventory}");

    let next = world.start_build(json!({})).await?;
    assert_eq!(world.ended(&next).await?.status.as_str(), "SUCCEEDED");
    finished_tracks_were_not_encoded_again(&world).await?;
    the_release_equals_an_undisturbed_one(&world, &bench).await?;
    world.done()
}

pub(crate) async fn finished_tracks_were_not_encoded_again(world: &World) -> Result<()> {
    let built = report_of_release(world).await?.built.len();
    assert!(built > 0, "the cut came before the end");
    let most = ENCODES - BEFORE as usize;
    assert!(
        built <= most,
        "{built} of {ENCODES} encodes after the cut, although {BEFORE} were finished before it"
    );
    Ok(())
}

async fn the_release_equals_an_undisturbed_one(world: &World, bench: &Bench) -> Result<()> {
    let resumed = bench.out.with_file_name("resumed");
    let undisturbed = bench.out.with_file_name("undisturbed");
    world.vibes(&["pull", resumed.to_str().context("UTF-8")?])?;
    let fresh = world.start_build(json!({"force": true, "fresh": true})).await?;
    assert_eq!(world.ended(&fresh).await?.status.as_str(), "SUCCEEDED");
    assert_eq!(
        report_of_release(world).await?.built.len(),
        ENCODES,
        "from blank volumes"
    );
    world.vibes(&["pull", undisturbed.to_str().context("UTF-8")?])?;
    let (resumed, undisturbed) = (pulled_into(&resumed)?, pulled_into(&undisturbed)?);
    assert_eq!(resumed.len(), ENCODES);
    assert_eq!(tree::contents(&resumed), tree::contents(&undisturbed), "byte for byte");
    Ok(())
}
