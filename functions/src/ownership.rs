//! The control object in the state bucket: reads it, changes it by conditional writes, starts the build it names.

use anyhow::{Result, bail};
use contract::control::Control;
use contract::fault::Name;
use contract::objects;
use serde_json::{Value, json};

use crate::executions::{self, Execution};
use crate::fault::named;
use crate::store::Stored;
use crate::{Aws, control, store};

/// Tries before a change is left to the state machine's retry. Each lost try means that somebody else's succeeded, and
/// hints come at most a few at a time (the queue batches them).
const TRIES: usize = 10;

/// The control object; a free one if there is none yet.
pub(crate) async fn look(aws: &Aws) -> Result<Control> {
    Ok(store::find(aws, objects::CONTROL).await?.unwrap_or_default())
}

/// Makes a transition and writes its result, again and again until nobody else was faster.
pub(crate) async fn change<T>(aws: &Aws, transition: impl Fn(&Control) -> (Control, T)) -> Result<T> {
    for _ in 0..TRIES {
        let stored: Option<Stored<Control>> = store::get(aws, objects::CONTROL).await?;
        let (control, etag) = stored.map_or((Control::default(), None), |stored| (stored.value, Some(stored.etag)));
        let (next, decided) = transition(&control);
        if next == control || store::put_if(aws, objects::CONTROL, &next, etag.as_deref()).await? {
            return Ok(decided);
        }
    }
    bail!(named(
        Name::TryAgain,
        format!("{} was changed by others {TRIES} times in a row", objects::CONTROL)
    ))
}

/// Fails with `BuildIsOver` unless the build may change things. Called before and after creating something.
pub(crate) async fn fence(aws: &Aws, build: &str) -> Result<()> {
    let control = look(aws).await?;
    if control::holds(&control, build) {
        return Ok(());
    }
    let why = match &control.owner {
        Some(owner) if owner == build => "its clean-up has begun".to_owned(),
        Some(owner) => format!("{owner} holds control"),
        None => "control is free".to_owned(),
    };
    bail!(named(
        Name::BuildIsOver,
        format!("{build} may not change anything any more: {why}")
    ))
}

/// Starts the build that control is reserved for.
pub(crate) async fn start(aws: &Aws, build: &str, input: &Value) -> Result<()> {
    executions::start(aws, &aws.settings.pipeline_arn, build, input).await
}

/// Starts the build that control is reserved for if it has no execution yet. True if it had none.
pub(crate) async fn start_if_absent(aws: &Aws, build: &str, input: &Value) -> Result<bool> {
    let absent = executions::look(aws, &aws.settings.pipeline_arn, build).await? == Execution::Absent;
    if absent {
        start(aws, build, input).await?;
    }
    Ok(absent)
}

/// The input of a build that follows a hint: what came may still be coming.
pub(crate) fn after_a_hint() -> Value {
    json!({"settle": true})
}
