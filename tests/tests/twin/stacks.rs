//! Stacks live and die: created, changed in every parameter, deleted; nothing but data remains, and nobody else notices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use contract::objects;
use contract::release::{Checkpoint, Release};
use contract::serve::ServerStatus;
use contract::teardown::Teardown;
use serde_json::Value;
use tests::project;
use tests::sample;
use tests::template::{fields, load, strings};
use tests::world::{World, eventually, venv};

use crate::builds::Bench;

/// What an account has of an installation, by kind.
type Inventory = BTreeMap<String, BTreeSet<String>>;

fn inventory(world: &World, stack: &str) -> Result<Inventory> {
    let script = project::path("tests/scripts/inventory.py");
    let out = world.command(&venv().join("python")).arg(script).arg(stack).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut found: Inventory = serde_json::from_slice(&out.stdout)?;
    // The call that answers CloudFormation ends after the answer: the emulator then makes the log anew that CloudFormation
    // has deleted. In AWS the function has no right to that.
    if found.get("logs") == Some(&BTreeSet::from([format!("/aws/lambda/{stack}-teardown")])) {
        found.remove("logs");
    }
    Ok(found)
}

/// The snapshots that the releases in the state bucket name, and the checkpoint.
async fn named_snapshots(world: &World) -> Result<BTreeSet<String>> {
    let listing = world
        .s3
        .list_objects_v2()
        .bucket(&world.state_bucket)
        .prefix("releases/");
    let mut pairs = Vec::new();
    for object in listing.send().await?.contents() {
        let release: Option<Release> = world.object(object.key().context("a key")?).await?;
        pairs.extend(release.context("a release")?.shards);
    }
    let checkpoint: Option<Checkpoint> = world.object(objects::CHECKPOINT).await?;
    pairs.extend(
        checkpoint
            .into_iter()
            .flat_map(|checkpoint| checkpoint.shards)
            .flatten(),
    );
    let snapshots = pairs.into_iter().flat_map(|pair| [pair.sources, pair.builds]);
    Ok(snapshots.flatten().collect())
}

/// How a stack stands; none if there is none.
fn status(world: &World, stack: &str) -> Result<Option<String>> {
    let query = format!("Stacks[?StackName=='{stack}'].StackStatus");
    let found = world.aws(&[
        "cloudformation",
        "describe-stacks",
        "--query",
        &query,
        "--output",
        "json",
    ])?;
    Ok(serde_json::from_str::<Vec<String>>(&found)?.pop())
}

/// Deletes a stack as the console does, and waits until it is gone.
async fn delete(world: &World, stack: &str) -> Result<()> {
    world.aws(&["cloudformation", "delete-stack", "--stack-name", stack])?;
    eventually(Duration::from_secs(180), "the stack is gone", async || {
        match status(world, stack)?.as_deref() {
            None | Some("DELETE_COMPLETE") => Ok(Some(())),
            Some("DELETE_FAILED") => bail!("{}", reasons(world, stack)?),
            _ => Ok(None),
        }
    })
    .await
}

