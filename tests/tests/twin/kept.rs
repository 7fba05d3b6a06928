//! A worker that has failed is kept for a person to look at, for as long as was asked for and no longer.

use std::time::Duration;

use anyhow::{Context, Result};
use contract::objects;
use contract::status::{Final, Status};
use serde_json::{Value, json};
use tests::world::{World, eventually};

use crate::builds::Bench;
use crate::layers::{break_cleanup, no_instance, nothing_is_left, stop};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_worker_is_kept_for_its_time_and_ended_then_by_the_sweep_if_all_else_fails() -> Result<()> {
    let bench = Bench::new()?;
    let world = World::start(&bench.profiles, 1).await?;
    world.switch_off("BuildEndedBadly")?;
    world.switch_off("Sweeping")?;
    world.put("a/01-x.wav", b"This is no music.".to_vec()).await?;
    world.building().await?;
    world.idle().await?;

    // Ten hours, the most there is.
    let execution = world.start_build(json!({"keepFailedWorkerMinutes": 600})).await?;
    let build = execution.rsplit(':').next().context("a name")?.to_owned();
    let failed = eventually(Duration::from_secs(120), "the worker has failed", async || {
        let status: Option<Status> = world.object(&objects::status(&build, 0, 1)).await?;
        Ok(status.filter(|status| status.last == Some(Final::Failed)))
    })
    .await?;
    let instances = |world: &World| -> Result<Value> { Ok(world.twin("GET", "inventory")?["instances"].clone()) };
    let clean = |hours| -> Result<Value> {
        let now = world.later(hours)?;
        world.invoke("cleanup", &json!({"build": build, "now": now, "round": 0}))
    };
    assert_eq!(clean(9)?["removed"], json!([]), "clean-up keeps it");

    stop(&world, &build).await?;
    break_cleanup(&world)?;
    for hours in [2, 4, 9] {
        let swept = world.sweep(hours)?;
        assert_eq!(swept["marked"], json!([]), "after {hours} hours: {swept}");
    }
    assert_eq!(
        instances(&world)?.as_array().map(Vec::len),
        Some(1),
        "it is there to be looked at"
    );
    assert_eq!(world.sweep(11)?["marked"], json!([failed.instance]));
    assert_eq!(world.sweep(13)?["ended"], json!([failed.instance]));
    no_instance(&world).await?;

    world.twin("DELETE", "faults")?;
    eventually(Duration::from_secs(60), "clean-up has ended the rest", async || {
        Ok((clean(14)?["remaining"] == json!(0)).then_some(()))
    })
    .await?;
    nothing_is_left(&world)?;
    world.done()
}
