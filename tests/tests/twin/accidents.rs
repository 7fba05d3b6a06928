//! What is seldom: things that nobody needs any more, an execution that never began, a build that is stopped between a
//! launch and its answer, calls that happen twice, a worker that is followed by one in another zone.

use std::time::Duration;

use anyhow::{Context, Result};
use contract::control::Control;
use contract::objects;
use serde_json::{Value, json};
use tests::sample;
use tests::world::{World, eventually};

use crate::builds::Bench;
use crate::interruptions::slow_collection;

/// Makes a volume that says to be of a build that never was, and gives its id.
fn leftover(world: &World) -> Result<String> {
    let tags = "ResourceType=volume,Tags=[{Key=vibes:stack,Value=vibes},{Key=vibes:build,Value=b-00000}]";
    let made = [
        "ec2",
        "create-volume",
        "--size",
        "1",
        "--availability-zone",
        "us-east-1a",
        "--tag-specifications",
        tags,
    ];
    let id = world.aws(&[&made[..], &["--query", "VolumeId", "--output", "text"]].concat())?;
    let id = id.trim().to_owned();
    world.aws(&["ec2", "wait", "volume-available", "--volume-ids", &id])?;
    Ok(id)
}

fn snapshot_of(world: &World, volume: &str) -> Result<String> {
    let tags = "ResourceType=snapshot,Tags=[{Key=vibes:stack,Value=vibes},{Key=vibes:build,Value=b-00000},{Key=vibes:kind,Value=release}]";
    let made = [
        "ec2",
        "create-snapshot",
        "--volume-id",
        volume,
        "--tag-specifications",
        tags,
    ];
    let id = world.aws(&[&made[..], &["--query", "SnapshotId", "--output", "text"]].concat())?;
    Ok(id.trim().to_owned())
}

