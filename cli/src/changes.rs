//! Change sets: what CloudFormation would do to a stack, which is then shown or done.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_cloudformation::operation::create_change_set::builders::CreateChangeSetFluentBuilder;
use aws_sdk_cloudformation::types::{
    Capability, ChangeSetStatus, ChangeSetType, Parameter, ParameterDeclaration, Replacement, ResourceChange, Tag,
};
use contract::tags;

use crate::cloud::{Cloud, plain};
use crate::stacks::{self, Stack};

/// A request takes a larger template only from a bucket.
const MOST_INLINE: usize = 51_200;

/// A template on its way into a stack.
pub(crate) struct Template {
    /// File name.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    /// Where it lies in the code bucket.
    pub(crate) url: String,
}

/// A change set that waits to be executed or dropped.
pub(crate) struct ChangeSet {
    id: String,
    /// The stack that it would change, as it is.
    stack: Stack,
    /// The change set made the stack, which holds nothing else.
    made_stack: bool,
    changes: Vec<ResourceChange>,
}

/// Asks CloudFormation what these would change; none if nothing.
///
/// `there` is the stack as it is, if it is; parameters that are not given keep their values. `nested` also looks into
/// nested stacks, whose templates must lie in the bucket then.
pub(crate) async fn prepare(
    cloud: &Cloud,
    name: &str,
    template: &Template,
    given: &BTreeMap<String, String>,
    there: Option<&Stack>,
    nested: bool,
) -> Result<Option<ChangeSet>> {
    if let Some(stack) = there {
        changeable(stack)?;
    }
    let new = there.is_none_or(Stack::is_shell);
    let request = cloud
        .cfn
        .create_change_set()
        .stack_name(name)
        .change_set_name(format!("vibes-{}", std::process::id()))
        .change_set_type(if new {
            ChangeSetType::Create
        } else {
            ChangeSetType::Update
        })
        .set_parameters(Some(parameters(cloud, template, given, there).await?))
        .capabilities(Capability::CapabilityNamedIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .tags(Tag::builder().key(tags::STACK).value(&cloud.stack).build())
        .include_nested_stacks(nested);
    let created = with_template(request, template).send().await.map_err(plain);
    let created = created.with_context(|| format!("asking what would change in the stack {name}"))?;
    let id = created.id.context("a change set without an id")?;
    let stack = stacks::find(cloud, name).await?;
    let stack = stack.with_context(|| format!("the stack {name} is gone"))?;
    let mut set = ChangeSet {
        id,
        stack,
        made_stack: there.is_none(),
        changes: Vec::new(),
    };
    let (status, reason) = set.read(cloud).await?;
    if status == ChangeSetStatus::CreateComplete {
        return Ok(Some(set));
    }
    set.drop(cloud).await?;
    let nothing = ["didn't contain changes", "No updates are to be performed"];
    if nothing.iter().any(|nothing| reason.contains(nothing)) {
        return Ok(None);
    }
    bail!("CloudFormation does not know what would change in the stack {name}: {reason}")
}

/// A stack in the middle of something, or broken, takes no change set: says what to do about it.
fn changeable(stack: &Stack) -> Result<()> {
    let Stack { name, status, .. } = stack;
    ensure!(
        !stack.is_busy(),
        "the stack {name} is being changed ({status}): wait until that is over"
    );
    let remedy = match status.as_str() {
        "UPDATE_ROLLBACK_FAILED" => format!("aws cloudformation continue-update-rollback --stack-name {name}"),
        "DELETE_FAILED" => format!("aws cloudformation delete-stack --stack-name {name}"),
        _ => return Ok(()),
    };
    bail!("the stack {name} cannot be changed ({status}): look at its events, then {remedy}")
}

/// Every parameter of the template: as given, else as the stack has it, else the template's default.
async fn parameters(
    cloud: &Cloud,
    template: &Template,
    given: &BTreeMap<String, String>,
    there: Option<&Stack>,
) -> Result<Vec<Parameter>> {
    let request = cloud.cfn.get_template_summary();
    let request = if template.text.len() > MOST_INLINE {
        request.template_url(&template.url)
    } else {
        request.template_body(&template.text)
    };
    let summary = request.send().await.map_err(plain);
    let summary = summary.with_context(|| format!("checking the template {}", template.name))?;
    choose(&template.name, summary.parameters(), given, there)
}

fn choose(
    template: &str,
    declared: &[ParameterDeclaration],
    given: &BTreeMap<String, String>,
    there: Option<&Stack>,
) -> Result<Vec<Parameter>> {
    let known: Vec<_> = declared
        .iter()
        .filter_map(ParameterDeclaration::parameter_key)
        .collect();
    for key in given.keys() {
        ensure!(
            known.contains(&key.as_str()),
            "{template} has no parameter {key}; it has {}",
            known.join(", ")
        );
    }
    let mut chosen = Vec::new();
    for parameter in declared {
        let key = parameter.parameter_key().unwrap_or_default();
        let choice = Parameter::builder().parameter_key(key);
        if let Some(value) = given.get(key) {
            chosen.push(choice.parameter_value(value).build());
        } else if there.is_some_and(|stack| stack.parameters.contains_key(key)) {
            chosen.push(choice.use_previous_value(true).build());
        } else if parameter.default_value().is_none() {
            let description = parameter.description().unwrap_or_default();
            bail!("{template} needs a value for {key}, give it as --parameter {key}=...: {description}");
        }
    }
    Ok(chosen)
}

fn with_template(request: CreateChangeSetFluentBuilder, template: &Template) -> CreateChangeSetFluentBuilder {
    if template.text.len() > MOST_INLINE {
        request.template_url(&template.url)
    } else {
        request.template_body(&template.text)
    }
}

impl ChangeSet {
    /// Waits until CloudFormation knows what would change, and reads it.
    async fn read(&mut self, cloud: &Cloud) -> Result<(ChangeSetStatus, String)> {
        let mut pause = Duration::from_millis(50);
        loop {
            let (status, reason, changes) = describe(cloud, &self.id).await?;
            if !matches!(
                status,
                ChangeSetStatus::CreatePending | ChangeSetStatus::CreateInProgress
            ) {
                self.changes = changes;
                return Ok((status, reason));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// What would change: one line a resource, those of nested stacks below theirs.
    pub(crate) async fn lines(&self, cloud: &Cloud) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        collect(cloud, &self.changes, "  ", &mut lines).await?;
        Ok(lines)
    }

    /// Forgets it, and the stack that was made for it.
    pub(crate) async fn drop(self, cloud: &Cloud) -> Result<()> {
        let drop = cloud.cfn.delete_change_set().change_set_name(&self.id);
        drop.send()
            .await
            .with_context(|| format!("deleting the change set of the stack {}", self.stack.name))?;
        if self.made_stack {
            stacks::delete(cloud, "deploy", &self.stack).await?;
        }
        Ok(())
    }

    /// Has it done, and waits until the stack is whole. The error has CloudFormation's reasons.
    pub(crate) async fn execute(self, cloud: &Cloud) -> Result<()> {
        let name = &self.stack.name;
        let execute = cloud.cfn.execute_change_set().change_set_name(&self.id);
        execute
            // A creation that fails leaves nothing, not even the buckets that a deletion leaves.
            .retain_except_on_create(true)
            .send()
            .await
            .map_err(plain)
            .with_context(|| format!("executing the change set of the stack {name}"))?;
        let Some(stack) = stacks::settle(cloud, "deploy", &self.stack).await? else {
            bail!("somebody has deleted the stack {name}");
        };
        if stack.is_settled() {
            return Ok(());
        }
        let reasons = stacks::reasons(cloud, &stack.id).await;
        bail!("deploying the stack {name} has failed ({}){reasons}", stack.status)
    }
}

async fn describe(cloud: &Cloud, id: &str) -> Result<(ChangeSetStatus, String, Vec<ResourceChange>)> {
    let mut pages = cloud
        .cfn
        .describe_change_set()
        .change_set_name(id)
        .into_paginator()
        .send();
    let mut said = (ChangeSetStatus::CreatePending, String::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.context("reading a change set")?;
        said.0 = page.status.context("a change set without a status")?;
        said.1 = page.status_reason.unwrap_or_default();
        said.2.extend(
            page.changes
                .into_iter()
                .flatten()
                .filter_map(|change| change.resource_change),
        );
    }
    Ok(said)
}

async fn collect(cloud: &Cloud, changes: &[ResourceChange], indent: &str, lines: &mut Vec<String>) -> Result<()> {
    for change in changes {
        lines.push(format!("{indent}{}", line(change)));
        if let Some(nested) = change.change_set_id() {
            let (_, _, changes) = describe(cloud, nested).await?;
            Box::pin(collect(cloud, &changes, &format!("{indent}  "), lines)).await?;
        }
    }
    Ok(())
}

/// Action, resource and type; what replaces a resource says so, and what it loses.
fn line(change: &ResourceChange) -> String {
    let action = change.action().map_or("?", |action| action.as_str());
    let replaced = match change.replacement() {
        Some(Replacement::True) => ", replaced",
        Some(Replacement::Conditional) => ", perhaps replaced",
        _ => "",
    };
    let name = change.logical_resource_id().unwrap_or_default();
    let kind = change.resource_type().unwrap_or_default();
    format!("{action:<7} {name} ({kind}){replaced}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(key: &str, default: Option<&str>) -> ParameterDeclaration {
        ParameterDeclaration::builder()
            .parameter_key(key)
            .set_default_value(default.map(str::to_owned))
            .description("who may pull")
            .build()
    }

    fn given(key: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), "new".to_owned())])
    }

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let stack = Stack {
            parameters: BTreeMap::from([
                ("Kept".to_owned(), "old".to_owned()),
                ("Gone".to_owned(), "old".to_owned()),
            ]),
            ..Stack::default()
        };
        let declared = [
            declared("Given", None),
            declared("Kept", Some("x")),
            declared("Default", Some("x")),
        ];
        let chosen = choose("t", &declared, &given("Given"), Some(&stack)).unwrap();
        let chosen: Vec<_> = chosen
            .iter()
            .map(|parameter| {
                (
                    parameter.parameter_key().unwrap(),
                    parameter.parameter_value(),
                    parameter.use_previous_value(),
                )
            })
            .collect();
        assert_eq!(chosen, [("Given", Some("new"), None), ("Kept", None, Some(true))]);
    }

    #[test]
    fn what_has_no_default_is_asked_for_by_name() {
        let error = choose("main.yaml", &[declared("AllowedCidr", None)], &BTreeMap::new(), None).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("AllowedCidr") && error.contains("who may pull"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_those_there_are() {
        let error = choose("main.yaml", &[declared("Shards", Some("1"))], &given("Shard"), None).unwrap_err();
        assert!(format!("{error:#}").contains("it has Shards"));
    }

    #[test]
    fn a_broken_stack_is_not_changed() {
        let stack = |status: &str| Stack {
            status: status.to_owned(),
            ..Stack::default()
        };
        assert!(changeable(&stack("UPDATE_COMPLETE")).is_ok());
        assert!(changeable(&stack("REVIEW_IN_PROGRESS")).is_ok());
        assert!(changeable(&stack("UPDATE_IN_PROGRESS")).is_err());
        assert!(changeable(&stack("UPDATE_ROLLBACK_FAILED")).is_err());
    }

    #[test]
    fn a_replacement_is_said() {
        let change = ResourceChange::builder()
            .action(aws_sdk_cloudformation::types::ChangeAction::Modify)
            .logical_resource_id("Queue")
            .resource_type("AWS::SQS::Queue")
            .replacement(Replacement::True)
            .build();
        assert_eq!(line(&change), "Modify  Queue (AWS::SQS::Queue), replaced");
    }
}
