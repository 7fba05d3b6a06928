//! The control object in the state bucket: reads it, changes it by conditional writes, starts the build it names.
//!
//! What takes part in the control protocol reaches the world through [`World`] only, so that `model` can check the very
//! same code in every order of its steps.

use anyhow::{Result, bail};
use contract::control::Control;
use contract::fault::Name;
use contract::input::Input;
use contract::objects;
use contract::plan::Plan;
use serde_json::{Value, json};

use crate::control::{Hinted, Planned};
use crate::executions::{self, Execution, Machine};
use crate::fault::{Fault, named};
use crate::store::Stored;
use crate::{Aws, control, store};

/// Tries before a change is left to the state machine's retry. Each lost try means that somebody else's succeeded, and
/// hints come at most a few at a time (the queue batches them).
const TRIES: usize = 10;

/// What the control protocol reads and changes: each method is one step, between any two of which anything may happen.
pub(crate) trait World {
    /// The control object; none if it was never written.
    async fn control(&self) -> Result<Option<Stored<Control>>>;
    /// Writes the control object if it is still the one with this ETag. False if it is not.
    async fn write(&self, next: &Control, etag: Option<&str>) -> Result<bool>;
    /// The execution of this name. Step Functions may not know yet what has just happened to it.
    async fn execution(&self, machine: Machine, name: &str) -> Result<Execution>;
    /// Starts the execution of this name. False if there is one already: this very one, asked for again, or a person's.
    async fn start(&self, machine: Machine, name: &str, input: &Value) -> Result<bool>;
    /// Some clean-up machine is running.
    async fn cleans_up(&self) -> Result<bool>;
    /// What the plan of this build was asked for; none if it has no plan.
    async fn planned(&self, build: &str) -> Result<Option<Input>>;
}

impl World for Aws {
    async fn control(&self) -> Result<Option<Stored<Control>>> {
        store::get(self, objects::CONTROL).await
    }

    async fn write(&self, next: &Control, etag: Option<&str>) -> Result<bool> {
        store::put_if(self, objects::CONTROL, next, etag).await
    }

    async fn execution(&self, machine: Machine, name: &str) -> Result<Execution> {
        executions::look(self, machine.arn(&self.settings), name).await
    }

    async fn start(&self, machine: Machine, name: &str, input: &Value) -> Result<bool> {
        executions::start(self, machine.arn(&self.settings), name, input).await
    }

    async fn cleans_up(&self) -> Result<bool> {
        Ok(!executions::running(self, &self.settings.cleanup_arn).await?.is_empty())
    }

    async fn planned(&self, build: &str) -> Result<Option<Input>> {
        let plan: Option<Plan> = store::find(self, &objects::plan(build)).await?;
        Ok(plan.map(|plan| plan.input))
    }
}

/// The control object; a free one if there is none yet.
pub(crate) async fn look(world: &impl World) -> Result<Control> {
    Ok(world.control().await?.map(|stored| stored.value).unwrap_or_default())
}

/// Makes a transition and writes its result, again and again until nobody else was faster.
pub(crate) async fn change<T>(world: &impl World, transition: impl Fn(&Control) -> (Control, T)) -> Result<T> {
    for _ in 0..TRIES {
        let (control, etag) = world
            .control()
            .await?
            .map_or((Control::default(), None), |stored| (stored.value, Some(stored.etag)));
        let (next, decided) = transition(&control);
        if next == control || world.write(&next, etag.as_deref()).await? {
            return Ok(decided);
        }
    }
    bail!(named(
        Name::TryAgain,
        format!("{} was changed by others {TRIES} times in a row", objects::CONTROL)
    ))
}

/// Fails with `BuildIsOver` unless the build may change things. Called before and after creating something.
pub(crate) async fn fence(world: &impl World, build: &str) -> Result<()> {
    let control = look(world).await?;
    if control::holds(&control, build) {
        return Ok(());
    }
    bail!(over(&control, build))
}

/// The plan that took control under this number may decide on what it has listed since.
pub(crate) async fn plan(world: &impl World, build: &str, taken: u64) -> Result<()> {
    let decided = |control: &Control| {
        let (next, planned) = control::plan(control, build, taken);
        (next, (planned, control.clone()))
    };
    match change(world, decided).await? {
        (Planned::Go, _) => Ok(()),
        (Planned::Stale, _) => bail!(named(
            Name::TryAgain,
            format!("another call of the plan of {build} has taken a wish since the bucket was listed")
        )),
        (Planned::Over, control) => bail!(over(&control, build)),
    }
}

fn over(control: &Control, build: &str) -> Fault {
    let why = match &control.owner {
        _ if control.shut => "the stack is being deleted".to_owned(),
        Some(owner) if owner == build => "its clean-up has begun".to_owned(),
        Some(owner) => format!("{owner} holds control"),
        None => "control is free".to_owned(),
    };
    named(
        Name::BuildIsOver,
        format!("{build} may not change anything any more: {why}"),
    )
}

/// The fence behind what was just made for the build: what was made too late is undone.
pub(crate) async fn fence_or_undo(
    world: &impl World,
    build: &str,
    undo: impl Future<Output = Result<()>>,
) -> Result<()> {
    if let Err(over) = fence(world, build).await {
        undo.await?;
        return Err(over);
    }
    Ok(())
}

/// Starts the build that control is reserved for.
///
/// If there is an execution of that name, a person may have started it with an input that was refused: then the wish is
/// left for after it, and if it is over, its clean-up is what hands control on. If that has freed control already, the
/// wish is for the next name.
pub(crate) async fn start(world: &impl World, build: &str, input: &Value) -> Result<()> {
    let mut build = build.to_owned();
    while !world.start(Machine::Pipeline, &build, input).await? {
        if let Hinted::Reserved(next) = change(world, |control| control::hint(control, None)).await? {
            build = next;
            continue;
        }
        if let Execution::Over(_) = world.execution(Machine::Pipeline, &build).await? {
            world.start(Machine::Cleanup, &build, &json!({"build": build})).await?;
        }
        break;
    }
    Ok(())
}

/// Starts the build that control is reserved for if it has no execution yet. True if it had none.
pub(crate) async fn start_if_absent(world: &impl World, build: &str, input: &Value) -> Result<bool> {
    let absent = world.execution(Machine::Pipeline, build).await? == Execution::Absent;
    if absent {
        start(world, build, input).await?;
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
