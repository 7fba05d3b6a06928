//! Two shards compile one collection: each its part, together the same release.

use anyhow::Result;
use tests::sample;
use tests::world::World;

use crate::builds::{Bench, report_of_release};

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_make_one_release() -> Result<()> {
    let bench = Bench::new()?;
    for artist in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        sample::tiny(&bench.sources.join(artist), 2)?;
    }
    let world = World::start(&bench.profiles, 2).await?;
    bench.run(&world)?;

    let release = world.release().await?;
    assert_eq!(release.shards.len(), 2);
    for shard in 0..2 {
        let built = world.report(&release.release, shard).await?.built;
        assert!(!built.is_empty(), "shard {shard} has its part");
    }
    assert_eq!(report_of_release(&world).await?.built.len(), 20);
    assert_eq!(bench.pulled()?.len(), 20, "10 tracks in 2 profiles are served as one");

    let again = bench.run(&world)?;
    assert!(again.contains("up to date"), "{again}");
    Ok(())
}
