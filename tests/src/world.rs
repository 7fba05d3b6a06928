//! A world of a test's own: a twin in a temporary directory, with everything deployed, and the clients to ask it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::primitives::ByteStream;
use contract::control::Control;
use contract::release::Release;
use contract::report::Report;
use contract::status::Status;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::project;

/// How long a twin gets to stop: its own waits for what runs in it add up to half a minute on a quiet machine.
const STOPS_WITHIN: Duration = Duration::from_secs(90);

/// Where the project's Python programs are.
pub fn venv() -> PathBuf {
    project::path(".venv/bin")
}

/// One of the project's programs, as cargo built it beside the running test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let path = test.ancestors().nth(2).expect("target/PROFILE").join(name);
    assert!(path.exists(), "{} is not built: run `make build` first", path.display());
    path
}

/// A twin and what is deployed in it. A test that has seen what it wanted ends with [`World::done`]; a world that is only dropped
/// is one of a test that fails, and its directory is kept.
pub struct World {
    dir: PathBuf,
    state: PathBuf,
    twin: Child,
    environment: Vec<(String, String)>,
    /// The outputs of the main stack.
    outputs: Value,
    /// The sources bucket's name.
    pub sources_bucket: String,
    /// The state bucket's name.
    pub state_bucket: String,
    /// The pipeline's ARN.
    pub pipeline: String,
    /// S3 of the twin.
    pub s3: aws_sdk_s3::Client,
    /// Step Functions of the twin.
    pub sfn: aws_sdk_sfn::Client,
    /// SSM of the twin.
    pub ssm: aws_sdk_ssm::Client,
}

/// One call as the twin's proxy recorded it.
#[derive(Debug, serde::Deserialize)]
pub struct Call {
    /// Position in the record, growing.
    pub seq: u64,
    /// Service, as in the request's signature (`ec2`, `s3`).
    pub service: String,
    /// Action, as AWS names it.
    pub action: String,
    /// Who called: `root`, `base` (AWS itself), or a role and what has it (`ROLE/FUNCTION`, `ROLE/i-...`).
    pub caller: String,
    /// What the call named, and what it made.
    pub resources: Vec<String>,
}

/// How fast a world's time goes. Waits of state machines are scaled, what instances and functions do is not.
#[derive(Debug, Clone)]
pub struct Pace {
    /// What the waits of state machines are multiplied by.
    pub wait_scale: f64,
    /// Template parameters that differ from those of `make run`.
    pub parameters: Vec<(&'static str, String)>,
}

impl Default for Pace {
    /// As `make run`.
    fn default() -> Self {
        Pace {
            wait_scale: 0.2,
            parameters: Vec::new(),
        }
    }
}

impl World {
    /// Starts a twin and deploys the real templates into it with these profiles.
    ///
    /// `shards` is the template parameter of that name.
    pub async fn start(profiles: &Path, shards: u32) -> Result<Self> {
        let world = Self::empty().await?;
        world.deploy(profiles, shards)?;
        world.with_outputs()
    }

    /// Starts a twin whose time goes at this pace, and deploys the real templates into it with these profiles.
    pub async fn start_at(pace: &Pace, profiles: &Path) -> Result<Self> {
        let world = Self::empty_at(pace.wait_scale).await?;
        let parameters: Vec<String> = pace
            .parameters
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        world.deploy_with(profiles, &parameters)?;
        world.with_outputs()
    }

    /// Starts a twin, and waits until it can be asked: an account with nothing in it.
    pub async fn empty() -> Result<Self> {
        Self::empty_at(Pace::default().wait_scale).await
    }

    async fn empty_at(wait_scale: f64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("vibes-world-").tempdir()?.keep();
        let mut twin = start_twin(&dir, wait_scale)?;
        let environment = match wait_for(Duration::from_secs(60), || environment_of(&dir)).await {
            Ok(environment) => environment,
            Err(error) => {
                twin.kill().ok();
                bail!(
                    "{error:#}; its directory {} is kept; the twin said: {}",
                    dir.display(),
                    std::fs::read_to_string(dir.join("twin.log"))?
                )
            }
        };
        let config = sdk_config(&environment).await?;
        Ok(Self {
            s3: aws_sdk_s3::Client::from_conf(
                aws_sdk_s3::config::Builder::from(&config)
                    .force_path_style(true)
                    .build(),
            ),
            sfn: aws_sdk_sfn::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            sources_bucket: String::new(),
            state_bucket: String::new(),
            pipeline: String::new(),
            outputs: Value::Null,
            environment,
            twin,
            state: dir.join("twin"),
            dir,
        })
    }

