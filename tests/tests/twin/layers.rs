//! Each of the four layers against leaks ends what a build leaves while the other three are switched off, and what was
//! encoded by then is not encoded again.
//!
//! What is switched off: the pipeline's own clean-up by stopping the execution, which passes no `Catch`; EventBridge's and
//! the sweep by disabling their rules; the instance by letting it hang.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::control::Control;
use contract::objects;
use contract::status::{Final, Status};
use serde_json::{Value, json};
use tests::world::{World, eventually};

use crate::builds::report_of_release;
use crate::interruptions::{BEFORE, Begun, begun, finished_tracks_were_not_encoded_again};

/// What would end a build from outside.
const RULES: [&str; 2] = ["BuildEndedBadly", "Sweeping"];

/// Lets no call of the clean-up function succeed.
pub(crate) fn break_cleanup(world: &World) -> Result<()> {
    world.spoil(
        &json!({"service": "s3", "caller": "*/vibes-cleanup", "kind": "before", "code": "AccessDenied", "status": 403}),
    )
}

pub(crate) async fn stop(world: &World, build: &str) -> Result<()> {
    let stop = world.sfn.stop_execution().execution_arn(world.execution(build));
    stop.send().await.map(drop).context("stopping the execution")
}

/// No instance, and no volume.
pub(crate) fn nothing_is_left(world: &World) -> Result<()> {
    let inventory = world.twin("GET", "inventory")?;
    for things in ["instances", "volumes"] {
        ensure!(inventory[things] == json!([]), "{things} are left: {inventory}");
    }
    Ok(())
}

pub(crate) async fn no_instance(world: &World) -> Result<()> {
    eventually(Duration::from_secs(180), "no instance is left", async || {
        Ok((world.twin("GET", "inventory")?["instances"] == json!([])).then_some(()))
    })
    .await
}

/// The next build succeeds.
async fn next(world: &World) -> Result<()> {
    let next = world.start_build(json!({"serve": false})).await?;
    let ended = world.ended(&next).await?;
    ensure!(ended.status.as_str() == "SUCCEEDED", "{ended:?}");
    world.idle().await?;
    nothing_is_left(world)
}

impl Begun {
    fn hang(&self) -> Result<()> {
        let path = format!("instances/{}/hang", self.status.instance);
        self.world.twin("POST", &path).map(drop)
    }

