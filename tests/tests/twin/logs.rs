//! What functions and agents log says of which build, shard and attempt it is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::sample;
use tests::world::World;

use crate::builds::Bench;

/// The lines that our functions write, without those of the Lambda runtime.
fn lines(world: &World, function: &str) -> Result<Vec<Value>> {
    let group = format!("/aws/lambda/vibes-{function}");
    let told = world.aws(&[
        "logs",
        "filter-log-events",
        "--log-group-name",
        &group,
        "--output",
        "json",
    ])?;
    let told: Value = serde_json::from_str(&told)?;
    let messages = told["events"].as_array().context("events")?.iter();
    let messages = messages.filter_map(|event| event["message"].as_str());
    let lines = messages.flat_map(str::lines);
    let lines = lines.filter_map(|line| serde_json::from_str(line).ok());
    // The runtime repeats a refusal, under its request.
    let repeats = |line: &Value| {
        line["fields"]["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("Diagnostic {"))
    };
    Ok(lines.filter(|line| !repeats(line)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_says_of_which_build_shard_and_attempt_it_is() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 1)?;
    let world = World::start(&bench.profiles, 1).await?;
    bench.run(&world)?;
    let build = world.release().await?.release;
    for function in ["launch-worker", "create-volume", "poll-build", "retire-worker"] {
        let lines = lines(&world, function)?;
        ensure!(!lines.is_empty(), "{function} logs");
        for line in lines {
            let mut spans = line["spans"].as_array().into_iter().flatten();
            let span = spans.find(|span| span["name"] == "step");
            let span = span.with_context(|| format!("{function} logs outside of its step: {line}"))?;
            let said = (span["build"].as_str(), span["shard"].as_u64(), span["attempt"].as_u64());
            assert_eq!(said, (Some(build.as_str()), Some(0), Some(1)), "{function}: {line}");
        }
    }
    let key = format!(
        "s3://{}/{}",
        world.state_bucket,
        contract::objects::journal(&build, 0, 1)
    );
    let journal = world.aws(&["s3", "cp", &key, "-"])?;
    let attempt = format!("attempt{{build=\"{build}\" shard=0 attempt=1}}");
    ensure!(journal.lines().count() > 3, "{journal}");
    for line in journal.lines() {
        ensure!(line.contains(&attempt), "{line:?} does not say {attempt}");
    }
    world.done()
}
