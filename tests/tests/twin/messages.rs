//! The topic tells how builds end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::sample;
use tests::world::{World, eventually};

use crate::builds::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_tells_how_builds_end() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 3)?;
    let world = World::start(&bench.profiles, 1).await?;
    let ear = Ear::new(&world)?;

    let nothing = world.start_build(json!({})).await?;
    let kept = "is being ended, and what it had encoded is kept";
    ear.hears(&["ended as FAILED, error: NoSources", &nothing, kept, "docs/runbook.md"])
        .await?;

    let album = bench.sources.join("Tiny & Co/Album 1");
    for number in 1..=3 {
        let track = std::fs::read(album.join(format!("{number:02}-Track {number}.wav")))?;
        world.put(&format!("a/{number:02}-x.wav"), track).await?;
    }
    ear.hears(&["succeeded. Its release is complete"]).await?;

    // A build that has nothing to do tells nobody.
    let idle = world.start_build(json!({})).await?;
    world.ended(&idle).await?;
    ensure!(ear.next()?.is_none(), "nothing was to be told");

    world.put("a/04-x.wav", b"RIFF, but no more".to_vec()).await?;
    let told = ear.hears(&["succeeded with problems"]).await?;
    // The command that the message names is there to be pasted.
    let command = told.rsplit_once(": aws ").context("the message has a command")?.1;
    let command = command.split_once(" (").context("which ends")?.0;
    let report = world.aws(&command.split_whitespace().collect::<Vec<_>>())?;
    ensure!(
        report.contains("a/04-x.wav for home: "),
        "the report names the track: {report}"
    );
    world.done()
}

/// A queue that listens to the topic.
struct Ear<'a> {
    world: &'a World,
    queue: String,
}

impl<'a> Ear<'a> {
    fn new(world: &'a World) -> Result<Self> {
        let of = |arguments: &[&str]| -> Result<String> { Ok(world.aws(arguments)?.trim().to_owned()) };
        // This one service of the command line does not know the variable.
        let sqs = ["sqs", "--endpoint-url", world.endpoint()];
        // Any topic of the account may speak to it.
        let policy = json!({"Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "*",
        }]});
        let attributes = json!({"Policy": policy.to_string()}).to_string();
        let create = ["create-queue", "--queue-name", "ear", "--attributes", &attributes];
        let queue = of(&[&sqs[..], &create, &["--query", "QueueUrl", "--output", "text"]].concat())?;
        let topic = of(&[
            "cloudformation",
            "describe-stacks",
            "--stack-name",
            "vibes",
            "--query",
            "Stacks[0].Outputs[?OutputKey=='Topic'].OutputValue",
            "--output",
            "text",
        ])?;
        let arn = topic.replace(":sns:", ":sqs:").replace(":vibes-builds", ":ear");
        of(&[
            "sns",
            "subscribe",
            "--topic-arn",
            &topic,
            "--protocol",
            "sqs",
            "--notification-endpoint",
            &arn,
        ])?;
        Ok(Self { world, queue })
    }

    /// Waits for the next message, which has all these words.
    async fn hears(&self, words: &[&str]) -> Result<String> {
        let told = eventually(Duration::from_secs(120), words[0], async || self.next()).await?;
        for word in words {
            ensure!(told.contains(word), "{word:?} is not in what was told: {told}");
        }
        Ok(told)
    }

    fn next(&self) -> Result<Option<String>> {
        let receive = [
            "receive-message",
            "--queue-url",
            &self.queue,
            "--wait-time-seconds",
            "1",
        ];
        let sqs = ["sqs", "--endpoint-url", self.world.endpoint()];
        let said = self.world.aws(&[&sqs[..], &receive].concat())?;
        if said.trim().is_empty() {
            return Ok(None);
        }
        let said: Value = serde_json::from_str(&said)?;
        let message = &said["Messages"][0];
        let handle = message["ReceiptHandle"].as_str().context("a handle")?;
        let delete = ["delete-message", "--queue-url", &self.queue, "--receipt-handle", handle];
        self.world.aws(&[&sqs[..], &delete].concat())?;
        let body: Value = serde_json::from_str(message["Body"].as_str().context("a body")?)?;
        Ok(body["Message"].as_str().map(str::to_owned))
    }
}
