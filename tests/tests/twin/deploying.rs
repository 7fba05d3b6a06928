//! The way into an account and out of it again: shown, done, done twice, and deleted, from packaged functions.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::Value;
use tests::world::{World, eventually, program};
use tests::{project, sample};
use zip::write::SimpleFileOptions;

const ALLOWED: &str = "AllowedCidr=203.0.113.7/32";
const AT_ONCE: &str = "SettleSeconds=0";

/// Zips as `make package` lays them out. They hold the way to the program that was built beside this test.
pub(crate) fn package(into: &Path) -> Result<()> {
    let sources = project::path("functions/src/bin");
    for source in fs::read_dir(sources)? {
        let path = source?.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a function's name")?;
        let dir = into.join("x86_64").join(name);
        fs::create_dir_all(&dir)?;
        let mut zip = zip::ZipWriter::new(File::create(dir.join("bootstrap.zip"))?);
        zip.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755))?;
        write!(zip, "#!/bin/sh\nexec '{}'\n", program(name).display())?;
        zip.finish()?;
    }
    Ok(())
}

/// An account and what to deploy to it.
struct Bench {
    world: World,
    functions: String,
    profiles: String,
}

impl Bench {
    async fn new() -> Result<Self> {
        let world = World::empty().await?;
        let (functions, profiles) = (world.dir().join("lambda"), world.dir().join("profiles"));
        package(&functions)?;
        fs::create_dir(&profiles)?;
        fs::write(profiles.join("home.config"), "CONFIG_ENCODER=flac\n")?;
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is not UTF-8");
        Ok(Self {
            functions: text(&functions)?,
            profiles: text(&profiles)?,
            world,
        })
    }

    fn deploy(&self, more: &[&str]) -> Result<String> {
        let options = ["deploy", "--functions", &self.functions, "--profiles", &self.profiles];
        self.world.vibes(&[&options, more].concat())
    }

