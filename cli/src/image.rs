//! What a twin's image is: the programs that were built here. In AWS an image build says so.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use contract::image::Image;
use contract::job::Role;
use contract::parameters;

use crate::cloud::Cloud;

/// The image id that a twin knows.
const TWIN_IMAGE: &str = "ami-twin-1";

/// Says of every role that its image is the one of the twin, and what the agent says that it is made of.
pub(crate) async fn describe_twin(cloud: &Cloud, programs: &Path) -> Result<()> {
    let agent = programs.join("vibes-agent");
    let output = tokio::process::Command::new(&agent)
        .arg("image")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {}: build it: cargo build --workspace", agent.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} image: {}", agent.display(), said.trim());
    let image: Image = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} image does not print an image", agent.display()))?;
    let image = serde_json::to_string(&image)?;
    for role in [Role::Worker, Role::Volmgr, Role::Server] {
        put(cloud, &parameters::ami(&cloud.prefix, role), TWIN_IMAGE).await?;
        put(cloud, &parameters::image(&cloud.prefix, role), &image).await?;
    }
    Ok(())
}

async fn put(cloud: &Cloud, name: &str, value: &str) -> Result<()> {
    if cloud.parameter(name).await?.as_deref() == Some(value) {
        return Ok(());
    }
    let put = cloud.ssm.put_parameter().name(name).value(value).overwrite(true);
    put.r#type(aws_sdk_ssm::types::ParameterType::String)
        .send()
        .await
        .with_context(|| format!("writing the parameter {name}"))
        .map(drop)
}
