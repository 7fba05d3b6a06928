//! CloudFormation stacks, by way of the AWS command line program.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cloud::Cloud;

/// A stack as CloudFormation describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Stack {
    /// Its name.
    pub(crate) stack_name: String,
    /// Its id: another one after a deletion.
    pub(crate) stack_id: String,
    /// Where it stands.
    pub(crate) stack_status: String,
    /// When it was created.
    pub(crate) creation_time: String,
    /// When it was last changed; none if it never was.
    pub(crate) last_updated_time: Option<String>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    output_key: String,
    output_value: String,
}

impl Stack {
    /// The value of an output.
    pub(crate) fn output(&self, key: &str) -> Result<String> {
        let output = self.outputs.iter().find(|output| output.output_key == key);
        let output = output.with_context(|| format!("the stack {} has no output {key}", self.stack_name))?;
        Ok(output.output_value.clone())
    }

    /// It is whole and nothing is going on.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(
            self.stack_status.as_str(),
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE"
        )
    }
}

/// Where the things of an installation are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Bucket of the collection.
    pub(crate) sources_bucket: String,
    /// Bucket of what the builds remember.
    pub(crate) state_bucket: String,
    /// The pipeline's state machine.
    pub(crate) pipeline: String,
}

impl Places {
    /// The places that the main stack names.
    pub(crate) fn of(main: &Stack) -> Result<Self> {
        Ok(Self {
            sources_bucket: main.output("SourcesBucket")?,
            state_bucket: main.output("StateBucket")?,
            pipeline: main.output("PipelineArn")?,
        })
    }
}

/// The places of an installation that is deployed.
pub(crate) async fn places(cloud: &Cloud) -> Result<Places> {
    let stacks = list(cloud).await?;
    let main = stacks.get(&cloud.stack).with_context(|| {
        format!(
            "no stack {} in {}: deploy it first (vibes deploy)",
            cloud.stack, cloud.region
        )
    })?;
    Places::of(main)
}

/// All stacks there are, by name.
pub(crate) async fn list(cloud: &Cloud) -> Result<BTreeMap<String, Stack>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        stacks: Vec<Stack>,
    }
    let answer = cloud
        .aws(&["cloudformation", "describe-stacks", "--output", "json"])
        .await?;
    let answer: Answer = serde_json::from_slice(&answer).context("reading the list of stacks")?;
    let alive = answer
        .stacks
        .into_iter()
        .filter(|stack| stack.stack_status != "DELETE_COMPLETE");
    Ok(alive.map(|stack| (stack.stack_name.clone(), stack)).collect())
}

/// Creates or updates a stack and waits until it is whole. The error has CloudFormation's reasons.
pub(crate) async fn deploy(
    cloud: &Cloud,
    name: &str,
    template: &Path,
    parameters: &BTreeMap<String, String>,
) -> Result<()> {
    let template = template
        .to_str()
        .with_context(|| format!("{} is not UTF-8", template.display()))?;
    let parameters: Vec<_> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let tag = format!("vibes:stack={}", cloud.stack);
    let mut arguments = vec![
        "cloudformation",
        "deploy",
        "--stack-name",
        name,
        "--template-file",
        template,
    ];
    arguments.extend(["--capabilities", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]);
    arguments.extend(["--no-fail-on-empty-changeset", "--tags", &tag]);
    if !parameters.is_empty() {
        arguments.push("--parameter-overrides");
        arguments.extend(parameters.iter().map(String::as_str));
    }
    let Err(error) = cloud.aws(&arguments).await else {
        return Ok(());
    };
    let reasons = reasons(cloud, name).await.unwrap_or_default();
    Err(error.context(format!("deploying the stack {name}{reasons}")))
}

/// What CloudFormation says of the resources that failed, newest first.
async fn reasons(cloud: &Cloud, name: &str) -> Result<String> {
    const FAILED: &str = "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]";
    let arguments = [
        "cloudformation",
        "describe-stack-events",
        "--stack-name",
        name,
        "--max-items",
        "100",
    ];
    let answer = cloud
        .aws(&[&arguments[..], &["--output", "json", "--query", FAILED]].concat())
        .await?;
    let failed: Vec<(String, Option<String>)> = serde_json::from_slice(&answer)?;
    let lines = failed
        .into_iter()
        .map(|(resource, reason)| format!("\n  {resource}: {}", reason.unwrap_or_default()));
    Ok(lines.take(10).collect())
}

/// Deletes a stack and waits until it is gone.
pub(crate) async fn delete(cloud: &Cloud, name: &str) -> Result<()> {
    cloud
        .aws(&["cloudformation", "delete-stack", "--stack-name", name])
        .await?;
    // The waiter of the command line program looks every 30 s; that is too long for a stack of one parameter.
    for _ in 0..120 {
        match list(cloud).await?.get(name) {
            None => return Ok(()),
            Some(stack) if stack.stack_status == "DELETE_FAILED" => {
                bail!("the stack {name} cannot be deleted{}", reasons(cloud, name).await?)
            }
            Some(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    bail!("the stack {name} is still being deleted: look at its events in CloudFormation")
}
