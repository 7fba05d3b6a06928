//! States x stops, and instances x accidents: what happens to a build from outside, at every moment that it has.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tests::project;
use tests::world::{World, eventually};

use crate::lane::Lane;
use crate::matrix::Case;

/// How long a moment is made to last, so that what shall happen in it does.
const MOMENT: f64 = 1.5;
/// A build that has not come to the moment by then does not come to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens, once, in the middle of a case.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// The execution is stopped in this state.
    Stop(String),
    /// Something happens to the worker when it writes its status for this time.
    Worker {
        /// The accident.
        accident: &'static str,
        /// From 1.
        status: usize,
    },
}

impl Act {
    /// Waits for the moment and acts; false if the build ended without it. `before` is the number of the last call before the case.
    pub(crate) async fn happen(&self, world: &World, before: u64) -> Result<bool> {
        match self {
            Act::Stop(state) => stop(world, state).await,
            Act::Worker { accident, status } => accident_of_worker(world, before, accident, *status).await,
        }
    }
}

async fn stop(world: &World, state: &str) -> Result<bool> {
    let execution = world.pipeline.replace(":stateMachine:", ":execution:");
    let execution = format!("{execution}:{}", world.building().await?);
    eventually(PATIENCE, "the state is entered", async || {
        let history = world
            .sfn
            .get_execution_history()
            .execution_arn(&execution)
            .max_results(1000);
        let entered = history.send().await?.events.into_iter().any(|event| {
            let entered = event.state_entered_event_details;
            entered.is_some_and(|entered| entered.name == state)
        });
        let found = world.sfn.describe_execution().execution_arn(&execution).send().await?;
        if found.status.as_str() != "RUNNING" {
            return Ok(Some(false));
        }
        if entered {
            world.sfn.stop_execution().execution_arn(&execution).send().await?;
        }
        Ok(entered.then_some(true))
    })
    .await
}

async fn accident_of_worker(world: &World, before: u64, accident: &str, status: usize) -> Result<bool> {
    let worker = eventually(PATIENCE, "the worker writes its status", async || {
        let calls = world.calls(before)?;
        let mut written = calls.iter().filter(|call| {
            call.action == "PutObject" && call.caller.contains("/i-") && call.resources[0].ends_with("/status.json")
        });
        Ok(written.nth(status - 1).map(|call| call.caller.clone()))
    })
    .await;
    let Ok(worker) = worker else {
        return Ok(false);
    };
    let id = worker.rsplit('/').next().context("an instance")?;
    let url = |accident: &str| format!("{}/_twin/instances/{id}/{accident}", world.endpoint());
    let mut curl = world.command("curl".as_ref());
    curl.args(["-sS", "-X", "POST"]);
    match accident {
        "vanishes" => curl.arg(url("vanish")),
        "hangs" => curl.arg(url("hang")),
        "is interrupted after a notice" => curl.arg(url("spot-notice")).args(["-d", r#"{"seconds": 5}"#]),
        "is interrupted at once" => curl.arg(url("spot-notice")).args(["-d", r#"{"seconds": 0}"#]),
        other => bail!("{other} is no accident"),
    };
    // It may have ended by itself a moment before: then nothing happens to it.
    Ok(!String::from_utf8(curl.output()?.stdout)?.contains("not running"))
}

/// The cases of the pipeline's states and of the worker of a build that this lane has just run undisturbed.
pub(crate) async fn cases(lane: &mut Lane) -> Result<Vec<Case>> {
    let before = lane.last_call()?;
    lane.undisturbed().await?;
    let calls = lane.world.calls(before)?;
    let is_status = |call: &&tests::world::Call| {
        call.caller.contains("/i-") && call.action == "PutObject" && call.resources[0].ends_with("/status.json")
    };
    let written = calls.iter().filter(is_status).count();
    let mut cases = Vec::new();
    for (state, function) in states()? {
        let faults = match &function {
            Some(function) => {
                json!([{"service": "lambda", "action": "Invoke", "resource": format!("vibes-{function}"), "kind": "delay", "seconds": MOMENT, "times": 1}])
            }
            None => json!([]),
        };
        cases.push(Case {
            row: "StopExecution".to_owned(),
            column: state.clone(),
            name: format!("StopExecution in {state}"),
            faults,
            act: Some(Act::Stop(state)),
        });
    }
    for status in 1..=written {
        for accident in [
            "vanishes",
            "hangs",
            "is interrupted after a notice",
            "is interrupted at once",
        ] {
            let slow = json!([{"caller": "*Worker*/i-*", "action": "PutObject", "resource": "*/status.json", "nth": status, "kind": "delay", "seconds": MOMENT, "times": 1}]);
            cases.push(Case {
                row: "the worker".to_owned(),
                column: accident.to_owned(),
                name: format!("the worker {accident} at status {status}"),
                faults: slow,
                act: Some(Act::Worker { accident, status }),
            });
        }
    }
    for nth in [1, 4, 8, 12] {
        cases.push(Case {
            row: "the worker".to_owned(),
            column: "loses S3".to_owned(),
            name: format!("the worker loses S3 from its call {nth} on"),
            faults: json!([{"caller": "*Worker*/i-*", "service": "s3", "nth": nth, "times": 30, "kind": "before"}]),
            act: None,
        });
    }
    Ok(cases)
}

/// All states of the pipeline, those inside Maps too, with the function that each invokes.
fn states() -> Result<Vec<(String, Option<String>)>> {
    let path = project::path("statemachines/pipeline.asl.json");
    let machine: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut found = Vec::new();
    collect(&machine["States"], &mut found);
    Ok(found)
}

fn collect(states: &Value, found: &mut Vec<(String, Option<String>)>) {
    for (name, state) in states.as_object().into_iter().flatten() {
        let placeholder = state["Parameters"]["FunctionName"].as_str();
        found.push((name.clone(), placeholder.map(function)));
        collect(&state["ItemProcessor"]["States"], found);
    }
}

/// `${LaunchWorkerArn}` is `launch-worker`.
fn function(placeholder: &str) -> String {
    let name = placeholder.trim_start_matches("${").trim_end_matches("Arn}");
    let mut function = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !function.is_empty() {
            function.push('-');
        }
        function.push(char.to_ascii_lowercase());
    }
    function
}