/// Lets a build own control without an execution that does anything for it.
async fn owned_by(world: &World, build: &str) -> Result<()> {
    let control: Control = world.object(objects::CONTROL).await?.unwrap_or_default();
    let owned = Control {
        owner: Some(build.to_owned()),
        ..control
    };
    let put = world.s3.put_object().bucket(&world.state_bucket).key(objects::CONTROL);
    put.body(serde_json::to_vec(&owned)?.into()).send().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_ends_what_nothing_needs_and_starts_what_stands_still() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 1)?;
    let world = World::start(&bench.profiles, 1).await?;
    // Of two snapshots that a lost answer leaves, the later one goes.
    world.spoil(&json!({"action": "CreateSnapshot", "caller": "*/vibes-snapshot", "kind": "twice", "times": 1}))?;
    bench.run(&world)?;
    let release = world.release().await?.release;
    let snapshots = |world: &World| -> Result<usize> {
        let inventory = world.twin("GET", "inventory")?;
        Ok(inventory["snapshots"].as_array().context("snapshots")?.len())
    };
    assert_eq!(snapshots(&world)?, 2, "one pair");

    let (gone, kept) = (leftover(&world)?, leftover(&world)?);
    let snapshot = snapshot_of(&world, &gone)?;
    let marked = world.sweep(2)?;
    for id in [&gone, &kept, &snapshot] {
        assert!(
            marked["marked"].as_array().context("marked")?.contains(&json!(id)),
            "{id}: {marked}"
        );
    }
    world.aws(&[
        "ec2",
        "create-tags",
        "--resources",
        &kept,
        "--tags",
        "Key=vibes:hold,Value=me",
    ])?;
    let ended = world.sweep(4)?;
    let ended = ended["ended"].as_array().context("ended")?;
    assert!(
        ended.contains(&json!(gone)) && ended.contains(&json!(snapshot)),
        "{ended:?}"
    );
    let mark = [
        "ec2",
        "describe-tags",
        "--filters",
        "Name=tag-key,Values=vibes:marked",
        "--query",
        "Tags[].ResourceId",
    ];
    let left: Value = serde_json::from_str(&world.aws(&mark)?)?;
    assert_eq!(left, json!([]), "what a person holds is not marked any more");
    assert_eq!(snapshots(&world)?, 2, "the release's pair stays");

    // The server had said nothing for hours, as the sweep saw it; the serve machine has found it well.
    let wished: Value = world.object(objects::SERVE_DESIRED).await?.context("a wish")?;
    assert!(wished["seq"].as_u64().context("seq")? > 1, "{wished}");

    // A name that was reserved, and never started.
    owned_by(&world, "b-00007").await?;
    let started = world.sweep(0)?;
    assert_eq!(started["started"][0], "b-00007", "{started}");
    world.idle().await?;
    // A build that is over, and was never cleaned up after.
    owned_by(&world, "b-00007").await?;
    let cleaned = world.sweep(2)?;
    let name = cleaned["started"][0].as_str().context("a clean-up")?;
    assert!(name.starts_with("b-00007-"), "{cleaned}");
    world.idle().await?;

    // Stopped while EC2 has not answered the launch yet: what is launched all the same is ended again.
    world.spoil(&json!({"action": "RunInstances", "caller": "*/vibes-launch-worker", "kind": "delay", "seconds": 8.0, "times": 1}))?;
    let before = world.calls(0)?.len() as u64;
    let execution = world.start_build(json!({"force": true})).await?;
    let build = execution.rsplit(':').next().context("a name")?.to_owned();
    eventually(Duration::from_secs(60), "the launch is prepared", async || {
        let calls = world.calls(before)?;
        let looked =
            |call: &tests::world::Call| call.action == "DescribeSubnets" && call.caller.ends_with("launch-worker");
        Ok(calls.iter().any(looked).then_some(()))
    })
    .await?;
    world.sfn.stop_execution().execution_arn(&execution).send().await?;
    world.idle().await?;
    eventually(Duration::from_secs(60), "the late instance is ended", async || {
        let calls = world.calls(before)?;
        let ended =
            |call: &tests::world::Call| call.action == "TerminateInstances" && call.caller.ends_with("launch-worker");
        Ok(calls.iter().any(ended).then_some(()))
    })
    .await?;
    assert_eq!(world.release().await?.release, release, "{build} published nothing");

    let serve = world.pipeline.replace("-pipeline", "-serve");
    let down = world.sfn.start_execution().state_machine_arn(serve);
    let down = down.input(json!({"up": false}).to_string()).send().await?;
    assert_eq!(world.ended(&down.execution_arn).await?.status.as_str(), "SUCCEEDED");
    // Another execution may be at work, and see to it.
    eventually(Duration::from_secs(60), "no server is left", async || {
        let inventory = world.twin("GET", "inventory")?;
        Ok((inventory["instances"] == json!([])).then_some(()))
    })
    .await?;
    world.done()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_taken_away_is_followed_by_one_in_another_zone_with_its_volumes() -> Result<()> {
    let bench = Bench::new()?;
    slow_collection(&bench)?;
    let world = World::start(&bench.profiles, 1).await?;
    world.vibes(&["upload", bench.sources.to_str().context("UTF-8")?])?;
    let build = world.building().await?;
    world.encoded(&build, 2).await?;
    let launch = |attempt: u32| objects::launch(&build, 0, attempt);
    let zone = |instance: &str| {
        let placed = [
            "ec2",
            "describe-instances",
            "--instance-ids",
            instance,
            "--output",
            "text",
        ];
        let query = ["--query", "Reservations[].Instances[].Placement.AvailabilityZone"];
        world
            .aws(&[&placed[..], &query[..]].concat())
            .map(|zone| zone.trim().to_owned())
    };
    let first: Value = world.object(&launch(1)).await?.context("a first attempt")?;
    let first = zone(first["instance"].as_str().context("its instance")?)?;

    world.spoil(&json!({"action": "RunInstances", "kind": "capacity", "zone": first}))?;
    world
        .spoil(&json!({"action": "CreateSnapshot", "caller": "*/vibes-create-volume", "kind": "twice", "times": 1}))?;
    // The step of a poll that found it lost while it still runs.
    let retire = json!({"build": build, "shard": 0, "attempt": 1});
    let said = world.invoke("retire-worker", &retire);
    assert!(
        said.is_err_and(|error| error.to_string().contains("NotReady")),
        "it is not over yet"
    );
    world.idle().await?;

    let release = world.release().await?;
    assert_eq!(release.release, build, "the same build ended well");
    let second: Value = world.object(&launch(2)).await?.context("a second attempt")?;
    assert_ne!(zone(second["instance"].as_str().context("its instance")?)?, first);
    let inventory = world.twin("GET", "inventory")?;
    let left = inventory["snapshots"].as_array().context("snapshots")?.len();
    assert_eq!(
        left, 2,
        "the release's pair, and nothing of what carried the volumes: {inventory}"
    );
    world.done()
}
