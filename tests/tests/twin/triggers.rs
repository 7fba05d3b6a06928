//! Builds start by themselves, one at a time, and no upload is lost.

use std::time::Duration;

use anyhow::{Context, Result};
use contract::manifest;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tests::sample;
use tests::world::{World, eventually};

use crate::builds::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn uploads_console_and_schedule_start_builds_one_at_a_time() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 1)?;
    let file = bench.sources.join("Tiny & Co/Album 1/01-Track 1.wav");
    let world = World::start(&bench.profiles, 1).await?;

    let target = format!("s3://{}/one/01-one.wav", world.sources_bucket);
    world.aws(&["s3", "cp", file.to_str().context("UTF-8")?, &target])?;
    let first = world.building().await?;
    world.idle().await?;
    assert_eq!(
        world.release().await?.release,
        first,
        "one upload starts a build by itself"
    );

    a_burst_of_uploads_makes_at_most_two_builds(&world, std::fs::read(&file)?).await?;
    a_console_start_during_a_build_is_queued_and_its_wish_is_built(&world).await?;
    builds_never_overlap(&world).await?;
    an_upload_is_built_although_its_builds_name_is_taken(&world, std::fs::read(&file)?).await?;
    the_schedule_starts_a_build(&world).await?;
    world.done()
}

async fn a_burst_of_uploads_makes_at_most_two_builds(world: &World, track: Vec<u8>) -> Result<()> {
    let before = world.idle().await?.seq;
    futures::stream::iter(0..500)
        .map(|number| {
            let mut track = track.clone();
            let last = track.len() - 2;
            track[last..].copy_from_slice(&(number as u16).to_le_bytes());
            async move {
                world
                    .put(&format!("burst {}/{number:03}-x.wav", number % 10), track)
                    .await
            }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    eventually(Duration::from_secs(60), "the burst starts a build", async || {
        let control: Option<contract::control::Control> = world.object("control.json").await?;
        Ok(control.filter(|control| control.seq > before))
    })
    .await?;
    let builds = world.idle().await?.seq - before;
    assert!((1..=2).contains(&builds), "500 objects led to {builds} builds");
    let release = world.release().await?;
    let text = world
        .s3
        .get_object()
        .bucket(&world.state_bucket)
        .key(&release.manifest)
        .send()
        .await?;
    let text = String::from_utf8(text.body.collect().await?.to_vec())?;
    let burst = manifest::from_lines(&text)?
        .into_iter()
        .filter(|entry| entry.key.starts_with("burst "))
        .count();
    assert_eq!(
        (burst, release.complete),
        (500, true),
        "the last release holds all of them"
    );
    Ok(())
}

async fn a_console_start_during_a_build_is_queued_and_its_wish_is_built(world: &World) -> Result<()> {
    let running = world.start_build(json!({"force": true})).await?;
    let owner = world.building().await?;
    let late = world.start_build(json!({})).await?;
    let late = world.ended(&late).await?;
    let output: serde_json::Value = serde_json::from_str(late.output.as_deref().context("an output")?)?;
    assert_eq!(late.status.as_str(), "SUCCEEDED");
    assert_eq!(output["plan"]["decision"], "queued", "{output}");
    assert_eq!(world.building().await?, owner, "the first build goes on");
    let seq = world.idle().await?.seq;
    assert_eq!(world.ended(&running).await?.status.as_str(), "SUCCEEDED");
    let wish = contract::control::build_name(seq);
    let executions = running.rsplit_once(':').context("an ARN")?.0;
    let ended = world.ended(&format!("{executions}:{wish}")).await?;
    assert_eq!(ended.status.as_str(), "SUCCEEDED", "its wish ran as {wish}");
    Ok(())
}

async fn an_upload_is_built_although_its_builds_name_is_taken(world: &World, track: Vec<u8>) -> Result<()> {
    let seq = world.idle().await?.seq;
    let taken = world
        .sfn
        .start_execution()
        .state_machine_arn(&world.pipeline)
        .name(contract::control::build_name(seq + 1))
        .input(json!({"not": "understood"}).to_string())
        .send()
        .await?;
    assert_eq!(world.ended(&taken.execution_arn).await?.status.as_str(), "FAILED");
    world.put("taken/01-x.wav", track).await?;
    eventually(Duration::from_secs(60), "the upload is in the release", async || {
        let manifest = world.release().await?.manifest;
        let object = world.s3.get_object().bucket(&world.state_bucket).key(&manifest);
        let text = object.send().await?.body.collect().await?.to_vec();
        let entries = manifest::from_lines(std::str::from_utf8(&text)?)?;
        Ok(entries.iter().any(|entry| entry.key == "taken/01-x.wav").then_some(()))
    })
    .await?;
    assert_eq!(world.idle().await?.seq, seq + 2, "under the next name");
    Ok(())
}

async fn the_schedule_starts_a_build(world: &World) -> Result<()> {
    let before = world.idle().await?.seq;
    let nightly = "NightlySchedule=rate(1 minute)";
    world.vibes(&["deploy", "--twin", world.state()?, "--parameter", nightly])?;
    eventually(Duration::from_secs(90), "the schedule starts a build", async || {
        let control: Option<contract::control::Control> = world.object("control.json").await?;
        Ok(control.filter(|control| control.seq > before))
    })
    .await?;
    Ok(())
}

async fn builds_never_overlap(world: &World) -> Result<()> {
    let listed = world
        .sfn
        .list_executions()
        .state_machine_arn(&world.pipeline)
        .send()
        .await?;
    let mut worked = Vec::new();
    for execution in listed.executions {
        let ended = world.ended(&execution.execution_arn).await?;
        let queued = ended
            .output
            .as_deref()
            .is_some_and(|output| output.contains("\"queued\""));
        if !queued {
            worked.push((
                execution.start_date,
                ended.stop_date.context("it has ended")?,
                execution.name,
            ));
        }
    }
    worked.sort();
    for pair in worked.windows(2) {
        // The hand-over starts the next execution as the last act of the one before.
        let overlap = pair[0].1.as_secs_f64() - pair[1].0.as_secs_f64();
        assert!(
            overlap < 3.0,
            "{} and {} ran together for {overlap} s",
            pair[0].2,
            pair[1].2
        );
    }
    Ok(())
}
