//! An older release is served again when a person wishes for it, until there is a newer one.

use std::time::Duration;

use anyhow::{Context, Result};
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
    assert_ne!(pull(&world, &bench)?, older, "a newer release takes its place");

    let ended = wish(&world, json!({"up": false})).await?;
    assert_eq!(ended, "SUCCEEDED");
    // An execution that still lets the older release go has taken the wish.
    eventually(Duration::from_secs(60), "no server, no volume", async || {
        let inventory = world.twin("GET", "inventory")?;
        Ok((inventory["volumes"] == json!([])).then_some(()))
    })
    .await
}
