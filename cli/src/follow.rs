//! Waits for the builds that something caused, and shows what they do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEventType};
use contract::control::{Control, build_name};
use contract::plan::Plan;
use contract::status::{Status, Tracks};
use contract::{manifest, objects, parameters};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cloud::Cloud;
use crate::progress::{Display, View};
use crate::stacks::Places;
use crate::upload;

/// How often to look. Cheap enough for hours: about three calls each time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An event may take this long to become a build: what the queue collects for plus what S3 and EventBridge take.
const EVENT_PATIENCE: Duration = Duration::from_secs(120);

/// What the builds to wait for come from.
pub(crate) enum Cause {
    /// An upload that has ended; the control object's number at that time.
    Upload {
        /// Builds with a higher number have seen all of it.
        seq: u64,
    },
    /// An execution that was started by hand.
    Execution(String),
    /// Nothing in particular: whatever is going on.
    Whatever,
}

/// A build that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its name.
    pub(crate) build: String,
    /// How it ended.
    pub(crate) how: How,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// It built.
    Built,
    /// There was nothing to build.
    UpToDate,
    /// It left its wish to a build that was running.
    Queued,
    /// It failed, was stopped or ran out of time.
    Failed {
        /// The error's name.
        error: String,
        /// What happened.
        cause: String,
    },
}

/// The control object; the empty one before there is any.
pub(crate) async fn control(cloud: &Cloud, places: &Places) -> Result<Control> {
    Ok(cloud
        .json(&places.state_bucket, objects::CONTROL)
        .await?
        .unwrap_or_default())
}

/// Starts an execution that builds whatever is to be built, and returns its name.
pub(crate) async fn start(cloud: &Cloud, places: &Places, input: Value) -> Result<String> {
    let now = OffsetDateTime::now_utc().format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
    let name = format!("run-{now}");
    let start = cloud.sfn.start_execution().state_machine_arn(&places.pipeline);
    let start = start.name(&name).input(input.to_string());
    start.send().await.context("starting the pipeline")?;
    Ok(name)
}