    /// Deploys the templates (again), with these profiles.
    pub fn deploy(&self, profiles: &Path, shards: u32) -> Result<()> {
        self.deploy_with(profiles, &[format!("Shards={shards}")])
    }

    fn deploy_with(&self, profiles: &Path, parameters: &[String]) -> Result<()> {
        let profiles = profiles.to_str().context("a path that is not UTF-8")?;
        let mut arguments = vec!["deploy", "--twin", self.state()?, "--profiles", profiles];
        for parameter in parameters {
            arguments.extend(["--parameter", parameter]);
        }
        self.vibes(&arguments).map(drop)
    }

    /// Learns where things are from the main stack, which is deployed by now.
    pub fn with_outputs(mut self) -> Result<Self> {
        let stacks = self.aws(&["cloudformation", "describe-stacks", "--stack-name", "vibes"])?;
        let stacks: Value = serde_json::from_str(&stacks)?;
        self.outputs = stacks["Stacks"][0]["Outputs"].clone();
        self.sources_bucket = self.output("SourcesBucket")?;
        self.state_bucket = self.output("StateBucket")?;
        self.pipeline = self.output("PipelineArn")?;
        Ok(self)
    }

    /// An output of the main stack, as it was when the world was told where things are.
    pub fn output(&self, key: &str) -> Result<String> {
        let mut outputs = self.outputs.as_array().into_iter().flatten();
        let found = outputs.find(|output| output["OutputKey"] == key);
        let value = found.and_then(|output| output["OutputValue"].as_str());
        Ok(value
            .with_context(|| format!("the stack has no output {key}"))?
            .to_owned())
    }

    /// The world's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The twin's state directory.
    pub fn state(&self) -> Result<&str> {
        self.state.to_str().context("a path that is not UTF-8")
    }

    /// Runs `vibes` with these arguments in this world; an error holds what it printed.
    pub fn vibes(&self, arguments: &[&str]) -> Result<String> {
        self.succeed(self.command(&program("vibes")).args(arguments))
    }

    /// Runs the `aws` command line with these arguments in this world; an error holds what it printed.
    pub fn aws(&self, arguments: &[&str]) -> Result<String> {
        self.succeed(self.command(&venv().join("aws")).args(arguments))
    }

    /// A program that finds this world, and the project's programs.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:{}", venv().display(), std::env::var("PATH").unwrap_or_default());
        command
            .envs(self.environment.iter().cloned())
            .env("PATH", path)
            .current_dir(project::path("."));
        command
    }

    fn succeed(&self, command: &mut Command) -> Result<String> {
        let out = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {command:?}"))?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        ensure!(out.status.success(), "{command:?} ended with {}:\n{said}", out.status);
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Starts the pipeline as the console does, and returns the execution's ARN.
    pub async fn start_build(&self, input: Value) -> Result<String> {
        let started = self
            .sfn
            .start_execution()
            .state_machine_arn(&self.pipeline)
            .input(input.to_string())
            .send()
            .await?;
        Ok(started.execution_arn)
    }

    /// The ARN of a build's execution.
    pub fn execution(&self, build: &str) -> String {
        format!("{}:{build}", self.pipeline.replace(":stateMachine:", ":execution:"))
    }

    /// Lets the pipeline's next executions last so many seconds, as their state machine counts, and returns how many it were.
    pub async fn limit(&self, seconds: u32) -> Result<u32> {
        let described = self.sfn.describe_state_machine().state_machine_arn(&self.pipeline);
        let mut definition: Value = serde_json::from_str(&described.send().await?.definition)?;
        let before = definition["TimeoutSeconds"].as_u64().context("a time-out")?;
        definition["TimeoutSeconds"] = seconds.into();
        let update = self.sfn.update_state_machine().state_machine_arn(&self.pipeline);
        update.definition(definition.to_string()).send().await?;
        Ok(u32::try_from(before)?)
    }

    /// Waits until an execution has ended, and returns it.
    pub async fn ended(
        &self,
        execution: &str,
    ) -> Result<aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput> {
        eventually(Duration::from_secs(180), "the execution ends", async || {
            let found = self.sfn.describe_execution().execution_arn(execution).send().await?;
            Ok((found.status.as_str() != "RUNNING").then_some(found))
        })
        .await
    }

    /// Waits until control is free and nobody waits for it.
    pub async fn idle(&self) -> Result<Control> {
        eventually(Duration::from_secs(240), "control is free", async || {
            let control: Option<Control> = self.object("control.json").await?;
            Ok(control.filter(|control| control.owner.is_none() && !control.pending))
        })
        .await
    }

    /// Waits until some build holds control, and returns its name.
    pub async fn building(&self) -> Result<String> {
        eventually(Duration::from_secs(60), "a build holds control", async || {
            Ok(self
                .object::<Control>("control.json")
                .await?
                .and_then(|control| control.owner))
        })
        .await
    }

    /// Waits until the first attempt of shard 0 of a build has encoded this many tracks, and returns its status.
    pub async fn encoded(&self, build: &str, tracks: u64) -> Result<Status> {
        let key = contract::objects::status(build, 0, 1);
        eventually(Duration::from_secs(120), "tracks are encoded", async || {
            let status: Option<Status> = self.object(&key).await?;
            Ok(status.filter(|status| status.profiles.values().map(|tracks| tracks.done).sum::<u64>() >= tracks))
        })
        .await
    }

    /// A JSON object of the state bucket; none if there is no such object.
    pub async fn object<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.s3.get_object().bucket(&self.state_bucket).key(key).send().await {
            Ok(object) => Ok(Some(serde_json::from_slice(
                &object.body.collect().await?.into_bytes(),
            )?)),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {key}")),
        }
    }

