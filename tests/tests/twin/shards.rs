//! Two shards compile one collection: each its part, together the same release.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result};
use contract::input::Market;
use contract::objects;
use contract::plan::Plan;
use tests::sample;
use tests::world::World;

use crate::builds::{Bench, estimate, report_of_release};

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_make_one_release() -> Result<()> {
    let bench = Bench::new()?;
    for artist in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        sample::tiny(&bench.sources.join(artist), 2)?;
    }
    let world = World::start(&bench.profiles, 2).await?;
    let began = Instant::now();
    let said = bench.run(&world)?;

    let release = world.release().await?;
    assert_eq!(release.shards.len(), 2);
    let used = format!("{} used ", release.release);
    assert!(said.contains(&used), "the summary says what it used: {said}");
    for shard in 0..2 {
        let built = world.report(&release.release, shard).await?.built;
        assert!(!built.is_empty(), "shard {shard} has its part");
    }
    assert_eq!(report_of_release(&world).await?.built.len(), 20);
    assert_eq!(bench.pulled()?.len(), 20, "10 tracks in 2 profiles are served as one");

    the_estimate_is_what_was_planned_and_took_place(&world, &release.release, began.elapsed().as_secs()).await?;

    let again = bench.run(&world)?;
    assert!(again.contains("up to date"), "{again}");
    world.done()
}

async fn the_estimate_is_what_was_planned_and_took_place(world: &World, build: &str, took: u64) -> Result<()> {
    let plan: Plan = world.object(&objects::plan(build)).await?.context("a plan")?;
    let used = estimate(world, build).await?;
    assert_eq!(used.instances.len(), 2, "a worker for each shard: {used:?}");
    for instance in &used.instances {
        assert_eq!((instance.attempt, instance.market), (1, Market::Spot), "{used:?}");
        assert!(
            (1..=took).contains(&instance.seconds),
            "{used:?}, and all took {took} s"
        );
    }
    let planned = plan.shards.iter().map(|shard| shard.sources.gib + shard.builds.gib);
    let used_gib = used.volumes.iter().map(|volume| volume.gib);
    assert_eq!(used_gib.sum::<u32>(), planned.sum::<u32>());
    assert!(used.volumes.iter().all(|volume| (1..=took).contains(&volume.seconds)));
    let release = world.release().await?;
    let kept = release
        .shards
        .iter()
        .flat_map(|pair| [&pair.sources, &pair.builds])
        .flatten();
    let kept: BTreeSet<&String> = kept.collect();
    assert_eq!(
        used.snapshots
            .iter()
            .map(|snapshot| &snapshot.snapshot)
            .collect::<BTreeSet<_>>(),
        kept
    );
    Ok(())
}