/// Shows the builds that the cause leads to, until no build runs and none is wished for.
pub(crate) async fn follow(cloud: &Cloud, places: &Places, cause: Cause) -> Result<Vec<Ended>> {
    let mut display = Display::new();
    let mut seen: Vec<String> = match &cause {
        Cause::Execution(name) => vec![name.clone()],
        Cause::Upload { .. } | Cause::Whatever => Vec::new(),
    };
    let mut quiet_since = Instant::now();
    loop {
        let control = control(cloud, places).await?;
        if let Some(owner) = &control.owner {
            if !seen.contains(owner) {
                seen.push(owner.clone());
            }
            display.show(&view(cloud, places, owner).await?);
            quiet_since = Instant::now();
        } else if !control.pending && has_come(cloud, places, &cause, &control, &mut seen).await? {
            break;
        } else if quiet_since.elapsed() > EVENT_PATIENCE {
            bail!(
                "no build has begun {} s after the upload: look at the rule, the queue and the log of the trigger function of {}",
                EVENT_PATIENCE.as_secs(),
                cloud.stack
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    display.finish();
    let mut ended = Vec::new();
    for build in seen {
        ended.push(Ended {
            how: end(cloud, places, &build).await?,
            build,
        });
    }
    Ok(ended)
}

/// No build runs now: was the one that the cause led to among those that did?
async fn has_come(
    cloud: &Cloud,
    places: &Places,
    cause: &Cause,
    control: &Control,
    seen: &mut Vec<String>,
) -> Result<bool> {
    let newest = build_name(control.seq);
    match cause {
        Cause::Whatever => Ok(true),
        // It may not have come to take control yet, or may have failed before.
        Cause::Execution(name) => Ok(execution(cloud, places, name).await?.0 != ExecutionStatus::Running),
        Cause::Upload { seq } if control.seq > *seq => {
            // It came and went between two looks.
            if !seen.contains(&newest) {
                seen.push(newest);
            }
            Ok(true)
        }
        // A build that an early object started may have waited for the last one.
        Cause::Upload { .. } => {
            let there = upload::list(cloud, &places.sources_bucket).await?;
            let Some(build) = seen.last().cloned().or((control.seq > 0).then_some(newest)) else {
                return Ok(false);
            };
            let Some(plan) = cloud.bytes(&places.state_bucket, &objects::plan(&build)).await? else {
                return Ok(false);
            };
            let plan: Plan = serde_json::from_slice(&plan).context("reading a plan")?;
            let key = objects::manifest(&build, &plan.fingerprint);
            let Some(lines) = cloud.bytes(&places.state_bucket, &key).await? else {
                return Ok(false);
            };
            let entries = manifest::from_lines(&String::from_utf8(lines)?).context("reading a manifest")?;
            let same = |entry: &manifest::Entry| {
                there
                    .get(&entry.key)
                    .is_some_and(|there| there.size == entry.size && there.etag == entry.etag)
            };
            let all = entries.len() == there.len() && entries.iter().all(same);
            if all && !seen.contains(&build) {
                seen.push(build);
            }
            Ok(all)
        }
    }
}

/// What a running build does.
async fn view(cloud: &Cloud, places: &Places, build: &str) -> Result<View> {
    let mut view = View {
        build: build.to_owned(),
        step: state(cloud, places, build).await?,
        ..View::default()
    };
    let Some(plan) = cloud.json::<Plan>(&places.state_bucket, &objects::plan(build)).await? else {
        return Ok(view);
    };
    for profile in &plan.profiles {
        view.profiles.insert(profile.clone(), Tracks::default());
    }
    let mut steps = Vec::new();
    for shard in &plan.shards {
        let Some(status) = newest_status(cloud, places, build, shard.shard, plan.attempts).await? else {
            continue;
        };
        add(&mut view.profiles, &status.profiles);
        view.bytes.done += status.bytes.done;
        view.bytes.total += status.bytes.total;
        view.eta_seconds = view.eta_seconds.max(status.eta_seconds);
        if status.last.is_none() {
            steps.push(status.step);
        }
    }
    steps.sort();
    steps.dedup();
    if !steps.is_empty() {
        view.step = steps.join(", ");
    }
    Ok(view)
}

fn add(sum: &mut BTreeMap<String, Tracks>, more: &BTreeMap<String, Tracks>) {
    for (profile, tracks) in more {
        let sum = sum.entry(profile.clone()).or_default();
        sum.done += tracks.done;
        sum.total += tracks.total;
        sum.failed += tracks.failed;
    }
}

/// What the newest attempt of a shard says of itself; none before the first one does.
async fn newest_status(
    cloud: &Cloud,
    places: &Places,
    build: &str,
    shard: u32,
    attempts: u32,
) -> Result<Option<Status>> {
    let mut newest = None;
    for attempt in 1..=attempts {
        match cloud
            .json(&places.state_bucket, &objects::status(build, shard, attempt))
            .await?
        {
            Some(status) => newest = Some(status),
            // An attempt may have ended without a word, the next one speaks only after it has begun.
            None => break,
        }
    }
    Ok(newest)
}

/// The state that an execution entered last.
async fn state(cloud: &Cloud, places: &Places, build: &str) -> Result<String> {
    let history = cloud.sfn.get_execution_history().execution_arn(arn(places, build));
    let history = match history
        .reverse_order(true)
        .max_results(100)
        .include_execution_data(false)
        .send()
        .await
    {
        // Its name is reserved, it is about to start.
        Err(error) if error.code() == Some("ExecutionDoesNotExist") => return Ok("starting".to_owned()),
        history => history.with_context(|| format!("reading what {build} does"))?,
    };
    let waits = |event: &&aws_sdk_sfn::types::HistoryEvent| {
        !matches!(
            event.r#type,
            HistoryEventType::WaitStateEntered | HistoryEventType::ChoiceStateEntered
        )
    };
    let mut entered = history
        .events
        .iter()
        .filter(waits)
        .filter_map(|event| event.state_entered_event_details());
    Ok(entered
        .next()
        .map(|details| details.name().to_owned())
        .unwrap_or_else(|| "working".to_owned()))
}

/// How a build ended; waits for the moment between its release of control and its end.
async fn end(cloud: &Cloud, places: &Places, build: &str) -> Result<How> {
    loop {
        let (status, error, cause, output) = execution(cloud, places, build).await?;
        return Ok(match status {
            ExecutionStatus::Running => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            ExecutionStatus::Succeeded => match output["plan"]["decision"].as_str() {
                Some("upToDate") => How::UpToDate,
                Some("queued") => How::Queued,
                _ => How::Built,
            },
            other => How::Failed {
                error: error.unwrap_or_else(|| other.to_string()),
                cause: message(cause.unwrap_or_default()),
            },
        });
    }
}

/// What a cause says to people: of a function's error, which is JSON, its message; else the whole text.
fn message(cause: String) -> String {
    let error: Value = serde_json::from_str(&cause).unwrap_or_default();
    error["errorMessage"].as_str().map(str::to_owned).unwrap_or(cause)
}

type Execution = (ExecutionStatus, Option<String>, Option<String>, Value);

async fn execution(cloud: &Cloud, places: &Places, build: &str) -> Result<Execution> {
    let described = cloud
        .sfn
        .describe_execution()
        .execution_arn(arn(places, build))
        .send()
        .await;
    let described = described.with_context(|| format!("asking how the execution {build} is doing"))?;
    let output = described
        .output
        .as_deref()
        .map(serde_json::from_str)
        .transpose()?
        .unwrap_or_default();
    Ok((described.status, described.error, described.cause, output))
}

fn arn(places: &Places, build: &str) -> String {
    format!(
        "{}:{build}",
        places.pipeline.replacen(":stateMachine:", ":execution:", 1)
    )
}

/// The error of the last build that says how it went; fine if that one is.
pub(crate) fn judge(builds: &[Ended]) -> Result<()> {
    match builds.iter().rev().find(|ended| ended.how != How::Queued) {
        Some(Ended {
            build,
            how: How::Failed { error, cause },
        }) => bail!(
            "the build {build} failed: {error}: {cause}\n\
             Nothing of it runs any more, and what it encoded is kept for the next build. What to do: docs/runbook.md, {error}"
        ),
        _ => Ok(()),
    }
}

/// The name of the current release; none before the first.
pub(crate) async fn release(cloud: &Cloud) -> Result<Option<String>> {
    cloud.parameter(&parameters::release(&cloud.prefix)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_build_decides() {
        let ended = |how| Ended {
            build: "b-00001".to_owned(),
            how,
        };
        let failed = || {
            ended(How::Failed {
                error: "NoSources".to_owned(),
                cause: "empty".to_owned(),
            })
        };
        assert!(judge(&[failed(), ended(How::Built)]).is_ok());
        let error = judge(&[ended(How::Built), failed(), ended(How::Queued)]).unwrap_err();
        let said = error.to_string();
        for what in ["NoSources: empty", "Nothing of it runs", "docs/runbook.md, NoSources"] {
            assert!(said.contains(what), "{said}");
        }
        assert!(judge(&[]).is_ok());
    }

    #[test]
    fn the_cause_of_a_functions_error_is_its_message() {
        let json = r#"{"errorType": "NoSources", "errorMessage": "the bucket is empty"}"#;
        assert_eq!(message(json.to_owned()), "the bucket is empty");
        assert_eq!(message("the worker said so".to_owned()), "the worker said so");
    }

    #[test]
    fn an_execution_is_found_by_its_name() {
        let places = Places {
            sources_bucket: String::new(),
            state_bucket: String::new(),
            pipeline: "arn:aws:states:eu-central-1:1:stateMachine:vibes-pipeline".to_owned(),
            serve: String::new(),
        };
        assert_eq!(
            arn(&places, "b-00001"),
            "arn:aws:states:eu-central-1:1:execution:vibes-pipeline:b-00001"
        );
    }
}
