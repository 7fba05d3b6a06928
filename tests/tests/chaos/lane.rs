//! A lane: a world of its own in which one case follows the other, and the verdict on each.

mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::control::Control;
use contract::objects;
use serde_json::{Value, json};
use tests::sample;
use tests::tree::{self, Tree};
use tests::world::{Pace, World, eventually};

use crate::matrix::Case;
use crate::moments::Act;

/// The tag file that every case changes: one track of one profile is to be encoded again.
const CHANGED: &str = "Tiny & Co/Album 1/01-Track 1.tags.vc";
/// What its track is called in turns.
const TITLES: [&str; 2] = ["Heads", "Tails"];
/// Waits of state machines are a twentieth; what counts them is twenty times as long.
pub(crate) const WAIT_SCALE: f64 = 0.05;
/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(400);
/// How often the sweep may have to look before it has ended everything: it marks, looks again, ends, and starts a clean-up.
const SWEEPS: u32 = 6;

/// What a case came to, when it is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The build made a correct release all the same.
    Released,
    /// The build failed by name, and the next one made a correct release.
    Failed,
    /// The event became a dead letter, which has an alarm, and the next hint led to a correct release.
    DeadLetter,
    /// No call was hit.
    NotReached,
}

/// A world with a release, and what the release holds for each title.
pub(crate) struct Lane {
    pub(crate) world: World,
    /// The collection on disk.
    pub(crate) sources: PathBuf,
    _dir: tempfile::TempDir,
    /// What a release holds, by title; complete when the lane is ready.
    references: Vec<Tree>,
    /// The title of the current release.
    title: usize,
    /// Hours that sweeps have been told to have gone by.
    hours: u32,
    /// Releases are served.
    serves: bool,
    /// Calls that have been counted.
    counted: u64,
    /// The URL of the queue of dead letters.
    pub(crate) dead_letters: String,
}

impl Lane {
    /// Starts a world and builds each title once, undisturbed.
    pub(crate) async fn start(serves: bool) -> Result<Lane> {
        let dir = tempfile::tempdir()?;
        let (sources, profiles) = (dir.path().join("sources"), dir.path().join("profiles"));
        sample::tiny(&sources, 2)?;
        std::fs::create_dir(&profiles)?;
        std::fs::write(profiles.join("home.config"), "CONFIG_ENCODER=flac\n")?;
        let seconds = |real: f64| format!("{}", (real / WAIT_SCALE) as u32);
        let pace = Pace {
            wait_scale: WAIT_SCALE,
            parameters: vec![
                ("BootSeconds", seconds(40.0)),
                ("SilentSeconds", seconds(40.0)),
                ("PollFirstSeconds", seconds(0.5)),
                ("PollMaxSeconds", seconds(1.0)),
                ("SettleSeconds", seconds(0.05)),
                ("Serve", serves.to_string()),
                ("DrainSeconds", "1".to_owned()),
                // So that serving is stuck after as many steps as in an account.
                ("WaitSeconds", seconds(0.4)),
            ],
        };
        let world = World::start_at(&pace, &profiles).await?;
        let mut lane = Lane {
            world,
            sources,
            _dir: dir,
            references: Vec::new(),
            title: 1,
            hours: 0,
            serves,
            counted: 0,
            dead_letters: String::new(),
        };
        lane.prepare().await?;
        Ok(lane)
    }

    async fn prepare(&mut self) -> Result<()> {
        self.dead_letters = self.world.output("DeadLettersUrl")?;
        self.hasten()?;
        self.world.vibes(&["upload", self.sources.to_str().context("UTF-8")?])?;
        self.another_than(None).await?;
        self.quiet().await?;
        for title in 0..TITLES.len() {
            self.undisturbed().await?;
            ensure!(self.title == title, "the titles take turns");
            let tree = self.content(&self.world.release().await?)?;
            self.references.push(tree);
        }
        let [heads, tails] = [0, 1].map(|title| tree::contents(&self.references[title]));
        ensure!(heads != tails, "a title changes the release");
        Ok(())
    }

