//! States x stops, moments x time-outs, and instances x accidents: what happens to a build from outside, whenever it may.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use tests::world::{World, eventually};

use crate::lane::{Lane, WAIT_SCALE};
use crate::matrix::{Case, MOST_OF_ONE};

/// How long a moment is made to last, so that what shall happen in it does.
const MOMENT: f64 = 1.5;
/// At how many moments the time of an execution is tried to be over.
const TIMES: u32 = 24;
/// A build that has not come to the moment by then does not come to it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What can happen to an instance: what it is called in the table, and at the twin.
const ACCIDENTS: [(&str, &str, &str); 4] = [
    ("vanishes", "vanish", ""),
    ("hangs", "hang", ""),
    ("is interrupted after a notice", "spot-notice", r#"{"seconds": 5}"#),
    ("is interrupted at once", "spot-notice", r#"{"seconds": 0}"#),
];

/// What happens, once, in the middle of a case.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// The execution is stopped as soon as it has entered this state.
    StopIn(String),
    /// The execution is stopped while the call that the fault delays is under way.
    Stop,
    /// The execution's time is over after so many of the seconds that its state machine counts.
    TimeOut(u32),
    /// This happens to the worker while the call that the fault delays is under way: path and body of the control API.
    Worker(&'static str, &'static str),
}

impl Act {
    /// Waits for the moment and acts; false if the build ended without it.
    pub(crate) async fn happen(&self, world: &World, execution: &str) -> Result<bool> {
        let status = async || {
            let found = world.sfn.describe_execution().execution_arn(execution).send().await?;
            Ok::<_, anyhow::Error>(found.status)
        };
        let come = eventually(PATIENCE, "the moment comes", async || {
            let come = match self {
                Act::StopIn(state) => entered(world, execution).await?.contains(state),
                Act::TimeOut(_) => status().await? == ExecutionStatus::TimedOut,
                Act::Stop | Act::Worker(..) => {
                    let rules = world.twin("GET", "faults")?;
                    rules[0]["hit"] != 0
                }
            };
            Ok(match come {
                true => Some(true),
                false if status().await? == ExecutionStatus::Running => None,
                false => Some(false),
            })
        });
        if !come.await? {
            return Ok(false);
        }
        match self {
            Act::TimeOut(_) => Ok(true),
            Act::StopIn(_) | Act::Stop => {
                // It may have ended by itself a moment ago.
                Ok(world.sfn.stop_execution().execution_arn(execution).send().await.is_ok())
            }
            Act::Worker(accident, body) => {
                let inventory = world.twin("GET", "inventory")?;
                // It may have ended by itself a moment ago.
                let Some(id) = inventory["instances"][0]["id"].as_str() else {
                    return Ok(false);
                };
                let url = format!("{}/_twin/instances/{id}/{accident}", world.endpoint());
                let mut curl = world.command("curl".as_ref());
                Ok(curl.args(["-sSf", "-d", body, &url]).output()?.status.success())
            }
        }
    }
}

/// The names of the states that an execution has entered, without those inside of Maps, which the base leaves out.
async fn entered(world: &World, execution: &str) -> Result<Vec<String>> {
    let history = world
        .sfn
        .get_execution_history()
        .execution_arn(execution)
        .max_results(1000);
    let events = history.send().await?.events.into_iter();
    Ok(events
        .filter_map(|event| Some(event.state_entered_event_details?.name))
        .collect())
}

/// The cases of a build that this lane has just run undisturbed: a stop in each of its states and at each invocation of
/// a function, a time-out at moments all over it, and accidents of the worker at each of its calls.
pub(crate) async fn cases(lane: &mut Lane) -> Result<Vec<Case>> {
    let before = lane.last_call()?;
    let begin = Instant::now();
    let execution = lane.undisturbed().await?;
    let lasted = begin.elapsed();
    let calls = lane.world.calls(before)?;
    let mut cases = Vec::new();
    for nth in 1..=TIMES {
        let after = lasted * nth / TIMES;
        cases.push(Case {
            row: "the execution".to_owned(),
            column: "times out".to_owned(),
            name: format!("the execution times out at moment {nth} of {TIMES}"),
            faults: json!([]),
            act: Some(Act::TimeOut((after.as_secs_f64() / WAIT_SCALE).ceil() as u32)),
        });
    }
    for state in entered(&lane.world, &execution).await? {
        cases.push(Case {
            row: "StopExecution".to_owned(),
            column: state.clone(),
            name: format!("StopExecution in {state}"),
            faults: json!([]),
            act: Some(Act::StopIn(state)),
        });
    }
    let mut invoked: BTreeMap<&str, u32> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.caller == "base") {
        *invoked.entry(&call.resources[0]).or_default() += 1;
    }
    for (function, times) in invoked {
        for nth in 1..=times.min(MOST_OF_ONE) {
            let call = json!({"service": "lambda", "action": "Invoke", "resource": function, "nth": nth});
            cases.push(Case {
                row: "StopExecution".to_owned(),
                column: format!("at {function}"),
                name: format!("StopExecution at {function} #{nth}"),
                faults: slow(call),
                act: Some(Act::Stop),
            });
        }
    }
    let of_worker = calls.iter().filter(|call| call.caller.contains("/i-")).count();
    for nth in 1..=of_worker {
        for (column, accident, body) in ACCIDENTS {
            cases.push(Case {
                row: "the worker".to_owned(),
                column: column.to_owned(),
                name: format!("the worker {column} at its call {nth}"),
                faults: slow(json!({"caller": "*Worker*/i-*", "nth": nth})),
                act: Some(Act::Worker(accident, body)),
            });
        }
        cases.push(Case {
            row: "the worker".to_owned(),
            column: "loses S3".to_owned(),
            name: format!("the worker loses S3 from its call {nth} on"),
            faults: json!([{"caller": "*Worker*/i-*", "nth": nth, "times": 30, "kind": "before"}]),
            act: None,
        });
    }
    Ok(cases)
}

/// The rule by which a call lasts for a moment.
fn slow(mut call: Value) -> Value {
    call["kind"] = json!("delay");
    call["seconds"] = json!(MOMENT);
    call["times"] = json!(1);
    json!([call])
}