    /// The current release; an error if there is none.
    pub async fn release(&self) -> Result<Release> {
        let parameter = self.ssm.get_parameter().name("/vibes/release").send().await?.parameter;
        let name = parameter
            .and_then(|parameter| parameter.value)
            .context("/vibes/release has no value")?;
        let key = contract::objects::release(&name);
        self.object(&key).await?.with_context(|| format!("there is no {key}"))
    }

    /// Ids of the snapshots that releases and the checkpoint name.
    pub async fn named_snapshots(&self) -> Result<BTreeSet<String>> {
        let releases = self.s3.list_objects_v2().bucket(&self.state_bucket).prefix("releases/");
        let listed = releases.send().await?;
        let mut keys: Vec<&str> = listed.contents().iter().filter_map(|object| object.key()).collect();
        keys.push(contract::objects::CHECKPOINT);
        let mut named = BTreeSet::new();
        for key in keys {
            // What was pruned since it was listed names nothing.
            let object: Value = self.object(key).await?.unwrap_or_default();
            let pairs = object["shards"].as_array().into_iter().flatten();
            let ids = pairs.flat_map(|pair| [&pair["sources"], &pair["builds"]]);
            named.extend(ids.filter_map(Value::as_str).map(str::to_owned));
        }
        Ok(named)
    }

    /// What shard `shard` of a build did.
    pub async fn report(&self, build: &str, shard: u32) -> Result<Report> {
        let key = contract::objects::report(build, shard);
        self.object(&key).await?.with_context(|| format!("there is no {key}"))
    }