    /// Nothing is left, and the next build does not do again what was done.
    async fn ends_and_continues(self) -> Result<()> {
        self.world.idle().await?;
        nothing_is_left(&self.world)?;
        next(&self.world).await?;
        finished_tracks_were_not_encoded_again(&self.world).await?;
        self.world.done()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_alone_ends_what_a_failing_step_leaves() -> Result<()> {
    let begun = begun(&RULES).await?;
    begun.hang()?;
    begun.world.spoil(&json!({
        "action": "DescribeInstances", "caller": "*/vibes-poll-build", "kind": "before",
        "code": "UnauthorizedOperation", "status": 403, "times": 1,
    }))?;
    begun.ends_and_continues().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_of_its_end_alone_ends_what_a_stopped_execution_leaves() -> Result<()> {
    let begun = begun(&["Sweeping"]).await?;
    begun.hang()?;
    stop(&begun.world, &begun.build).await?;
    begun.ends_and_continues().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_alone_ends_what_is_left_and_instances_even_if_clean_up_never_works() -> Result<()> {
    let begun = begun(&RULES).await?;
    let (world, instance) = (&begun.world, json!(begun.status.instance));
    begun.hang()?;
    stop(world, &begun.build).await?;
    break_cleanup(world)?;
    let first = world.sweep(2)?;
    assert_eq!(
        first["marked"],
        json!([instance]),
        "a dead owner's volumes are its clean-up's: {first}"
    );
    assert_eq!(
        first["started"].as_array().map(Vec::len),
        Some(1),
        "a clean-up: {first}"
    );
    let second = world.sweep(4)?;
    assert_eq!(second["ended"], json!([instance]), "{second}");
    no_instance(world).await?;

    world.twin("DELETE", "faults")?;
    // The clean-up that failed is over by now, or the next round finds it so.
    eventually(Duration::from_secs(60), "another clean-up is started", async || {
        Ok(world.sweep(6)?["started"].get(0).is_some().then_some(()))
    })
    .await?;
    begun.ends_and_continues().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instance_alone_ends_itself_when_its_work_is_done_and_when_its_build_is_not_the_owner() -> Result<()> {
    let begun = begun(&RULES).await?;
    let world = &begun.world;
    // Nobody waits for it any more, and it goes on to its end.
    stop(world, &begun.build).await?;
    no_instance(world).await?;
    let last: Option<Status> = world.object(&objects::status(&begun.build, 0, 1)).await?;
    assert_eq!(last.and_then(|status| status.last), Some(Final::Done));
    world.sweep(2)?;
    world.idle().await?;
    nothing_is_left(world)?;
    next(world).await?;
    assert_eq!(report_of_release(world).await?.built.len(), 0, "all of it was kept");

    // It stops in the middle of its work when another build owns control.
    let execution = world
        .start_build(json!({"force": true, "fresh": true, "serve": false}))
        .await?;
    let build = execution.rsplit(':').next().context("a name")?.to_owned();
    world.encoded(&build, BEFORE).await?;
    stop(world, &build).await?;
    let control: Control = world.object(objects::CONTROL).await?.context("control")?;
    let freed = Control { owner: None, ..control };
    let put = world.s3.put_object().bucket(&world.state_bucket).key(objects::CONTROL);
    put.body(serde_json::to_vec(&freed)?.into()).send().await?;
    no_instance(world).await?;
    let last: Status = world
        .object(&objects::status(&build, 0, 1))
        .await?
        .context("a status")?;
    assert_eq!((last.last, last.clean), (Some(Final::Interrupted), true), "{last:?}");
    // Its volumes have no owner: the sweep's two looks end them.
    assert_eq!(world.sweep(2)?["marked"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.sweep(4)?["ended"].as_array().map(Vec::len), Some(2));
    nothing_is_left(world)?;
    begun.world.done()
}

/// Makes a volume with these tags (`{Key=..,Value=..}`) and a snapshot of it, and gives their ids.
fn foreign(world: &World, tags: &str) -> Result<[String; 2]> {
    let made = |arguments: &[&str], kind: &str, id: &str| -> Result<String> {
        let tags = format!("ResourceType={kind},Tags=[{tags}]");
        let with_tags = ["--tag-specifications", &tags, "--query", id, "--output", "text"];
        Ok(world.aws(&[arguments, &with_tags].concat())?.trim().to_owned())
    };
    let volume = [
        "ec2",
        "create-volume",
        "--size",
        "1",
        "--availability-zone",
        "us-east-1a",
    ];
    let volume = made(&volume, "volume", "VolumeId")?;
    world.aws(&["ec2", "wait", "volume-available", "--volume-ids", &volume])?;
    let snapshot = made(
        &["ec2", "create-snapshot", "--volume-id", &volume],
        "snapshot",
        "SnapshotId",
    )?;
    Ok([volume, snapshot])
}

/// Makes an image as packer does, with a tag that looks like a build's, and gives its snapshot.
pub(crate) fn image(world: &World) -> Result<String> {
    let tags =
        "{Key=vibes:stack,Value=vibes},{Key=vibes:role,Value=worker},{Key=vibes:build,Value=2026-11-01T00:00:00Z}";
    let [volume, snapshot] = foreign(world, tags)?;
    world.aws(&["ec2", "delete-volume", "--volume-id", &volume])?;
    let device = format!("DeviceName=/dev/xvda,Ebs={{SnapshotId={snapshot}}}");
    let register = [
        "ec2",
        "register-image",
        "--name",
        "worker",
        "--block-device-mappings",
        &device,
    ];
    let tags = format!("ResourceType=image,Tags=[{tags}]");
    world.aws(&[&register[..], &["--tag-specifications", &tags]].concat())?;
    Ok(snapshot)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_touches_neither_a_running_build_nor_what_is_not_ours() -> Result<()> {
    let begun = begun(&RULES).await?;
    let world = &begun.world;
    let mut foreign = [
        foreign(world, "{Key=Name,Value=somebody}")?,
        foreign(world, "{Key=vibes:stack,Value=another},{Key=vibes:build,Value=b-00000}")?,
        foreign(world, "{Key=vibes:build,Value=b-00000}")?,
    ]
    .concat();
    foreign.push(image(world)?);
    let nothing = |swept: &Value| swept["marked"] == json!([]) && swept["ended"] == json!([]);
    for days in [1, 2, 3] {
        let swept = world.sweep(24 * days)?;
        ensure!(nothing(&swept), "while {} runs: {swept}", begun.build);
    }
    world.idle().await?;
    assert_eq!(world.release().await?.release, begun.build);
    let second: Option<Value> = world.object(&objects::status(&begun.build, 0, 2)).await?;
    assert_eq!(second, None, "no attempt was lost");
    for days in [4, 5, 6] {
        let swept = world.sweep(24 * days)?;
        ensure!(nothing(&swept), "when it is over: {swept}");
    }
    let inventory = world.twin("GET", "inventory")?.to_string();
    for id in foreign {
        ensure!(inventory.contains(&id), "{id} is there: {inventory}");
    }
    begun.world.done()
}
