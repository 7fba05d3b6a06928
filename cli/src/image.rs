//! What a twin's images are: this machine, or what `make image` made. In AWS an image build says so.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use contract::image::Image;
use contract::job::Role;
use contract::parameters;

use crate::cloud::Cloud;

/// The image that stands for the machine that a twin runs on.
const THIS_MACHINE: &str = "ami-twin-1";

const ROLES: [Role; 3] = [Role::Worker, Role::Volmgr, Role::Server];

/// Says of every role which image it has, and what the agent says that it is made of: this machine and its programs,
/// or the newest that `make image` left in `images`.
pub(crate) async fn describe_twin(cloud: &Cloud, programs: &Path, images: Option<&Path>) -> Result<()> {
    let described = match images {
        Some(images) => ROLES.iter().map(|&role| newest(images, role)).collect::<Result<_>>()?,
        None => vec![(THIS_MACHINE.to_owned(), ask(programs).await?); ROLES.len()],
    };
    for (role, (id, image)) in ROLES.into_iter().zip(described) {
        put(cloud, &parameters::ami(&cloud.prefix, role), &id).await?;
        put(cloud, &parameters::image(&cloud.prefix, role), &image).await?;
    }
    Ok(())
}

/// The id and the description of a role's newest image: a link says its name.
fn newest(images: &Path, role: Role) -> Result<(String, String)> {
    let link = images.join(role.as_str());
    let name = std::fs::read_link(&link).with_context(|| format!("no image {}: make image", link.display()))?;
    let description = images.join(&name).with_extension("json");
    let text = std::fs::read(&description).with_context(|| format!("reading {}", description.display()))?;
    let image = understood(&text).with_context(|| format!("{} is not understood", description.display()))?;
    Ok((format!("ami-tree-{}", name.display()), image))
}

/// What the agent says of this machine.
async fn ask(programs: &Path) -> Result<String> {
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
    understood(&output.stdout).with_context(|| format!("{} image does not print an image", agent.display()))
}

fn understood(text: &[u8]) -> Result<String> {
    let image: Image = serde_json::from_slice(text)?;
    Ok(serde_json::to_string(&image)?)
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
