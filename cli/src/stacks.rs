//! CloudFormation stacks: which there are, how one becomes what it shall be, and why one did not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types;
use contract::tags;

use crate::cloud::{Cloud, plain};
use crate::units;

/// What takes longer says every so often that it goes on.
const PATIENCE: Duration = Duration::from_secs(20);

/// CloudFormation begins what it has accepted within this time.
const BEGINS: Duration = Duration::from_secs(60);

/// Resources of which is said that they are waited for.
const LISTED: usize = 4;

/// A stack as CloudFormation describes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stack {
    /// Its name.
    pub(crate) name: String,
    /// Its id: another one after a deletion.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) status: String,
    /// When its last operation began.
    pub(crate) changed: String,
    /// The installation that it belongs to, if any.
    pub(crate) installation: Option<String>,
    /// Parameters as they were last given.
    pub(crate) parameters: BTreeMap<String, String>,
    /// What it says about what it made.
    pub(crate) outputs: BTreeMap<String, Output>,
}

/// One thing that a stack says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Output {
    /// It.
    pub(crate) value: String,
    /// What it is.
    pub(crate) description: String,
}

impl Stack {
    fn of(stack: types::Stack) -> Result<Self> {
        let text = |text: Option<String>| text.unwrap_or_default();
        let changed = stack.deletion_time.or(stack.last_updated_time).or(stack.creation_time);
        let tag = |tag: types::Tag| (tag.key.as_deref() == Some(tags::STACK)).then_some(tag.value?);
        Ok(Self {
            name: stack.stack_name.context("a stack without a name")?,
            id: text(stack.stack_id),
            status: stack
                .stack_status
                .context("a stack without a status")?
                .as_str()
                .to_owned(),
            changed: changed.map(|time| time.to_string()).unwrap_or_default(),
            installation: stack.tags.into_iter().flatten().find_map(tag),
            parameters: stack
                .parameters
                .into_iter()
                .flatten()
                .map(|parameter| (text(parameter.parameter_key), text(parameter.parameter_value)))
                .collect(),
            outputs: stack
                .outputs
                .into_iter()
                .flatten()
                .map(|output| {
                    let (value, description) = (text(output.output_value), text(output.description));
                    (text(output.output_key), Output { value, description })
                })
                .collect(),
        })
    }

    /// The value of an output.
    pub(crate) fn output(&self, key: &str) -> Result<String> {
        let output = self.outputs.get(key);
        let value = output.map(|output| output.value.clone());
        value.with_context(|| format!("the stack {} has no output {key}", self.name))
    }

    /// It is whole and nothing is going on.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(
            self.status.as_str(),
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE"
        )
    }

    /// Something is going on.
    pub(crate) fn is_busy(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && !self.is_shell()
    }

    /// It is what is left of a creation that failed: CloudFormation can only delete it.
    pub(crate) fn is_stillborn(&self) -> bool {
        matches!(
            self.status.as_str(),
            "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED"
        )
    }

    /// It holds nothing but a change set that nobody has executed.
    pub(crate) fn is_shell(&self) -> bool {
        self.status == "REVIEW_IN_PROGRESS"
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
    /// The serve state machine.
    pub(crate) serve: String,
}

impl Places {
    /// The places that the main stack names.
    pub(crate) fn of(main: &Stack) -> Result<Self> {
        Ok(Self {
            sources_bucket: main.output("SourcesBucket")?,
            state_bucket: main.output("StateBucket")?,
            pipeline: main.output("PipelineArn")?,
            serve: main.output("ServeArn")?,
        })
    }
}

/// The places of an installation that is deployed.
pub(crate) async fn places(cloud: &Cloud) -> Result<Places> {
    let main = find(cloud, &cloud.stack).await?.with_context(|| {
        format!(
            "no stack {} in {}: deploy it first (vibes deploy)",
            cloud.stack, cloud.region
        )
    })?;
    Places::of(&main)
}

/// All stacks there are, by name.
pub(crate) async fn list(cloud: &Cloud) -> Result<BTreeMap<String, Stack>> {
    let mut pages = cloud.cfn.describe_stacks().into_paginator().items().send();
    let mut stacks = BTreeMap::new();
    while let Some(stack) = pages.next().await {
        let stack = Stack::of(stack.context("listing the stacks")?)?;
        stacks.insert(stack.name.clone(), stack);
    }
    Ok(stacks)
}