fn reasons(world: &World, stack: &str) -> Result<String> {
    let failed = "StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]";
    let events = ["cloudformation", "describe-stack-events", "--stack-name", stack];
    world.aws(&[&events[..], &["--query", failed, "--output", "text"]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_installation_ends_what_runs_keeps_its_data_and_leaves_others_alone() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 2)?;
    let (sources, profiles) = (
        bench.sources.to_str().context("UTF-8")?,
        bench.profiles.to_str().context("UTF-8")?,
    );
    let world = World::start(&bench.profiles, 1).await?;
    let state = world.state()?.to_owned();
    world.vibes(&["--stack", "other", "deploy", "--twin", &state, "--profiles", profiles])?;
    let nothing_of_other = inventory(&world, "other")?;
    world.vibes(&["upload", sources])?;
    world.building().await?;
    world.idle().await?;
    let release = world.release().await?;
    eventually(Duration::from_secs(90), "the release is served", async || {
        let status: Option<ServerStatus> = world.object(objects::SERVE_STATUS).await?;
        Ok(status.filter(|status| status.current.as_ref() == Some(&release.release)))
    })
    .await?;

    // A second build runs, and one of the other installation.
    sample::tiny(&bench.sources.join("More"), 120)?;
    world.vibes(&["upload", sources])?;
    let build = world.building().await?;
    world.vibes(&["--stack", "other", "upload", sources])?;
    world.encoded(&build, 1).await?;
    let before = inventory(&world, "vibes")?;
    for kind in ["instances", "volumes", "running executions", "event sources", "roles"] {
        assert!(
            before.contains_key(kind),
            "there is something to end: {kind} in {before:#?}"
        );
    }
    delete(&world, "vibes").await?;

    let left: Teardown = world
        .object(objects::TEARDOWN)
        .await?
        .context("it is said what is left")?;
    let kept: BTreeSet<String> = left.kept.iter().map(|kept| kept.id.clone()).collect();
    assert!(!kept.is_empty());
    assert_eq!(
        kept,
        named_snapshots(&world).await?,
        "what a kept release names, and nothing else"
    );
    let buckets = [&world.sources_bucket, &world.state_bucket].map(String::clone);
    let retained = Inventory::from([
        ("buckets".to_owned(), BTreeSet::from(buckets)),
        ("retained".to_owned(), kept),
    ]);
    assert_eq!(inventory(&world, "vibes")?, retained);

    let released = |stack: &'static str| {
        let world = &world;
        async move {
            eventually(
                Duration::from_secs(120),
                "the other installation's build is released",
                async || {
                    let name = format!("/{stack}/release");
                    Ok(world.ssm.get_parameter().name(name).send().await.ok())
                },
            )
            .await
        }
    };
    released("other").await?;
    let of_other = inventory(&world, "other")?;
    for (kind, names) in nothing_of_other {
        let now = of_other.get(&kind).cloned().unwrap_or_default();
        assert!(
            now.is_superset(&names),
            "{kind} of the other installation: {names:?} became {now:?}"
        );
    }

    // An installation of the same name begins anew, and leaves alone what the older one kept.
    world.deploy(&bench.profiles, 1)?;
    let world = world.with_outputs()?;
    world.vibes(&["upload", sources])?;
    world.building().await?;
    world.idle().await?;
    let anew: Release = world.release().await?;
    assert!(anew.complete && anew.shards != release.shards);
    assert_eq!(inventory(&world, "vibes")?["retained"], retained["retained"]);
    world.done()
}

/// Templates that are stacks of their own, and what must be said to create them.
const STACKS: [(&str, &[(&str, &str)]); 3] = [
    ("vpc", &[]),
    ("profile", &[("Name", "life"), ("Encoder", "flac")]),
    (
        "meta",
        &[("RepositoryUrl", "https://example.org/vibes"), ("Stack", "life")],
    ),
];

