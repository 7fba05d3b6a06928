//! Ends an installation whose stack is being deleted: nothing starts any more, everything of it ends, its data stays.
//!
//! CloudFormation asks for it by the custom resource `Teardown`, before it deletes anything that this needs. The teardown
//! machine then takes steps until nothing is left, and has CloudFormation answered, also when it fails: a deletion that
//! nobody answers hangs for an hour.

mod kept;
mod request;

use contract::fault::Name;
use contract::steps::{StepFailure, TeardownInput, TeardownOutput};
use serde_json::Value;

use self::request::Request;
use crate::cleanup::{self, Step};
use crate::fault::{Fault, named};
use crate::tagging::{Tags, held};
use crate::{Aws, adapter, control, executions, instances, ownership, prune, times};

/// A step after which CloudFormation is told that it did not work: it waits for an hour, of which the last step and its
/// tries need some.
const PATIENCE_SECONDS: i64 = 45 * 60;

/// What was begun before control was shut has come to an end after this time: no function that makes something may run
/// for longer than 60 s. Only then is what is looked for all that there is, and only then may their roles go.
const OVERDUE_SECONDS: u32 = 75;

/// Takes CloudFormation's request, or a step of the machine that it leads to.
pub async fn handle(aws: &Aws, event: Value) -> Result<TeardownOutput, Fault> {
    if event.get("RequestType").is_some() {
        return asked(aws, event).await;
    }
    match adapter::parse(event)? {
        TeardownInput::Step { started, now, round } => step(aws, &started, &now, round).await,
        TeardownInput::Answer { request, failure } => {
            let request: Request = adapter::parse(request)?;
            request.answer(failure.as_ref()).await?;
            Ok(TeardownOutput::default())
        }
    }
}

/// A deletion is begun, and answered later by the machine. Whatever else is asked, the stack is there: it may work.
async fn asked(aws: &Aws, event: Value) -> Result<TeardownOutput, Fault> {
    let request: Request = adapter::parse(event.clone())?;
    let done = if request.is_deletion() {
        match executions::start(aws, request.machine(), request.execution(), &event).await {
            Ok(_) => return Ok(TeardownOutput::default()),
            Err(error) => Err(error),
        }
    } else {
        ownership::change(aws, control::reopen).await
    };
    let failure = done.err().map(|error| failure(&error.into()));
    request.answer(failure.as_ref()).await?;
    Ok(TeardownOutput::default())
}

fn failure(fault: &Fault) -> StepFailure {
    StepFailure {
        error: fault.name.as_str().to_owned(),
        cause: fault.to_string(),
    }
}

/// One bounded step: shuts control, stops what runs, ends what can be ended now, and keeps the rest when nothing remains.
async fn step(aws: &Aws, started: &str, now: &str, round: u32) -> Result<TeardownOutput, Fault> {
    // Before anything is looked for: whoever asks from now on starts nothing, and undoes what it made meanwhile.
    ownership::change(aws, control::shut).await?;
    let mut step = Step::default();
    step.removed.extend(stop(aws).await?);
    let everything = Tags::stack(aws);
    cleanup::end_instances(aws, &everything, None, times::seconds(now)?, &mut step).await?;
    nothing_is_held(aws, &everything).await?;
    if step.remaining.is_empty() {
        // Without a plan: unpublished work is not kept, since it can be made again from the sources.
        cleanup::end_volumes(aws, &everything, None, &mut step).await?;
    }
    if round == 0 {
        step.remaining.push("what was begun before".to_owned());
    }
    if step.remaining.is_empty() {
        step.removed.extend(prune::unneeded_snapshots_of_all(aws).await?);
        kept::keep(aws, now).await?;
    } else if times::seconds(now)? - times::seconds(started)? > PATIENCE_SECONDS {
        let message = format!(
            "there is still {}: look at it in EC2, then delete the stack again",
            step.remaining.join(", ")
        );
        return Err(named(Name::CleanupStuck, message));
    }
    tracing::info!(remaining = ?step.remaining, removed = ?step.removed, "a step of the teardown");
    Ok(TeardownOutput {
        remaining: u32::try_from(step.remaining.len()).unwrap_or(u32::MAX),
        round: round + 1,
        wait_seconds: match round {
            0 => OVERDUE_SECONDS,
            _ => aws.settings.wait_seconds.max(1),
        },
        removed: step.removed,
    })
}

/// Stops every execution that goes on, and gives their names. The teardown's own machine is not among them.
async fn stop(aws: &Aws) -> Result<Vec<String>, Fault> {
    let settings = &aws.settings;
    let mut stopped = Vec::new();
    for machine in [&settings.pipeline_arn, &settings.cleanup_arn, &settings.serve_arn] {
        for name in executions::running(aws, machine).await? {
            executions::stop(aws, machine, &name, "the stack is being deleted").await?;
            stopped.push(name);
        }
    }
    Ok(stopped)
}

/// An instance that a person holds would stay, and with it what its network and its role hang on.
async fn nothing_is_held(aws: &Aws, tags: &Tags) -> Result<(), Fault> {
    let found = instances::find(aws, tags).await?;
    let ids = found
        .iter()
        .filter(|instance| held(instance.tags()) && !instances::terminated(instance));
    let ids: Vec<&str> = ids.map(instances::id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} held by the tag {}: remove the tag, then delete the stack again",
        ids.join(", "),
        contract::tags::HOLD
    );
    Err(named(Name::CleanupStuck, message))
}