/// A stack by name or id; none if there is none, or only a deleted one.
pub(crate) async fn find(cloud: &Cloud, name: &str) -> Result<Option<Stack>> {
    let stacks = match cloud.cfn.describe_stacks().stack_name(name).send().await {
        // There is no code for a stack that is not there.
        Err(error)
            if error
                .message()
                .is_some_and(|message| message.ends_with("does not exist")) =>
        {
            return Ok(None);
        }
        stacks => stacks
            .map_err(plain)
            .with_context(|| format!("looking for the stack {name}"))?,
    };
    let stack = stacks.stacks.unwrap_or_default().into_iter().next();
    Ok(stack
        .map(Stack::of)
        .transpose()?
        .filter(|stack| stack.status != "DELETE_COMPLETE"))
}

/// Deletes a stack and waits until it is gone. `step` is said with what takes long.
pub(crate) async fn delete(cloud: &Cloud, step: &str, stack: &Stack) -> Result<()> {
    let delete = cloud.cfn.delete_stack().stack_name(&stack.id);
    delete
        .send()
        .await
        .map_err(plain)
        .with_context(|| format!("deleting the stack {}", stack.name))?;
    match settle(cloud, step, stack).await? {
        None => Ok(()),
        Some(left) => {
            let reasons = reasons(cloud, &left.id).await;
            bail!("the stack {} is not deleted ({}){reasons}", left.name, left.status)
        }
    }
}

/// Waits until nothing goes on in a stack that was asked to change from what it was; none if it is gone then.
pub(crate) async fn settle(cloud: &Cloud, step: &str, was: &Stack) -> Result<Option<Stack>> {
    let begin = Instant::now();
    let mut said = begin;
    let mut pause = Duration::from_millis(100);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(3));
        let Some(stack) = find(cloud, &was.id).await? else {
            return Ok(None);
        };
        // What was asked for may not have begun yet; or it is over already, and the stack is as it was.
        let begun = stack.status != was.status || stack.changed != was.changed || begin.elapsed() > BEGINS;
        if begun && !stack.is_busy() && !stack.is_shell() {
            return Ok(Some(stack));
        }
        if begun && said.elapsed() > PATIENCE {
            said = Instant::now();
            let waits = under_way(cloud, &was.id).await?;
            println!(
                "{step}: {}: {} for {}{waits}",
                was.name,
                stack.status,
                units::time(begin.elapsed())
            );
        }
    }
}

/// What a stack waits for, as the end of a line.
async fn under_way(cloud: &Cloud, id: &str) -> Result<String> {
    let mut pages = cloud
        .cfn
        .list_stack_resources()
        .stack_name(id)
        .into_paginator()
        .items()
        .send();
    let mut names = Vec::new();
    while let Some(resource) = pages.next().await {
        let resource = resource.context("looking at what a stack waits for")?;
        let status = resource.resource_status.as_ref().map(types::ResourceStatus::as_str);
        if status.is_some_and(|status| status.ends_with("_IN_PROGRESS")) {
            names.extend(resource.logical_resource_id);
        }
    }
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Ok(if names.is_empty() {
        String::new()
    } else {
        format!(", waits for {}", names.join(", "))
    })
}

/// What CloudFormation says of the resources that failed in a stack's last operation, the first first; nested stacks'
/// in their stead. It is put behind an error, so that one of its own would hide that.
pub(crate) async fn reasons(cloud: &Cloud, id: &str) -> String {
    let mut lines = Vec::new();
    if let Err(error) = collect(cloud, id, &mut lines).await {
        lines.push(format!("its events cannot be read: {error:#}"));
    }
    lines.into_iter().map(|line| format!("\n  {line}")).collect()
}

async fn collect(cloud: &Cloud, id: &str, lines: &mut Vec<String>) -> Result<()> {
    let mut failed = Vec::new();
    let mut pages = cloud
        .cfn
        .describe_stack_events()
        .stack_name(id)
        .into_paginator()
        .items()
        .send();
    while let Some(event) = pages.next().await {
        let event = event.context("reading the events of a stack")?;
        let status = event
            .resource_status
            .as_ref()
            .map(types::ResourceStatus::as_str)
            .unwrap_or_default();
        let reason = event.resource_status_reason.unwrap_or_default();
        let physical = event.physical_resource_id.unwrap_or_default();
        if physical == id {
            // Newest first: with this the operation began. What follows it belongs to an older one.
            if matches!(
                status,
                "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "DELETE_IN_PROGRESS"
            ) {
                break;
            }
        } else if status.ends_with("_FAILED") && !reason.contains("cancelled") {
            failed.push((event.logical_resource_id.unwrap_or_default(), physical, reason));
        }
    }
    for (name, physical, reason) in failed.into_iter().rev() {
        let before = lines.len();
        if physical.contains(":stack/") {
            Box::pin(collect(cloud, &physical, lines)).await?;
        }
        if lines.len() == before {
            lines.push(format!("{name}: {reason}"));
        }
    }
    Ok(())
}
