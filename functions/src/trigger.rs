//! Turns a hint (an upload, the nightly schedule) into a build, or into a wish for after the one that runs.

use anyhow::Result;
use aws_lambda_events::sqs::SqsEvent;
use contract::steps::TriggerOutput;
use serde_json::{Value, json};

use crate::control::{self, Hinted};
use crate::fault::Fault;
use crate::ownership::World;
use crate::{Aws, adapter, ownership, times};

/// Takes a batch of the queue, or any other event. What it says does not matter: the bucket's listing is the truth.
pub async fn handle(aws: &Aws, event: Value) -> Result<TriggerOutput, Fault> {
    let hint = Hint::of(event)?;
    let input = if hint.from_upload {
        ownership::after_a_hint()
    } else {
        json!({})
    };
    Ok(hinted(aws, hint.time.as_deref(), &input).await?)
}

/// Sees to it that a build with this input follows, or that the running one leaves the wish to the next.
pub(crate) async fn hinted(world: &impl World, time: Option<&str>, input: &Value) -> Result<TriggerOutput> {
    let hinted = ownership::change(world, |control| control::hint(control, time)).await?;
    Ok(match hinted {
        Hinted::Reserved(build) => {
            ownership::start(world, &build, input).await?;
            TriggerOutput {
                started: Some(build),
                pending: false,
            }
        }
        Hinted::Shut => TriggerOutput {
            started: None,
            pending: false,
        },
        Hinted::Noted(owner) => {
            let started = ownership::start_if_absent(world, &owner, input).await?;
            TriggerOutput {
                started: started.then_some(owner),
                pending: true,
            }
        }
    })
}

/// What an event says about when to build.
#[derive(Debug, PartialEq, Eq)]
struct Hint {
    /// More may be coming.
    from_upload: bool,
    /// When it happened, RFC 3339; none if the event does not say.
    time: Option<String>,
}

impl Hint {
    fn of(event: Value) -> Result<Hint, Fault> {
        // A person may send anything, and what is kept of it is a moment.
        let time = |event: &Value| {
            let time = event["time"].as_str()?;
            times::seconds(time).is_ok().then(|| time.to_owned())
        };
        if event.get("Records").is_none() {
            return Ok(Hint {
                from_upload: false,
                time: time(&event),
            });
        }
        let batch: SqsEvent = adapter::parse(event)?;
        let bodies = batch.records.iter().filter_map(|record| record.body.as_deref());
        let times = bodies.filter_map(|body| time(&serde_json::from_str(body).ok()?));
        Ok(Hint {
            from_upload: true,
            time: times.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_an_upload_as_new_as_its_newest_event() {
        let body = |time: &str| json!({"source": "aws.s3", "time": time}).to_string();
        let record = |body: String| json!({"eventSource": "aws:sqs", "body": body});
        let event = json!({"Records": [record(body("2026-11-21T03:00:02Z")), record(body("2026-11-21T03:00:01Z"))]});
        let hint = Hint::of(event).unwrap();
        assert_eq!(
            hint,
            Hint {
                from_upload: true,
                time: Some("2026-11-21T03:00:02Z".to_owned())
            }
        );
    }

    #[test]
    fn a_record_that_is_not_understood_is_still_a_hint() {
        let event = json!({"Records": [{"eventSource": "aws:sqs", "body": "hello"}]});
        assert_eq!(
            Hint::of(event).unwrap(),
            Hint {
                from_upload: true,
                time: None
            }
        );
    }

    #[test]
    fn what_is_no_moment_is_no_time() {
        assert_eq!(Hint::of(json!({"time": "noon"})).unwrap().time, None);
    }

    #[test]
    fn the_schedule_does_not_wait_for_an_upload() {
        assert_eq!(
            Hint::of(json!({"schedule": "nightly"})).unwrap(),
            Hint {
                from_upload: false,
                time: None
            }
        );
    }
}