    /// What an account has of vibes: root stacks and buckets.
    fn inventory(&self) -> Result<BTreeSet<String>> {
        let stacks = self
            .world
            .aws(&["cloudformation", "describe-stacks", "--output", "json"])?;
        let stacks: Value = serde_json::from_str(&stacks)?;
        let names = stacks["Stacks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|stack| &stack["StackName"]);
        let buckets: Value = serde_json::from_str(&self.world.aws(&["s3api", "list-buckets", "--output", "json"])?)?;
        let buckets = buckets["Buckets"].as_array().cloned().unwrap_or_default();
        let all = names.chain(buckets.iter().map(|bucket| &bucket["Name"]));
        Ok(all.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }
}

fn refusal(done: Result<String>) -> String {
    format!("{:#}", done.expect_err("it is refused"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_shown_done_and_left_alone() -> Result<()> {
    let bench = Bench::new().await?;

    let said = refusal(bench.deploy(&[]));
    assert!(
        said.contains("AllowedCidr="),
        "what has no default is asked for by name: {said}"
    );
    let said = refusal(bench.deploy(&["--parameter", ALLOWED, "--parameter", "VpcId=vpc-1"]));
    assert!(said.contains("SubnetIds"), "{said}");
    let said = bench.deploy(&["--parameter", ALLOWED, "--dry-run"])?;
    for line in [
        "vibes-vpc would be made",
        "vibes would be made",
        "vibes-profile-home would be made",
        "Add     PlanFunction",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(bench.inventory()?, BTreeSet::new(), "nothing was made until now");

    let said = bench.deploy(&["--parameter", ALLOWED, "--parameter", AT_ONCE])?;
    for words in ["203.0.113.7/32 may pull", "aws s3 sync", "/vibes/ami/worker"] {
        assert!(said.contains(words), "what comes next is said: {words}: {said}");
    }
    let there = bench.inventory()?;
    let last = bench.world.calls(0)?.last().context("calls were made")?.seq;

    let said = bench.deploy(&["--parameter", ALLOWED, "--parameter", AT_ONCE])?;
    assert!(said.contains("nothing has changed"), "{said}");
    let changes = [
        "CreateChangeSet",
        "ExecuteChangeSet",
        "PutObject",
        "DeleteObjects",
        "DeleteStack",
    ];
    let since = bench.world.calls(last)?;
    let since: Vec<_> = since
        .iter()
        .map(|call| call.action.as_str())
        .filter(|call| changes.contains(call))
        .collect();
    assert!(since.is_empty(), "a second time changes nothing: {since:?}");

    let said = bench.deploy(&["--dry-run", "--parameter", "Shards=2"])?;
    assert!(
        said.contains("vibes-vpc stays as it is") && said.contains("Modify  PlanFunction"),
        "{said}"
    );
    let said = refusal(bench.deploy(&["--parameter", "Shard=2"]));
    assert!(said.contains("no parameter Shard"), "{said}");
    assert_eq!(bench.inventory()?, there, "what is shown is not done");
    let said = bench.deploy(&[])?;
    assert!(said.contains("nothing has changed"), "what is not given stays: {said}");

    without_an_image_the_remedy_is_named(bench).await
}

async fn without_an_image_the_remedy_is_named(bench: Bench) -> Result<()> {
    let Bench { world, .. } = bench;
    let world = world.with_outputs()?;
    let sources = world.dir().join("sources");
    sample::tiny(&sources, 1)?;
    let track = fs::read(sources.join("Tiny & Co/Album 1/01-Track 1.wav"))?;
    world.put("a/01-a.wav", track).await?;
    // The upload starts a build.
    let failed = eventually(Duration::from_secs(90), "a build has failed", async || {
        let list = world.sfn.list_executions().state_machine_arn(&world.pipeline);
        let failed = list.status_filter(ExecutionStatus::Failed).send().await?.executions;
        Ok(failed.into_iter().next())
    });
    let ended = world.ended(&failed.await?.execution_arn).await?;
    let cause = ended.cause.clone().unwrap_or_default();
    assert_eq!(ended.error.as_deref(), Some("LaunchRefused"), "{ended:?}");
    for words in ["/vibes/ami/worker", "vibes-ami-worker"] {
        assert!(cause.contains(words), "{words}: {cause}");
    }
    world.done()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_share_a_network_and_one_is_deleted() -> Result<()> {
    let bench = Bench::new().await?;
    bench.deploy(&["--parameter", ALLOWED])?;
    let network = bench.world.aws(&[
        "cloudformation",
        "describe-stacks",
        "--stack-name",
        "vibes-vpc",
        "--query",
        "Stacks[0].Outputs[?OutputKey=='VpcId' || OutputKey=='SubnetIds'].join('=', [OutputKey, OutputValue])",
        "--output",
        "text",
    ])?;
    let given: Vec<&str> = network
        .split_whitespace()
        .flat_map(|output| ["--parameter", output])
        .collect();

    bench.deploy(&[&["--stack", "other", "--parameter", ALLOWED], given.as_slice()].concat())?;
    bench.deploy(&["--stack", "other", "--parameter", "Shards=2"])?;
    let there = bench.inventory()?;
    assert!(
        there.contains("other") && !there.contains("other-vpc"),
        "a network that was given is kept: {there:?}"
    );

    let said = refusal(bench.world.vibes(&["destroy"]));
    assert!(said.contains("not confirmed"), "{said}");
    let said = refusal(bench.world.vibes(&["destroy", "--yes", "other"]));
    assert!(said.contains("does not name vibes"), "{said}");
    assert_eq!(bench.inventory()?, there, "what is not confirmed is not done");

    let said = bench.world.vibes(&["destroy", "--stack", "other", "--yes", "other"])?;
    let stays: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split_once(" erase --stack other ").map(|(_, bucket)| bucket))
        .collect();
    assert_eq!(
        stays.len(),
        2,
        "both buckets stay, with the command that deletes them: {said}"
    );
    let left = bench.inventory()?;
    let gone: BTreeSet<_> = there.difference(&left).map(String::as_str).collect();
    assert!(gone.iter().all(|name| name.starts_with("other")), "{gone:?}");
    assert!(
        gone.contains("other") && gone.contains("other-profile-home"),
        "{gone:?}"
    );
    assert!(gone.iter().any(|name| name.starts_with("other-code-")), "{gone:?}");
    bench.world.vibes(&["status"])?;

    for bucket in &stays {
        bench
            .world
            .vibes(&["erase", "--stack", "other", bucket, "--yes", bucket])?;
    }
    let other: Vec<_> = bench
        .inventory()?
        .into_iter()
        .filter(|name| name.starts_with("other"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
    let world = bench.world.with_outputs()?;
    let used = &world.sources_bucket;
    let said = refusal(world.vibes(&["erase", used, "--yes", used]));
    assert!(
        said.contains("no bucket that stayed"),
        "what is in use is not erased: {said}"
    );
    world.done()
}
