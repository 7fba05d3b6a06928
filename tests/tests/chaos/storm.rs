//! A storm of events: in any order, twice, never, while builds run, fail and are stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::readback;
use tests::world::eventually;

use crate::lane::Lane;
use crate::matrix;

/// Changes of the bucket, over all of the storm.
const CHANGES: u64 = 60;
/// Tracks that come and go.
const TRACKS: u64 = 8;
/// Events in one call, as SQS allows.
const AT_ONCE: u64 = 10;
/// A storm lasts at least so long: time for several builds.
const LASTS: Duration = Duration::from_secs(20);
/// After its last event a storm is over within this time.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_events_ends_in_what_the_bucket_holds() -> Result<()> {
    let events = match std::env::var("VIBES_CHAOS_RUNS").as_deref() {
        Ok("all") => 10_000,
        _ => 500,
    };
    let storm = Storm {
        lane: Lane::start(false).await?,
        seed: matrix::seed(),
        events,
    };
    let mut builders = BTreeSet::new();
    let watch = async {
        loop {
            match storm.building() {
                Ok(building) => builders.insert(building),
                Err(error) => return Err(error),
            };
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        over = storm.rage() => over?,
        broken = watch => return broken,
    }
    let most = builders.iter().map(BTreeSet::len).max().unwrap_or_default();
    ensure!(most == 1, "builds that had workers at the same time: {builders:?}");
    storm.lane.world.done()
}

struct Storm {
    lane: Lane,
    seed: String,
    events: u64,
}

impl Storm {
    /// A number by chance below `below`, always the same for the seed.
    fn chance(&self, what: &str, number: u64, below: u64) -> u64 {
        let digest = Sha256::digest(format!("{} {what} {number}", self.seed));
        u64::from_le_bytes(digest[..8].try_into().expect("eight bytes")) % below
    }

    async fn rage(&self) -> Result<()> {
        let world = &self.lane.world;
        let queue = world.output("QueueUrl")?;
        world.switch_off("SourcesChanged")?;
        let track = std::fs::read(self.lane.sources.join("Tiny & Co/Album 1/01-Track 1.wav"))?;
        let (mut held, mut disturbed) = (BTreeMap::new(), 0);
        let mut sent = 0;
        let batches = self.events / AT_ONCE;
        for number in 0..batches {
            if number % (batches / CHANGES).max(1) == 0 {
                self.change_something(number, &track, &mut held).await?;
            }
            // Of the events that there would be, one in five is lost, and as many come twice.
            let times = [0, 1, 1, 1, 2][self.chance("times", number, 5) as usize];
            for _ in 0..times {
                self.send(&queue, number).await?;
                sent += AT_ONCE;
            }
            if self.chance("fault", number, batches / 10 + 1) == 0 {
                self.disturb(number).await?;
                disturbed += 1;
            }
            tokio::time::sleep(LASTS / batches as u32).await;
        }
        // The last event is not lost, and what it starts is not disturbed.
        world.twin("DELETE", "faults")?;
        self.change_something(self.events, &track, &mut held).await?;
        self.send(&queue, self.events).await?;
        self.calm(&queue).await?;

        self.is_released(&held).await?;
        println!(
            "chaos: storm of {sent} events, VIBES_CHAOS_SEED={}: {disturbed} disturbances, {} builds; the release holds the bucket",
            self.seed,
            world.idle().await?.seq
        );
        tests::total("events of a storm of triggers", sent, 0);
        self.drain(&queue, &track, &mut held).await
    }

    /// An event that could not be handled is a dead letter, and builds once it is moved back.
    async fn drain(&self, queue: &str, track: &[u8], held: &mut BTreeMap<String, String>) -> Result<()> {
        let world = &self.lane.world;
        let dead = &self.lane.dead_letters;
        world.spoil(&json!({"action": "Invoke", "resource": "vibes-trigger", "kind": "before", "code": "Bug"}))?;
        self.change_something(self.events + 1, track, held).await?;
        self.send(queue, self.events + 1).await?;
        let letters = eventually(PATIENCE, "the events are dead letters", async || {
            let received = self
                .lane
                .sqs("ReceiveMessage", &json!({"QueueUrl": dead, "MaxNumberOfMessages": 10}))?;
            Ok(received["Messages"].as_array().cloned())
        })
        .await?;
        world.twin("DELETE", "faults")?;
        ensure!(self.is_released(held).await.is_err(), "nothing was built yet");
        // What StartMessageMoveTask does, which the base has not.
        for letter in letters {
            self.lane.sqs(
                "SendMessage",
                &json!({"QueueUrl": queue, "MessageBody": letter["Body"]}),
            )?;
            self.lane.sqs(
                "DeleteMessage",
                &json!({"QueueUrl": dead, "ReceiptHandle": letter["ReceiptHandle"]}),
            )?;
        }
        self.calm(queue).await?;
        self.is_released(held).await
    }

