//! The last net: finds what belongs to no running build, and restarts what was cut off.

use anyhow::Result;
use contract::steps::SweepOutput;
use serde::Deserialize;
use serde_json::json;

use crate::executions::{self, Execution};
use crate::fault::Fault;
use crate::leftovers;
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
    output.started.extend(restart(aws, &tick.time).await?);
    leftovers::sweep(aws, &tick.time, &mut output).await?;
    output.started.extend(serve::wake(aws, &tick.time).await?);
    Ok(output)
}

/// Starts the build that control is reserved for if it never began, and the clean-up of one that has ended without it:
/// that clean-up frees control. Gives the execution that it started.
async fn restart(aws: &Aws, now: &str) -> Result<Option<String>> {
    let settings = &aws.settings;
    let Some(owner) = ownership::look(aws).await?.owner else {
        return Ok(None);
    };
    match executions::look(aws, &settings.pipeline_arn, &owner).await? {
        Execution::Running => Ok(None),
        Execution::Absent => {
            ownership::start(aws, &owner, &ownership::after_a_hint()).await?;
            Ok(Some(owner))
        }
        // EventBridge starts the clean-up of what failed; a while later it is certain that it did not, or gave up.
        Execution::Over(ended) if times::seconds(now)? - ended < i64::from(settings.grace_seconds) => Ok(None),
        Execution::Over(_) if !executions::running(aws, &settings.cleanup_arn).await?.is_empty() => Ok(None),
        Execution::Over(_) => {
            let name = cleanup_name(&owner, now)?;
            executions::start(aws, &settings.cleanup_arn, &name, &json!({"build": owner})).await?;
            Ok(Some(name))
        }
    }
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
    fn a_clean_up_has_its_builds_name_and_the_sweeps_time() {
        let now = "2026-11-21T03:00:00Z";
        assert_eq!(cleanup_name("b-00042", now).unwrap(), "b-00042-20261121T030000");
        assert_eq!(cleanup_name(&"x".repeat(80), now).unwrap().len(), 76);
    }
}
