//! The last net: finds what belongs to no running build, and restarts what was cut off.

use anyhow::Result;
use contract::steps::SweepOutput;
use serde::Deserialize;
use serde_json::json;

use crate::executions::{Execution, Machine};
use crate::fault::Fault;
use crate::leftovers;
use crate::ownership::World;
use crate::settings::Settings;
use crate::{Aws, ownership, serve, times};

/// What the schedule's event says that matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct Tick {
    /// Now, RFC 3339.
    pub time: String,
}

/// Sweeps once.
pub async fn handle(aws: &Aws, tick: Tick) -> Result<SweepOutput, Fault> {
    let mut output = SweepOutput::default();
    if ownership::look(aws).await?.shut {
        return Ok(output);
    }
    // What cannot be done keeps nothing else from being done.
    let restarted = restart(aws, &aws.settings, &tick.time).await;
    let swept = leftovers::sweep(aws, &tick.time, &mut output).await;
    let woken = serve::wake(aws, &tick.time).await;
    swept?;
    output.started.extend(restarted?);
    output.started.extend(woken?);
    Ok(output)
}

/// Starts the build that control is reserved for if it never began, and the clean-up of one that has ended without it:
/// that clean-up frees control. Gives the execution that it started.
pub(crate) async fn restart(world: &impl World, settings: &Settings, now: &str) -> Result<Option<String>> {
    let control = ownership::look(world).await?;
    let Some(owner) = control.owner else {
        return Ok(None);
    };
    match world.execution(Machine::Pipeline, &owner).await? {
        Execution::Running => {
            if runs_too_long(settings, control.since.as_deref(), now)? {
                // An alarm looks for these words, see cfn/watch.yaml.
                tracing::warn!(build = owner, "runs longer than all its attempts may take");
            }
            Ok(None)
        }
        Execution::Absent => {
            ownership::start(world, &owner, &ownership::after_a_hint()).await?;
            Ok(Some(owner))
        }
        // EventBridge starts the clean-up of what failed; a while later it is certain that it did not, or gave up.
        Execution::Over(ended) if times::seconds(now)? - ended < i64::from(settings.grace_seconds) => Ok(None),
        Execution::Over(_) if world.cleans_up().await? => Ok(None),
        Execution::Over(_) => {
            let name = cleanup_name(&owner, now)?;
            let input = json!({"build": owner});
            world.start(Machine::Cleanup, &name, &input).await?;
            Ok(Some(name))
        }
    }
}

/// The instances of a build end themselves after the longest run; what goes on beyond that for every attempt is stuck.
fn runs_too_long(settings: &Settings, since: Option<&str>, now: &str) -> Result<bool> {
    let Some(since) = since else { return Ok(false) };
    let longest = 60 * i64::from(settings.max_run_minutes) * i64::from(settings.max_attempts);
    Ok(times::seconds(now)? - times::seconds(since)? > longest)
}

/// A name that is the same for one sweep and another for the next, and not longer than a name may be (80 characters).
fn cleanup_name(build: &str, now: &str) -> Result<String> {
    let build: String = build.chars().take(60).collect();
    Ok(format!("{build}-{}", times::compact(now)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_may_run_as_long_as_all_its_attempts() {
        let settings = Settings::read(crate::settings::tests::variable).unwrap();
        let too_long = |now| runs_too_long(&settings, Some("2026-11-21T03:00:00Z"), now).unwrap();
        // 20 attempts of 20 minutes.
        assert!(!too_long("2026-11-21T09:40:00Z"));
        assert!(too_long("2026-11-21T09:40:01Z"));
        assert!(!runs_too_long(&settings, None, "2026-11-21T09:40:01Z").unwrap());
    }

    #[test]
    fn a_clean_up_has_its_builds_name_and_the_sweeps_time() {
        let now = "2026-11-21T03:00:00Z";
        assert_eq!(cleanup_name("b-00042", now).unwrap(), "b-00042-20261121T030000");
        assert_eq!(cleanup_name(&"x".repeat(80), now).unwrap().len(), 76);
    }
}
