//! Has a release served: the current one, or an older one in its place.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::json;

use crate::arguments::Serve;
use crate::cloud::Cloud;
use crate::pull::Served;
use crate::stacks::Places;
use crate::{follow, pull};

/// How often to look whether the wish is taken.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Wishes for the release by its name, and waits until it is served. A wish that is refused is an error that says why.
pub(crate) async fn serve(cloud: &Cloud, places: &Places, options: &Serve) -> Result<Served> {
    let current = follow::release(cloud)
        .await?
        .context("there is no release yet: upload something first")?;
    let release = options.release.clone().unwrap_or(current);
    let wish = json!({"release": release, "up": true}).to_string();
    let start = cloud.sfn.start_execution().state_machine_arn(&places.serve);
    let execution = start.input(wish).send().await.context("starting the serve machine")?;
    while pull::wished_for(cloud, places).await?.as_ref() != Some(&release)
        && !is_over(cloud, &execution.execution_arn).await?
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let served = pull::served(cloud, places, Duration::from_secs(options.patience)).await?;
    ensure!(
        served.release == release,
        "{} is served: it was wished for or published meanwhile; wish again",
        served.release
    );
    Ok(served)
}

/// The execution has ended. One that has ended badly is an error: its cause.
async fn is_over(cloud: &Cloud, execution: &str) -> Result<bool> {
    let found = cloud.sfn.describe_execution().execution_arn(execution).send().await;
    let found = found.with_context(|| format!("looking at {execution}"))?;
    match found.status() {
        ExecutionStatus::Running => Ok(false),
        ExecutionStatus::Succeeded => Ok(true),
        status => bail!(
            "{}: {}",
            found.error().unwrap_or(status.as_str()),
            found.cause().unwrap_or("no cause is given")
        ),
    }
}
