//! Executions of the state machines: whether one runs, and starting one by name.

use anyhow::{Context, Result};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::Value;

use crate::Aws;
use crate::fault::{Meaning, Refusal, unless_absent};
use crate::settings::Settings;

/// A state machine that the control protocol starts executions of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Machine {
    /// Builds.
    Pipeline,
    /// Ends a build that has not ended itself.
    Cleanup,
}

impl Machine {
    pub(crate) fn arn(self, settings: &Settings) -> &str {
        match self {
            Machine::Pipeline => &settings.pipeline_arn,
            Machine::Cleanup => &settings.cleanup_arn,
        }
    }
}

/// What is known of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Execution {
    /// There is none of this name.
    Absent,
    /// It goes on.
    Running,
    /// It has ended, at this time (seconds since 1970).
    Over(i64),
}

/// Looks at the execution of this name of this state machine.
pub(crate) async fn look(aws: &Aws, machine: &str, name: &str) -> Result<Execution> {
    let request = aws
        .sfn
        .describe_execution()
        .execution_arn(arn(machine, name))
        .send()
        .await;
    let found =
        unless_absent(request.map_err(Refusal::from)).with_context(|| format!("looking at execution {name}"))?;
    Ok(match found {
        None => Execution::Absent,
        Some(found) if *found.status() == ExecutionStatus::Running => Execution::Running,
        Some(found) => Execution::Over(found.stop_date().map_or(0, aws_smithy_types::DateTime::secs)),
    })
}

/// Starts the execution of this name. False if there is one already: this very one, asked for again, or a person's.
pub(crate) async fn start(aws: &Aws, machine: &str, name: &str, input: &Value) -> Result<bool> {
    let request = aws
        .sfn
        .start_execution()
        .state_machine_arn(machine)
        .name(name)
        .input(input.to_string());
    match request.send().await.map_err(Refusal::from) {
        Ok(_) => tracing::info!(execution = name, machine, "started"),
        Err(refusal) if refusal.meaning == Meaning::Conflict => return Ok(false),
        Err(refusal) => return Err(refusal).with_context(|| format!("starting execution {name} of {machine}")),
    }
    Ok(true)
}

/// Stops the execution of this name. One that is over is stopped.
pub(crate) async fn stop(aws: &Aws, machine: &str, name: &str, why: &str) -> Result<()> {
    tracing::info!(execution = name, machine, why, "stopping");
    let request = aws.sfn.stop_execution().execution_arn(arn(machine, name)).cause(why);
    unless_absent(request.send().await.map_err(Refusal::from)).with_context(|| format!("stopping execution {name}"))?;
    Ok(())
}

/// Names of the executions of this state machine that go on.
pub(crate) async fn running(aws: &Aws, machine: &str) -> Result<Vec<String>> {
    let request = aws
        .sfn
        .list_executions()
        .state_machine_arn(machine)
        .status_filter(ExecutionStatus::Running);
    let items = request.into_paginator().items().send().try_collect().await;
    let items = items
        .map_err(Refusal::from)
        .with_context(|| format!("listing executions of {machine}"))?;
    Ok(items.into_iter().map(|item| item.name).collect())
}

/// The ARN of an execution: as the machine's, with another kind and one more part.
fn arn(machine: &str, name: &str) -> String {
    format!("{}:{name}", machine.replacen(":stateMachine:", ":execution:", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_has_its_machines_arn_and_its_name() {
        assert_eq!(
            arn(
                "arn:aws:states:eu-central-1:123456789012:stateMachine:vibes-pipeline",
                "b-00001"
            ),
            "arn:aws:states:eu-central-1:123456789012:execution:vibes-pipeline:b-00001"
        );
    }
}
