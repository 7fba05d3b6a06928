//! An older release is served again when a person wishes for it, until there is a newer one.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::sample;
use tests::tree::Tree;
use tests::world::{World, eventually};

use crate::builds::{Bench, pulled_into};

/// Starts the serve machine as the console does, and gives how the execution ended.
async fn wish(world: &World, input: Value) -> Result<String> {
    let machine = world.pipeline.replace("-pipeline", "-serve");
    let start = world.sfn.start_execution().state_machine_arn(machine);
    let started = start.input(input.to_string()).send().await?;
    let ended = world.ended(&started.execution_arn).await?;
    Ok(ended.status.as_str().to_owned())
}

fn pull(world: &World, bench: &Bench) -> Result<Tree> {
    world.vibes(&["pull", bench.out.to_str().context("UTF-8")?])?;
    pulled_into(&bench.out)
}

/// Changes a title, and waits until that is built.
async fn retitle(world: &World, bench: &Bench, title: &str) -> Result<()> {
    let track = bench.sources.join("Tiny & Co/Album 1/01-Track 1.tags.vc");
    std::fs::write(track, format!("TITLE={title}\n"))?;
    world.vibes(&["upload", bench.sources.to_str().context("UTF-8")?])?;
    world.building().await?;
    world.idle().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_is_served_until_a_newer_one_is_published() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 2)?;
    let world = World::start(&bench.profiles, 1).await?;
    bench.run(&world)?;
    let (first, older) = (world.release().await?.release, bench.pulled()?);
    retitle(&world, &bench, "Another").await?;
    let current = world.release().await?.release;
    assert_ne!(pull(&world, &bench)?, older);

    let said = world.vibes(&["serve", &first])?;
    assert!(said.contains(&format!("{first} is served at")), "{said}");
    assert_eq!(pull(&world, &bench)?, older, "the older release is served");
    let checked = world.start_build(json!({"serve": true})).await?;
    world.ended(&checked).await?;
    assert_eq!(pull(&world, &bench)?, older, "a check that serves leaves it alone");
    assert_eq!(
        world.release().await?.release,
        current,
        "and the next build starts from the current one"
    );

    let refused = world.vibes(&["serve", "b-99999"]).expect_err("nobody keeps it");
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("b-99999 is not kept") && refused.contains(&first),
        "{refused}"
    );
    world.vibes(&["serve"])?;
    assert_ne!(
        pull(&world, &bench)?,
        older,
        "without a name it is the current one again"
    );
    world.vibes(&["serve", &first])?;

    retitle(&world, &bench, "A third").await?;
    let third = pull(&world, &bench)?;
    assert_ne!(third, older, "a newer release takes its place");

    world.spoil(&json!({
        "action": "GetObject", "caller": "*/vibes-serve", "kind": "before", "code": "AccessDenied", "status": 403,
    }))?;
    retitle(&world, &bench, "A fourth").await?;
    world.twin("DELETE", "faults")?;
    let swept = world.sweep(2)?;
    ensure!(swept["started"].to_string().contains("serve-"), "{swept}");
    assert_ne!(
        pull(&world, &bench)?,
        third,
        "the sweep makes up for a wish that was lost"
    );

    let ended = wish(&world, json!({"up": false})).await?;
    assert_eq!(ended, "SUCCEEDED");
    // An execution that still lets the older release go has taken the wish.
    eventually(Duration::from_secs(60), "no server, no volume", async || {
        let inventory = world.twin("GET", "inventory")?;
        Ok((inventory["volumes"] == json!([])).then_some(()))
    })
    .await?;
    world.done()
}

/// Ids of our snapshots, and those that releases and the checkpoint name.
async fn snapshots(world: &World) -> Result<[BTreeSet<String>; 2]> {
    let ours = [
        "--filters",
        "Name=tag:vibes:stack,Values=vibes",
        "--query",
        "Snapshots[].SnapshotId",
    ];
    let there = world.aws(&[&["ec2", "describe-snapshots", "--output", "json"], &ours[..]].concat())?;
    Ok([serde_json::from_str(&there)?, world.named_snapshots().await?])
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_go_when_nothing_names_them_and_the_current_and_the_served_release_stay() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 2)?;
    let world = World::start(&bench.profiles, 1).await?;
    world.vibes(&["deploy", "--twin", world.state()?, "--parameter", "KeepReleases=1"])?;
    bench.run(&world)?;
    let (first, older) = (world.release().await?.release, bench.pulled()?);
    retitle(&world, &bench, "Second").await?;
    // The first was being served when the second was published.
    world.vibes(&["serve", &first])?;
    let whole = |[there, named]: [BTreeSet<String>; 2], number: usize| {
        assert_eq!(there, named, "left: snapshots; right: what is named");
        assert_eq!(there.len(), number, "{there:?}");
    };
    whole(snapshots(&world).await?, 3);

    // A build that fails keeps its work as a checkpoint, and takes nobody's.
    world.spoil(&json!({
        "action": "CreateSnapshot", "caller": "*/vibes-snapshot", "kind": "before",
        "code": "UnauthorizedOperation", "status": 403,
    }))?;
    let failing = world.start_build(json!({"force": true, "fresh": true})).await?;
    assert_eq!(world.ended(&failing).await?.status.as_str(), "FAILED");
    world.twin("DELETE", "faults")?;
    world.idle().await?;
    whole(snapshots(&world).await?, 5);
    for hours in [2, 4] {
        assert_eq!(world.sweep(hours)?["ended"], json!([]));
    }
    assert_eq!(pull(&world, &bench)?, older, "the older release is still served");

    retitle(&world, &bench, "Third").await?;
    assert_ne!(pull(&world, &bench)?, older);
    retitle(&world, &bench, "Fourth").await?;
    let [there, named] = snapshots(&world).await?;
    assert_eq!(there, named);
    let refused = world.vibes(&["serve", &first]).expect_err("it is gone");
    assert!(format!("{refused:#}").contains("is not kept"), "{refused:#}");
    let current = world.release().await?;
    assert!(
        current
            .shards
            .iter()
            .all(|pair| pair.sources.is_some() && pair.builds.is_some())
    );
    world.done()
}
