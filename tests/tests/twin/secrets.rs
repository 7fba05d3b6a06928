//! A password and keys are where they belong, and nowhere that people, logs or other roles look.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use contract::objects;
use serde_json::Value;
use tests::sample;
use tests::world::World;

use crate::builds::Bench;
use crate::serving::{Client, set, status, tell_server};

/// Looked for by these bytes alone, wherever they may stand.
const PASSWORD: &str = "Secret0f4e1c7aPassword";

#[tokio::test(flavor = "multi_thread")]
async fn no_log_no_status_and_no_user_data_holds_a_secret() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 1)?;
    let world = World::start(&bench.profiles, 1).await?;
    let client = Client::new(&bench)?;
    set(&world, "keys", "String", &client.public_key()?)?;
    set(&world, "password", "SecureString", PASSWORD)?;
    let said = bench.run(&world)?;
    tell_server(&client, &world)?;
    let (status, address) = status(&world)?;
    client.shell(
        &world,
        &format!("RSYNC_PASSWORD={PASSWORD} rsync rsync://vibes@{address}/home/"),
    )?;
    client.shell(
        &world,
        &format!("curl --silent --fail --user vibes:{PASSWORD} http://{address}/home/"),
    )?;
    client.run(
        &world,
        &format!("curl --silent --user vibes:{PASSWORD}x http://{address}/home/"),
    )?;
    ensure!(!status.contains(PASSWORD), "{status}");
    ensure!(!said.contains(PASSWORD), "{said}");

    // Objects of the state bucket.
    let copy = bench.out.join("../state");
    let path = copy.to_str().context("a path that is not UTF-8")?;
    world.aws(&["s3", "sync", "--quiet", &format!("s3://{}", world.state_bucket), path])?;
    let mut holders = BTreeSet::new();
    let read = holding(&copy, &[PASSWORD, "PRIVATE KEY"], &mut holders)?;
    ensure!(read > 10, "{read} objects");
    let keys = [objects::SERVE_ACCESS, objects::SERVE_HOST_KEY].map(|key| copy.join(key));
    assert_eq!(holders, BTreeSet::from(keys));

    // Executions and logs.
    let machines: Value = serde_json::from_str(&world.aws(&["stepfunctions", "list-state-machines"])?)?;
    let mut events = 0;
    for machine in machines["stateMachines"].as_array().context("no machines")? {
        let arn = machine["stateMachineArn"].as_str().context("no arn")?;
        let listed: Value =
            serde_json::from_str(&world.aws(&["stepfunctions", "list-executions", "--state-machine-arn", arn])?)?;
        for execution in listed["executions"].as_array().context("no executions")? {
            let arn = execution["executionArn"].as_str().context("no arn")?;
            let history = world.aws(&["stepfunctions", "get-execution-history", "--execution-arn", arn])?;
            ensure!(!history.contains(PASSWORD), "{arn}: {history}");
            events += history.matches("\"type\"").count();
        }
    }
    ensure!(events > 20, "{events} events");
    let groups = world.aws(&["logs", "describe-log-groups", "--query", "logGroups[].logGroupName"])?;
    let mut said = 0;
    for group in serde_json::from_str::<Vec<String>>(&groups)? {
        let log = world.aws(&["logs", "filter-log-events", "--log-group-name", &group])?;
        ensure!(!log.contains(PASSWORD), "{group}: {log}");
        said += log.len();
    }
    ensure!(said > 1000, "{said} bytes of logs");

    // Everything that the twin has written: consoles, user data, journals, its record, logs, files of machines. The bucket
    // itself is among it.
    let mut found = BTreeSet::new();
    let read = holding(Path::new(world.state()?), &[PASSWORD], &mut found)?;
    ensure!(read > 50, "{read} files");
    let bucket = |path: &PathBuf| path.ends_with(Path::new(&world.state_bucket).join(objects::SERVE_ACCESS));
    let elsewhere: Vec<_> = found.iter().filter(|path| !bucket(path)).collect();
    ensure!(!found.is_empty() && elsewhere.is_empty(), "{elsewhere:#?}");
    world.done()
}

/// Adds the files below a folder that hold one of the words. Returns how many were read: all but volumes, which are large,
/// and which no server writes to.
fn holding(folder: &Path, words: &[&str], found: &mut BTreeSet<PathBuf>) -> Result<usize> {
    const LARGE: u64 = 256 << 20;
    let mut read = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        // What has gone meanwhile holds nothing.
        let Ok(metadata) = entry.metadata() else { continue };
        let path = entry.path();
        if metadata.is_dir() {
            read += holding(&path, words, found)?;
        } else if metadata.is_file() && metadata.len() < LARGE {
            let bytes = std::fs::read(&path).unwrap_or_default();
            read += 1;
            let holds = |word: &&str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
            if words.iter().any(holds) {
                found.insert(path);
            }
        }
    }
    Ok(read)
}