    /// Puts one object into the sources bucket.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Result<()> {
        let body = ByteStream::from(body);
        self.s3
            .put_object()
            .bucket(&self.sources_bucket)
            .key(key)
            .body(body)
            .send()
            .await?;
        Ok(())
    }

    /// Deletes one object of the sources bucket.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.s3
            .delete_object()
            .bucket(&self.sources_bucket)
            .key(key)
            .send()
            .await?;
        Ok(())
    }

    /// Every call that the twin answered after number `since`; 0 for all.
    pub fn calls(&self, since: u64) -> Result<Vec<Call>> {
        let url = format!("{}/_twin/record?since={since}", self.endpoint());
        let out = self.succeed(Command::new("curl").args(["-sSf", &url]))?;
        out.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("a call: {line}")))
            .collect()
    }

    /// Asks the twin for something under `/_twin/`.
    pub fn twin(&self, method: &str, path: &str) -> Result<Value> {
        let url = format!("{}/_twin/{path}", self.endpoint());
        let out = self.succeed(Command::new("curl").args(["-sSf", "-X", method, &url]))?;
        if out.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&out)?)
        }
    }

    /// The file of a volume or snapshot, as the twin's own processes see it.
    pub fn disk(&self, id: &str) -> Result<PathBuf> {
        let foreground = self.twin.id();
        let inside = std::fs::read_to_string(format!("/proc/{foreground}/task/{foreground}/children"))?;
        let inside = inside
            .split_whitespace()
            .next()
            .context("the twin has no process inside")?;
        let path = self.state.join("machine/store").join(id);
        Ok(Path::new("/proc")
            .join(inside)
            .join("root")
            .join(path.strip_prefix("/")?))
    }

    /// Has the twin spoil calls from now on: a rule of its control API, or several.
    pub fn spoil(&self, fault: &Value) -> Result<()> {
        let url = format!("{}/_twin/faults", self.endpoint());
        self.succeed(Command::new("curl").args(["-sSf", &url, "-d", &fault.to_string()]))
            .map(drop)
    }

    /// Puts the record into the directory that `VIBES_RECORDS` names: the permission test judges what all worlds called.
    fn keep_record(&self) -> Result<()> {
        let Some(directory) = std::env::var_os("VIBES_RECORDS") else {
            return Ok(());
        };
        let name = self.dir.file_name().context("a world has a directory")?;
        let file = Path::new(&directory).join(name).with_extension("jsonl");
        let url = format!("{}/_twin/record", self.endpoint());
        self.succeed(Command::new("curl").args(["-sSf", &url, "-o"]).arg(file))
            .map(drop)
    }

    /// Where the twin is, for what does not read the environment.
    pub fn endpoint(&self) -> &str {
        let found = self.environment.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL");
        &found.expect("checked when the twin started").1
    }

    /// Ends the twin and removes the world's directory: the test is over and has not failed.
    pub fn done(mut self) -> Result<()> {
        self.stop()?;
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("removing {}", self.dir.display()))
    }

    /// Ends the twin as Ctrl-C does, waits for it, and forgets nothing.
    pub fn stop(&mut self) -> Result<()> {
        if self.twin.try_wait()?.is_none() {
            self.keep_record()?;
        }
        drop(self.twin.stdin.take());
        let end = Instant::now() + STOPS_WITHIN;
        while self.twin.try_wait()?.is_none() {
            if Instant::now() > end {
                self.twin.kill()?;
                self.twin.wait()?;
                bail!("the twin did not end within {STOPS_WITHIN:?} and was killed");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.dir.exists() {
            return;
        }
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
        eprintln!("this test's world is kept in {}", self.dir.display());
    }
}

/// The twin ends when its standard input does: also when the test is killed.
fn start_twin(dir: &Path, wait_scale: f64) -> Result<Child> {
    let log = std::fs::File::create(dir.join("twin.log"))?;
    Command::new(program("vibes-twin"))
        .args(["start", "--until-eof", "--wait-scale", &wait_scale.to_string()])
        .args(["--agent-env", "VIBES_STATUS_SECONDS=1"])
        .args(["--agent-env", "VIBES_CONTROL_SECONDS=3"])
        .args(["--agent-env", "VIBES_SERVE_SECONDS=1"])
        .arg("--state")
        .arg(dir.join("twin"))
        .arg("--base")
        .arg(venv().join("ministack"))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start the twin")
}

/// The variables that `vibes-twin env` prints, as soon as the twin is up.
fn environment_of(dir: &Path) -> Result<Option<Vec<(String, String)>>> {
    let state = dir.join("twin");
    if !state.join("twin.json").exists() {
        return Ok(None);
    }
    let out = Command::new(program("vibes-twin"))
        .arg("env")
        .arg("--state")
        .arg(state)
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    let variables: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        .collect();
    Ok((!variables.is_empty()).then_some(variables))
}

async fn sdk_config(environment: &[(String, String)]) -> Result<aws_config::SdkConfig> {
    let value = |name: &str| {
        let found = environment.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.clone())
            .with_context(|| format!("the twin's environment has no {name}"))
    };
    let credentials = aws_sdk_s3::config::Credentials::new(
        value("AWS_ACCESS_KEY_ID")?,
        value("AWS_SECRET_ACCESS_KEY")?,
        None,
        None,
        "twin",
    );
    Ok(aws_config::defaults(aws_config::BehaviorVersion::latest())
        .endpoint_url(value("AWS_ENDPOINT_URL")?)
        .region(aws_config::Region::new(value("AWS_REGION")?))
        .credentials_provider(credentials)
        .load()
        .await)
}

async fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    eventually(limit, "the twin is up", async || look()).await
}

/// Looks until there is something to see; the error says what did not come within `limit`.
pub async fn eventually<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "within {} s not so: {what}", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
