//! The limit of instance hours holds over attempts, new executions and nights, until an owner raises it.

use anyhow::{Context, Result, ensure};
use contract::estimate::Unreleased;
use contract::objects;
use serde_json::json;
use tests::world::World;

use crate::builds::Bench;
use crate::interruptions::{BEFORE, finished_tracks_were_not_encoded_again, slow_collection};
use crate::layers::nothing_is_left;

/// Lets builds use so many hours, an hour each at most.
fn allow(world: &World, hours: u32) -> Result<()> {
    let hours = format!("MaxInstanceHours={hours}");
    let deploy = [
        "deploy",
        "--twin",
        world.state()?,
        "--parameter",
        &hours,
        "--parameter",
        "MaxRunMinutes=60",
    ];
    world.vibes(&deploy).map(drop)
}

/// The build fails by the limit, and the message says what to do.
async fn is_refused(world: &World, execution: &str) -> Result<()> {
    let ended = world.ended(execution).await?;
    assert_eq!(ended.error(), Some("LimitReached"), "{ended:?}");
    let cause = ended.cause().context("a cause")?;
    ensure!(cause.contains("raise MaxInstanceHours"), "{cause}");
    world.idle().await?;
    nothing_is_left(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_time_is_over_ends_and_leaves_nothing() -> Result<()> {
    let bench = Bench::new()?;
    slow_collection(&bench)?;
    let world = World::start(&bench.profiles, 1).await?;
    let usual = world.limit(60).await?;
    world.vibes(&["upload", bench.sources.to_str().context("UTF-8")?])?;
    let build = world.building().await?;
    let ended = world.ended(&world.execution(&build)).await?;
    assert_eq!(ended.status.as_str(), "TIMED_OUT", "{ended:?}");
    world.idle().await?;
    nothing_is_left(&world)?;

    world.limit(usual).await?;
    let next = world.start_build(json!({"serve": false})).await?;
    assert_eq!(world.ended(&next).await?.status.as_str(), "SUCCEEDED");
    world.done()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_instance_hours_is_reset_by_no_attempt_restart_or_night_but_by_a_release() -> Result<()> {
    let bench = Bench::new()?;
    slow_collection(&bench)?;
    let world = World::start(&bench.profiles, 1).await?;
    allow(&world, 1)?;
    world.vibes(&["upload", bench.sources.to_str().context("UTF-8")?])?;
    let build = world.building().await?;
    let status = world.encoded(&build, BEFORE).await?;
    world.twin("POST", &format!("instances/{}/vanish", status.instance))?;
    // Another attempt might use an hour more.
    is_refused(&world, &world.execution(&build)).await?;
    let before = world.calls(0)?.len() as u64;
    for _ in 0..2 {
        let again = world.start_build(json!({})).await?;
        is_refused(&world, &again).await?;
    }
    let launched = world.calls(before)?.iter().any(|call| call.action == "RunInstances");
    assert!(!launched, "nothing is launched to find that out");

    allow(&world, 2)?;
    let enough = world.start_build(json!({"serve": false})).await?;
    assert_eq!(world.ended(&enough).await?.status.as_str(), "SUCCEEDED");
    finished_tracks_were_not_encoded_again(&world).await?;
    world.idle().await?;
    let sum: Unreleased = world.object(objects::UNRELEASED).await?.context("a sum")?;
    assert_eq!(sum.since, Some(world.release().await?.release));
    assert!(sum.builds.is_empty(), "{sum:?}");
    world.done()
}
