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
        _ if control.shut => "the stack is being deleted".to_owned(),
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
///
/// If there is an execution of that name, a person may have started it with an input that was refused: then the wish is
/// left for after it, and if it is over, its clean-up is what hands control on.
pub(crate) async fn start(aws: &Aws, build: &str, input: &Value) -> Result<()> {
    let settings = &aws.settings;
    if executions::start(aws, &settings.pipeline_arn, build, input).await? {
        return Ok(());
    }
    change(aws, |control| (control::queue(control, build), ())).await?;
    if let Execution::Over(_) = executions::look(aws, &settings.pipeline_arn, build).await? {
        executions::start(aws, &settings.cleanup_arn, build, &json!({"build": build})).await?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use aws_sdk_s3::Client;
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
    use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
    use aws_smithy_mocks::{Rule, mock};

    use super::*;
    use crate::control::Hinted;
    use crate::fault::Fault;
    use crate::testing;

    fn absent() -> Rule {
        mock!(Client::get_object)
            .then_error(|| GetObjectError::generic(ErrorMetadata::builder().code("NoSuchKey").build()))
    }

    fn owned_by(owner: &'static str) -> Rule {
        mock!(Client::get_object).then_output(move || {
            let control = Control {
                owner: Some(owner.to_owned()),
                seq: 1,
                ..Control::default()
            };
            let body = serde_json::to_vec(&control).unwrap();
            GetObjectOutput::builder().e_tag("\"first\"").body(body.into()).build()
        })
    }

    #[tokio::test]
    async fn who_is_slower_looks_again() {
        let lost = mock!(Client::put_object)
            .match_requests(|request| request.if_none_match() == Some("*"))
            .then_error(|| PutObjectError::generic(ErrorMetadata::builder().code("PreconditionFailed").build()));
        let won = mock!(Client::put_object)
            .match_requests(|request| request.if_match() == Some("\"first\""))
            .then_output(|| PutObjectOutput::builder().build());
        let rules = [absent(), lost, owned_by("b-00001"), won];
        let aws = testing::aws(&[], &rules.each_ref());
        let hinted = change(&aws, |control| control::hint(control, None)).await.unwrap();
        assert_eq!(hinted, Hinted::Noted("b-00001".to_owned()));
        assert_eq!(rules[3].num_calls(), 1);
    }

    #[tokio::test]
    async fn the_fence_stops_who_is_not_the_owner() {
        let rule = owned_by("b-00002");
        let fault = Fault::from(fence(&testing::aws(&[], &[&rule]), "b-00001").await.unwrap_err());
        assert_eq!(fault.name, Name::BuildIsOver);
        assert!(fault.to_string().contains("b-00002 holds control"));
    }
}
