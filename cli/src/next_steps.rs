//! What an owner does after a deployment: says it with ready-made commands.

use anyhow::Result;
use contract::job::Role;
use contract::parameters;

use crate::cloud::Cloud;
use crate::retained::program;
use crate::stacks;

/// Prints what is missing, and the commands that the main stack has ready.
pub(crate) async fn print(cloud: &Cloud) -> Result<()> {
    println!("\nNext:");
    let mut missing = Vec::new();
    for role in [Role::Worker, Role::Volmgr, Role::Server] {
        let name = parameters::ami(&cloud.prefix, role);
        if cloud.parameter(&name).await?.is_none() {
            missing.push(name);
        }
    }
    if !missing.is_empty() {
        println!(
            "  Make the images. Nothing can be built without {}:",
            missing.join(", ")
        );
        println!(
            "    the CodeBuild projects {}-ami-ROLE of cfn/meta.yaml do",
            cloud.stack
        );
    }
    let below = parameters::profiles(&cloud.prefix);
    let profiles = cloud.ssm.get_parameters_by_path().path(&below).send().await?;
    if profiles.parameters().is_empty() {
        println!("  Say which formats you want, one NAME.config each (README.md):");
        println!("    make deploy PROFILES=DIRECTORY");
    }
    let main = stacks::find(cloud, &cloud.stack).await?.unwrap_or_default();
    for (key, output) in &main.outputs {
        if key.ends_with("Command") {
            println!("  {}\n    {}", output.description, output.value);
        }
    }
    let cidr = main.parameters.get("AllowedCidr").cloned().unwrap_or_default();
    println!("  {cidr} may pull. To let others: make deploy ALLOWED_CIDR=...");
    let vibes = program();
    println!("  From here: {vibes} upload DIRECTORY, {vibes} follow, {vibes} pull DIRECTORY, {vibes} status");
    Ok(())
}