    /// A build of the other title, without any fault; its execution.
    pub(crate) async fn undisturbed(&mut self) -> Result<String> {
        let execution = self
            .change()
            .await?
            .context("an event that nothing disturbs starts a build")?;
        self.quiet().await?;
        Ok(execution)
    }

    /// Calls SQS, whose endpoint version 1 of the `aws` program does not take from the environment.
    pub(crate) fn sqs(&self, action: &str, body: &Value) -> Result<Value> {
        let mut curl = self.world.command("curl".as_ref());
        curl.args(["-sSf", "--aws-sigv4", "aws:amz:us-east-1:sqs", "--user", "test:test"]);
        curl.args(["-H", "Content-Type: application/x-amz-json-1.0", "-H"]);
        curl.arg(format!("X-Amz-Target: AmazonSQS.{action}"));
        let said = curl.args(["-d", &body.to_string(), self.world.endpoint()]).output()?;
        ensure!(
            said.status.success(),
            "{action}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
        Ok(serde_json::from_slice(&said.stdout).unwrap_or_default())
    }

    /// A message comes again after a moment, and a function that hangs is cut off after seconds.
    fn hasten(&self) -> Result<()> {
        let attributes = json!({"QueueUrl": self.world.output("QueueUrl")?, "Attributes": {"VisibilityTimeout": "3"}});
        self.sqs("SetQueueAttributes", &attributes)?;
        for function in functions(&self.world)? {
            let change = [
                "lambda",
                "update-function-configuration",
                "--timeout",
                "6",
                "--function-name",
            ];
            self.world.aws(&[&change[..], &[&function]].concat())?;
        }
        Ok(())
    }

    /// Gives the track its other title, and waits for the build that this starts: its execution; none if the event became a
    /// dead letter instead.
    async fn change(&mut self) -> Result<Option<String>> {
        self.title = (self.title + 1) % TITLES.len();
        let tags = format!("TITLE={}\n", TITLES[self.title]);
        let last = self.last_execution().await?;
        self.world.put(CHANGED, tags.into_bytes()).await?;
        self.another_than(last).await
    }

    /// Waits for a newer execution than this one; none if there is a dead letter.
    async fn another_than(&self, last: Option<String>) -> Result<Option<String>> {
        eventually(PATIENCE, "an upload starts a build", async || {
            let newest = self.last_execution().await?;
            if newest != last {
                return Ok(Some(newest));
            }
            let counted = json!({"QueueUrl": self.dead_letters, "AttributeNames": ["ApproximateNumberOfMessages"]});
            let said = self.sqs("GetQueueAttributes", &counted)?;
            Ok((said["Attributes"]["ApproximateNumberOfMessages"] != "0").then_some(None))
        })
        .await
    }

    /// The ARN of the pipeline's newest execution.
    async fn last_execution(&self) -> Result<Option<String>> {
        let listed = self.world.sfn.list_executions().state_machine_arn(&self.world.pipeline);
        let executions = listed.send().await?.executions;
        let last = executions
            .into_iter()
            .max_by_key(|execution| execution.start_date.as_nanos());
        Ok(last.map(|execution| execution.execution_arn))
    }

    /// Changes the title while something goes wrong, follows what becomes of it, and judges that and the build after it.
    ///
    /// # Errors
    /// What is not as it should be. The lane is not to be used any more.
    pub(crate) async fn case(&mut self, case: &Case) -> Result<End> {
        self.world.spoil(&case.faults)?;
        let usual = match case.act {
            Some(Act::TimeOut(seconds)) => Some(self.world.limit(seconds).await?),
            _ => None,
        };
        let execution = self.change().await?;
        let acted = match (&case.act, &execution) {
            (Some(act), Some(execution)) => Some(act.happen(&self.world, execution).await?),
            _ => None,
        };
        self.quiet().await?;
        if let Some(usual) = usual {
            self.world.limit(usual).await?;
        }
        let rules = self.world.twin("GET", "faults")?;
        let hit = rules
            .as_array()
            .is_some_and(|rules| rules.iter().any(|rule| rule["hit"] != 0));
        self.world.twin("DELETE", "faults")?;
        self.swept().await?;
        let released = self.is_released().await?;
        if !released && execution.is_some() {
            self.last_failed_by_name().await?;
        }
        self.sqs("PurgeQueue", &json!({"QueueUrl": self.dead_letters}))?;
        self.nothing_is_left().await?;
        self.next_build(released).await.context("the next build")?;
        Ok(match (acted.unwrap_or(hit), released) {
            (false, _) => End::NotReached,
            (true, true) => End::Released,
            (true, false) if execution.is_none() => End::DeadLetter,
            (true, false) => End::Failed,
        })
    }

    /// The build after the case: it succeeds, has at most to do what the case did not, and leaves nothing either.
    async fn next_build(&mut self, released: bool) -> Result<()> {
        let before = self.last_call()?;
        let next = self.world.start_build(json!({})).await?;
        let ended = self.world.ended(&next).await?;
        let (status, error, cause) = (ended.status.as_str(), ended.error, ended.cause);
        ensure!(status == "SUCCEEDED", "{status} {error:?}: {cause:?}");
        self.quiet().await?;
        ensure!(self.is_released().await?, "the release is not of what is in the bucket");
        if released {
            let calls = self.world.calls(before)?;
            let launched = calls.iter().any(|call| call.action == "RunInstances");
            ensure!(!launched, "it had something to do, although the release was right");
        } else {
            let release = self.world.release().await?.release;
            let built = self.world.report(&release, 0).await?.built;
            ensure!(built.len() <= 1, "one track had been changed, and it encoded {built:?}");
        }
        self.nothing_is_left().await
    }

    /// Whether releases are served in it.
    pub(crate) fn serves(&self) -> bool {
        self.serves
    }

    /// The number of the last call so far.
    pub(crate) fn last_call(&mut self) -> Result<u64> {
        self.counted += self.world.calls(self.counted)?.len() as u64;
        Ok(self.counted)
    }

    /// Waits until no execution runs.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let mut rest = 0;
        eventually(PATIENCE, "no execution runs", async || {
            for machine in ["pipeline", "cleanup", "serve"] {
                let arn = self.world.pipeline.replace("-pipeline", &format!("-{machine}"));
                let listed = self.world.sfn.list_executions().state_machine_arn(arn);
                let running = listed.status_filter(aws_sdk_sfn::types::ExecutionStatus::Running);
                if !running.send().await?.executions.is_empty() {
                    rest = 0;
                    return Ok(None);
                }
            }
            // What follows an execution's end by an event takes a moment.
            rest += 1;
            Ok((rest > 2).then_some(()))
        })
        .await
    }

    /// Lets the scheduled sweep look until control is free, as it would within the hour.
    async fn swept(&mut self) -> Result<()> {
        for _ in 0..SWEEPS {
            let control: Control = self.world.object(objects::CONTROL).await?.unwrap_or_default();
            if control.owner.is_none() && !control.pending && self.leftovers().await?.is_empty() {
                return Ok(());
            }
            self.hours += 2;
            self.world.sweep(self.hours)?;
            self.quiet().await.context("after a sweep")?;
        }
        let control: Control = self.world.object(objects::CONTROL).await?.unwrap_or_default();
        bail!(
            "after {SWEEPS} sweeps: {control:?}, and there is {:?}",
            self.leftovers().await?
        )
    }
}

/// The installation's functions.
fn functions(world: &World) -> Result<Vec<String>> {
    let query = ["--query", "Functions[].FunctionName", "--output", "json"];
    let listed = world.aws(&[&["lambda", "list-functions"][..], &query[..]].concat())?;
    Ok(serde_json::from_str(&listed)?)
}