/// Another value, where the constraints do not suggest one or several must go together.
fn other_value(world: &World, parameter: &str) -> Result<Option<String>> {
    let of_other_network = |output: &str| -> Result<String> {
        let query = format!("Stacks[0].Outputs[?OutputKey=='{output}'].OutputValue");
        let stack = ["cloudformation", "describe-stacks", "--stack-name", "life-vpc"];
        let found = world.aws(&[&stack[..], &["--query", &query, "--output", "text"]].concat())?;
        Ok(found.trim().to_owned())
    };
    let value = match parameter {
        "VpcId" | "SubnetIds" | "PrivateSubnetIds" => of_other_network(parameter)?,
        "AllowedCidr" => "198.51.100.0/24".to_owned(),
        "PlainHttpCidr" => "10.0.0.0/16".to_owned(),
        "Cidr" => "10.44.0.0/16".to_owned(),
        "WorkerInstanceTypes" | "VolmgrInstanceTypes" | "ServerInstanceTypes" => "c7a.large,m7a.large".to_owned(),
        "NightlySchedule" | "ImageSchedule" => "rate(2 days)".to_owned(),
        "TimeZone" => "Europe/Berlin".to_owned(),
        "Email" => "somebody@example.org".to_owned(),
        "DomainName" => "music.example.org".to_owned(),
        "Prefix" => "/elsewhere".to_owned(),
        "CodeBucket" | "ArtifactBucket" => "life-code".to_owned(),
        "CodeVersion" => "another".to_owned(),
        "Name" => "death".to_owned(),
        "Encoder" => "lame".to_owned(),
        "Format" => "mp3".to_owned(),
        "Flags" => "-V 0".to_owned(),
        "ExtraConfig" => "CONFIG_ENCODER=flac".to_owned(),
        "RepositoryUrl" => "https://example.org/fork".to_owned(),
        "ImageSubnetId" => "subnet-0123456789abcdef0".to_owned(),
        "Branch" => "next".to_owned(),
        "Stack" => "elsewhere".to_owned(),
        "DeployParameters" => "Shards=2".to_owned(),
        "BuildImage" => "example.org/rust:1".to_owned(),
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// A value that this parameter may have and does not have yet.
fn changed(world: &World, template: &str, parameter: &str, is: &Value, now: &str) -> Result<String> {
    if let Some(other) = other_value(world, parameter)? {
        return Ok(other);
    }
    if let Some(allowed) = is["AllowedValues"].as_array() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let other = allowed.iter().map(text).find(|value| value != now && !value.is_empty());
        return other.with_context(|| format!("{template}: {parameter} has one value only"));
    }
    if let (Some(least), Some(most)) = (is["MinValue"].as_i64(), is["MaxValue"].as_i64()) {
        let now: i64 = now.parse()?;
        return Ok(if now < most { now + 1 } else { least }.to_string());
    }
    bail!("{template}: say in tests/tests/twin/stacks.rs what {parameter} may be changed to")
}

fn file_of(template: &str) -> String {
    format!("cfn/{template}.yaml")
}

/// Deploys a template from its file; what is not given stays as it is.
fn deploy(world: &World, stack: &str, file: &str, parameters: &BTreeMap<String, String>) -> Result<String> {
    // aws names a change set by the second: two of one stack need two.
    let subsecond = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
    std::thread::sleep(Duration::from_secs(1).saturating_sub(Duration::from_nanos(subsecond.into())));
    let tag = format!("vibes:stack={stack}");
    let deploy = [
        "cloudformation",
        "deploy",
        "--no-fail-on-empty-changeset",
        "--stack-name",
        stack,
    ];
    let rights = [
        "--template-file",
        file,
        "--capabilities",
        "CAPABILITY_NAMED_IAM",
        "CAPABILITY_AUTO_EXPAND",
    ];
    let given: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments = [&deploy[..], &rights, &["--tags", &tag]].concat();
    if !given.is_empty() {
        arguments.push("--parameter-overrides");
        arguments.extend(given.iter().map(String::as_str));
    }
    world
        .aws(&arguments)
        .with_context(|| reasons(world, stack).unwrap_or_default())
}

/// Values of a stack's parameters, as CloudFormation says them.
fn values(world: &World, stack: &str) -> Result<BTreeMap<String, String>> {
    let query = "Stacks[0].Parameters[].[ParameterKey, ParameterValue]";
    let describe = ["cloudformation", "describe-stacks", "--stack-name", stack];
    let found = world.aws(&[&describe[..], &["--query", query, "--output", "json"]].concat())?;
    let found: Option<Vec<(String, String)>> = serde_json::from_str(&found)?;
    Ok(found.unwrap_or_default().into_iter().collect())
}

/// Updates a stack twice: with nothing new, and with every parameter changed.
fn live(world: &World, stack: &str, template: &str) -> Result<()> {
    let said = deploy(world, stack, &file_of(template), &BTreeMap::new())?;
    assert!(said.contains("No changes to deploy"), "{template}: {said}");
    let now = values(world, stack)?;
    let mut wanted = BTreeMap::new();
    for (parameter, is) in fields(&load(template)["Parameters"]) {
        wanted.insert(
            parameter.clone(),
            changed(world, template, parameter, is, &now[parameter])?,
        );
    }
    deploy(world, stack, &file_of(template), &wanted)?;
    assert_eq!(values(world, stack)?, wanted, "{template}");
    assert_eq!(status(world, stack)?.as_deref(), Some("UPDATE_COMPLETE"), "{template}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_template_is_created_changed_in_every_parameter_and_deleted() -> Result<()> {
    every_template_is_looked_at();
    let bench = Bench::new()?;
    let world = World::start(&bench.profiles, 1).await?;
    for (template, parameters) in STACKS {
        let given = parameters
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let stack = format!("life-{template}");
        deploy(&world, &stack, &file_of(template), &given.collect())?;
        live(&world, &stack, template)?;
    }

    let code = &values(&world, "vibes")?["CodeBucket"];
    let version = &values(&world, "vibes")?["CodeVersion"];
    world.aws(&["s3", "mb", "s3://life-code"])?;
    for kind in ["functions", "statemachines", "templates"] {
        let (from, to) = (
            format!("s3://{code}/{kind}/{version}"),
            format!("s3://life-code/{kind}/another"),
        );
        world.aws(&["s3", "cp", "--recursive", &from, &to])?;
    }
    live(&world, "vibes", "main")?;
    let world = world.with_outputs()?;
    let buckets = BTreeSet::from([world.sources_bucket.clone(), world.state_bucket.clone()]);
    assert_eq!(inventory(&world, "vibes")?["buckets"], buckets, "no bucket is replaced");
    delete(&world, "vibes").await?;
    assert_eq!(
        inventory(&world, "vibes")?,
        Inventory::from([("buckets".to_owned(), buckets)])
    );

    a_creation_that_fails_leaves_nothing(&world).await?;
    for (template, _) in STACKS {
        delete(&world, &format!("life-{template}")).await?;
    }
    let left = world.aws(&[
        "cloudformation",
        "describe-stacks",
        "--query",
        "Stacks[].StackName",
        "--output",
        "json",
    ])?;
    let left: Vec<String> = serde_json::from_str(&left)?;
    let left: Vec<_> = left.iter().filter(|stack| stack.starts_with("life-")).collect();
    assert!(left.is_empty(), "{left:?}");
    world.done()
}

/// But those whose types no emulator has, and those that are part of another.
fn every_template_is_looked_at() {
    let main = load("main");
    let nested: Vec<&str> = strings(&main["Resources"])
        .into_iter()
        .filter_map(|text| text.rsplit_once('/')?.1.strip_suffix(".yaml"))
        .collect();
    let own = STACKS.map(|(template, _)| template);
    for file in std::fs::read_dir(project::path("cfn")).expect("templates") {
        let name = file.expect("a template").file_name().into_string().expect("UTF-8");
        let Some(template) = name.strip_suffix(".yaml") else {
            continue;
        };
        let known = ["main", "access"].contains(&template) || nested.contains(&template) || own.contains(&template);
        assert!(known, "cfn/{name} is deployed by no test: add it to STACKS");
    }
}

/// Something is refused when half is there, and when all is there that a deletion asks to work.
async fn a_creation_that_fails_leaves_nothing(world: &World) -> Result<()> {
    let network = other_value(world, "VpcId")?.zip(other_value(world, "SubnetIds")?);
    let (vpc, subnets) = network.context("the network's outputs")?;
    let parameters = [
        ("VpcId", vpc.as_str()),
        ("SubnetIds", &subnets),
        ("AllowedCidr", "127.0.0.0/8"),
        ("Prefix", "/broken"),
        ("CodeBucket", "life-code"),
        ("CodeVersion", "another"),
    ];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let main = project::read("cfn/main.yaml");
    for needs in ["Permissions", "Teardown"] {
        let broken = format!(
            "\n  Broken:\n    Type: AWS::CloudFormation::Stack\n    DependsOn: {needs}\n    Properties:\n      \
             TemplateURL: !Sub https://s3.${{AWS::Region}}.${{AWS::URLSuffix}}/${{CodeBucket}}/nothing.yaml\n\nOutputs:\n"
        );
        let file = world.dir().join("broken.yaml");
        std::fs::write(&file, main.replacen("\nOutputs:\n", &broken, 1))?;
        let file = file.to_str().context("UTF-8")?;
        ensure!(
            deploy(world, "broken", file, &parameters.clone().into()).is_err(),
            "{needs}"
        );
        assert_eq!(
            status(world, "broken")?.as_deref(),
            Some("ROLLBACK_COMPLETE"),
            "{needs}"
        );
        let left = inventory(world, "broken")?;
        assert!(left.keys().all(|kind| kind == "buckets"), "{needs}: {left:#?}");
        delete(world, "broken").await?;
    }
    Ok(())
}
