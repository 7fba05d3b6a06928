//! Bad input is refused by name, with the remedy, before anything is created.

use anyhow::Result;
use serde_json::{Value, json};
use tests::sample;
use tests::world::World;

use crate::builds::Bench;

/// Starts a build and expects it to fail under this name with these words in its message.
async fn refused(world: &World, input: Value, name: &str, words: &[&str]) -> Result<()> {
    let execution = world.start_build(input.clone()).await?;
    let ended = world.ended(&execution).await?;
    let cause = ended.cause.clone().unwrap_or_default();
    assert_eq!(ended.status.as_str(), "FAILED", "{input}: {cause}");
    assert_eq!(ended.error.as_deref(), Some(name), "{input}: {cause}");
    for word in words {
        assert!(cause.contains(word), "{input}: the message names {word}: {cause}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_before_anything_is_created() -> Result<()> {
    let bench = Bench::new()?;
    let world = World::start(&bench.profiles, 1).await?;

    refused(&world, json!({}), "NoSources", &[&world.sources_bucket]).await?;
    refused(
        &world,
        json!({"profile": ["home"]}),
        "InvalidInput",
        &["profile", "profiles"],
    )
    .await?;
    refused(&world, json!({"force": "yes"}), "InvalidInput", &["force", "boolean"]).await?;
    refused(&world, json!([]), "InvalidInput", &["object"]).await?;

    sample::tiny(&bench.sources, 1)?;
    let track = std::fs::read(bench.sources.join("Tiny & Co/Album 1/01-Track 1.wav"))?;
    world.put("a/01-a.wav", track).await?;
    let first = world.building().await?;
    world.idle().await?;
    assert_eq!(world.release().await?.release, first);

    let last = world.calls(0)?.last().map_or(0, |call| call.seq);
    refused(
        &world,
        json!({"profiles": ["attic"]}),
        "InvalidInput",
        &["attic", "home", "phone"],
    )
    .await?;

    let parameter = world
        .ssm
        .put_parameter()
        .name("/vibes/profiles/broken")
        .value("CONFIG_ENCODER=wax\n");
    parameter
        .r#type(aws_sdk_ssm::types::ParameterType::String)
        .send()
        .await?;
    refused(&world, json!({}), "BadProfile", &["broken", "line 1", "wax"]).await?;

    for name in ["broken", "home", "phone"] {
        world
            .ssm
            .delete_parameter()
            .name(format!("/vibes/profiles/{name}"))
            .send()
            .await?;
    }
    refused(&world, json!({}), "NoProfiles", &["/vibes/profiles/"]).await?;

    // The first build's release is being served meanwhile.
    let mut calls = world.calls(last)?;
    calls.retain(|call| !call.caller.ends_with("/vibes-serve"));
    assert!(
        calls.iter().any(|call| call.caller.ends_with("/vibes-plan")),
        "the record saw the refusals: {calls:?}"
    );
    assert!(
        !calls
            .iter()
            .any(|call| call.action == "RunInstances" || call.action == "CreateVolume"),
        "nothing was created: {calls:?}"
    );
    assert_eq!(world.idle().await?.owner, None, "control is free after every refusal");
    world.done()
}