    /// The release holds these tracks with these titles, and no others.
    async fn is_released(&self, held: &BTreeMap<String, String>) -> Result<()> {
        let out = self.lane.unpack(&self.lane.world.release().await?)?;
        let tracks = readback::tracks(&out.path().join("out/home"))?;
        let title = |track: &readback::Track| Some(track.tags.get("TITLE")?.first()?.clone());
        let storm = tracks.iter().filter(|(name, _)| name.starts_with("Storm/"));
        let found: BTreeMap<String, String> = storm
            .filter_map(|(name, track)| Some((name.clone(), title(track)?)))
            .collect();
        ensure!(found == *held, "the bucket holds {held:?}, the release {found:?}");
        Ok(())
    }

    /// A track is uploaded, gets another title, or goes.
    async fn change_something(&self, number: u64, track: &[u8], held: &mut BTreeMap<String, String>) -> Result<()> {
        let world = &self.lane.world;
        let name = format!("Storm/{:02}-Track", self.chance("track", number, TRACKS));
        let output = format!("{name}.flac");
        if self.chance("gone", number, 4) == 0 && held.remove(&output).is_some() {
            world.delete(&format!("{name}.wav")).await?;
            world.delete(&format!("{name}.tags.vc")).await?;
            return Ok(());
        }
        let title = format!("Take {number}");
        world
            .put(&format!("{name}.tags.vc"), format!("TITLE={title}\n").into_bytes())
            .await?;
        world.put(&format!("{name}.wav"), track.to_vec()).await?;
        held.insert(output, title);
        Ok(())
    }

    /// Sends a batch of events, whose times are in no order.
    async fn send(&self, queue: &str, number: u64) -> Result<()> {
        let entries = (0..AT_ONCE).map(|at| {
            let second = self.chance("time", number * AT_ONCE + at, 60);
            let event = json!({
                "source": "aws.s3",
                "detail-type": "Object Created",
                "time": format!("2026-01-01T00:00:{second:02}Z"),
                "detail": {"object": {"key": format!("Storm/{at}")}}
            });
            json!({"Id": at.to_string(), "MessageBody": event.to_string()})
        });
        let body = json!({"QueueUrl": queue, "Entries": entries.collect::<Vec<Value>>()});
        self.lane.sqs("SendMessageBatch", &body).map(drop)
    }

    /// Stops the build that runs, or has a function fail for good.
    async fn disturb(&self, number: u64) -> Result<()> {
        let world = &self.lane.world;
        if self.chance("how", number, 2) == 0 {
            let functions = [
                "plan",
                "launch-worker",
                "create-volume",
                "poll-build",
                "snapshot",
                "publish",
                "trigger",
            ];
            let function = functions[self.chance("who", number, functions.len() as u64) as usize];
            return world.spoil(&json!({
                "service": "lambda", "action": "Invoke", "resource": format!("vibes-{function}"),
                "kind": "before", "code": "Bug", "times": 1
            }));
        }
        let running = world.sfn.list_executions().state_machine_arn(&world.pipeline);
        let running = running
            .status_filter(aws_sdk_sfn::types::ExecutionStatus::Running)
            .send()
            .await?;
        for execution in running.executions {
            let stop = world.sfn.stop_execution().execution_arn(execution.execution_arn);
            // It may have ended in this moment.
            let _ = stop.send().await;
        }
        Ok(())
    }

    /// The builds that have a worker now.
    fn building(&self) -> Result<BTreeSet<String>> {
        let inventory = self.lane.world.twin("GET", "inventory")?;
        let instances = inventory["instances"].as_array().context("instances")?;
        Ok(instances
            .iter()
            .filter_map(|instance| Some(instance["tags"]["vibes:build"].as_str()?.to_owned()))
            .collect())
    }

    /// Waits until the queue is empty, nothing runs and nothing is wished for.
    async fn calm(&self, queue: &str) -> Result<()> {
        let waiting = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        eventually(PATIENCE, "the queue is empty", async || {
            let asked = json!({"QueueUrl": queue, "AttributeNames": waiting});
            let said = self.lane.sqs("GetQueueAttributes", &asked)?;
            Ok(waiting.iter().all(|name| said["Attributes"][name] == "0").then_some(()))
        })
        .await?;
        self.lane.world.idle().await?;
        self.lane.quiet().await
    }
}
