//! Instances: found by tag, launched rung by rung, ended.

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    Instance, InstanceInterruptionBehavior, InstanceLifecycleType, InstanceMarketOptionsRequest, InstanceStateName,
    InstanceType, LaunchTemplateSpecification, MarketType, ResourceType, ShutdownBehavior, SpotInstanceType,
    SpotMarketOptions,
};
use contract::fault::Name;
use contract::input::Market;
use contract::job::UserData;

use crate::Aws;
use crate::fault::{Meaning, Refusal, named, unless_absent};
use crate::ladder::Rung;
use crate::tagging::{Tags, held, token};

/// Lines of the console output that an error carries: a kernel's last words, or a failed unit's.
const CONSOLE_LINES: usize = 20;

/// Instances with these tags, earliest first. Terminated ones are among them for about an hour.
pub(crate) async fn find(aws: &Aws, tags: &Tags) -> Result<Vec<Instance>> {
    let request = aws.ec2.describe_instances().set_filters(tags.filters());
    let found = request.into_paginator().items().send().try_collect().await;
    let found = found.map_err(Refusal::from).context("looking for instances")?;
    let mut found: Vec<Instance> = found
        .into_iter()
        .flat_map(|reservation| reservation.instances.unwrap_or_default())
        .collect();
    found.sort_by_key(|instance| (launched(instance), id(instance).to_owned()));
    Ok(found)
}

/// The instance with this id; none if it never was or is long gone.
pub(crate) async fn look(aws: &Aws, instance: &str) -> Result<Option<Instance>> {
    let request = aws.ec2.describe_instances().instance_ids(instance).send().await;
    let found = unless_absent(request.map_err(Refusal::from)).with_context(|| format!("looking at {instance}"))?;
    let reservations = found.and_then(|found| found.reservations).unwrap_or_default();
    Ok(reservations
        .into_iter()
        .flat_map(|reservation| reservation.instances.unwrap_or_default())
        .next())
}

/// An instance's id.
pub(crate) fn id(instance: &Instance) -> &str {
    instance.instance_id().unwrap_or_default()
}

/// An instance's state.
pub(crate) fn state(instance: &Instance) -> InstanceStateName {
    let state = instance.state().and_then(|state| state.name());
    state.cloned().unwrap_or(InstanceStateName::Pending)
}

/// It is over: nothing of it runs and nothing is attached to it any more.
pub(crate) fn terminated(instance: &Instance) -> bool {
    state(instance) == InstanceStateName::Terminated
}

/// It works or will soon.
pub(crate) fn alive(instance: &Instance) -> bool {
    matches!(state(instance), InstanceStateName::Pending | InstanceStateName::Running)
}

/// When it was launched, seconds since 1970.
pub(crate) fn launched(instance: &Instance) -> i64 {
    instance.launch_time().map_or(0, aws_smithy_types::DateTime::secs)
}

/// Where it is.
pub(crate) fn zone(instance: &Instance) -> &str {
    instance
        .placement()
        .and_then(|placement| placement.availability_zone())
        .unwrap_or_default()
}

/// How it is paid for.
pub(crate) fn market(instance: &Instance) -> Market {
    match instance.instance_lifecycle() {
        Some(InstanceLifecycleType::Spot) => Market::Spot,
        _ => Market::OnDemand,
    }
}

/// What an instance is launched as.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) user_data: &'a UserData,
    pub(crate) image: &'a str,
    pub(crate) tags: Tags,
    /// What makes the client token, besides the rung.
    pub(crate) token: &'a [&'a str],
}

/// Launches an instance on the first rung that gives one.
///
/// # Errors
/// `NoCapacity` if every rung refused and waiting may help, `LaunchRefused` if waiting does not; `TryAgain` if an answer
/// was unclear: then the same rungs with the same tokens come again, and EC2 gives what it made the first time.
pub(crate) async fn launch(aws: &Aws, launch: &Launch<'_>, rungs: &[Rung]) -> Result<Instance> {
    let mut refusals = Vec::new();
    let mut curable = false;
    for rung in rungs {
        let refusal = match run(aws, launch, rung).await {
            Ok(instance) => return Ok(instance),
            Err(refusal) => refusal,
        };
        tracing::warn!(rung = rung.name(), %refusal, "no instance on this rung");
        match refusal.meaning {
            Meaning::Capacity => curable = true,
            Meaning::Quota | Meaning::Unsupported => {}
            Meaning::Unclear => return Err(refusal).with_context(|| format!("launching on {}", rung.name())),
            _ => bail!(named(
                Name::LaunchRefused,
                format!(
                    "EC2 refuses to launch on {}: {refusal}; correct what it names and start again",
                    rung.name()
                )
            )),
        }
        refusals.push(format!("{}: {refusal}", rung.name()));
    }
    let (name, remedy) = match curable {
        true => (
            Name::NoCapacity,
            "try again later, or allow more instance types, zones or markets",
        ),
        false => (Name::LaunchRefused, "raise the quota, or name other instance types"),
    };
    bail!(named(
        name,
        format!(
            "no rung of the ladder gives an instance ({remedy}): {}",
            refusals.join("; ")
        )
    ))
}

async fn run(aws: &Aws, launch: &Launch<'_>, rung: &Rung) -> Result<Instance, Refusal> {
    let role = launch.user_data.role;
    let template = LaunchTemplateSpecification::builder()
        .launch_template_name(aws.settings.launch_template(role))
        .version("$Latest")
        .build();
    let user_data = serde_json::to_vec(launch.user_data).map_err(|error| Refusal::wrong(&error))?;
    let rung_name = rung.name();
    let parts: Vec<&str> = launch.token.iter().copied().chain([rung_name.as_str()]).collect();
    let request = aws
        .ec2
        .run_instances()
        .min_count(1)
        .max_count(1)
        .client_token(token(aws, &parts))
        .launch_template(template)
        .image_id(launch.image)
        .instance_type(InstanceType::from(rung.instance_type.as_str()))
        .subnet_id(&rung.subnet)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .set_instance_market_options(market_options(rung.market))
        .user_data(aws_smithy_types::base64::encode(user_data))
        .tag_specifications(launch.tags.specification(ResourceType::Instance))
        .tag_specifications(launch.tags.specification(ResourceType::Volume));
    // Missing capacity is HTTP 500: the SDK would ask three times where the next rung may have an instance.
    let no_retry = aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled());
    let answer = request.customize().config_override(no_retry).send().await?;
    let instance = answer.instances.unwrap_or_default().into_iter().next();
    instance.ok_or_else(|| Refusal::unclear(&"RunInstances answered without an instance"))
}

fn market_options(market: Market) -> Option<InstanceMarketOptionsRequest> {
    let spot = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
        .build();
    let options = InstanceMarketOptionsRequest::builder()
        .market_type(MarketType::Spot)
        .spot_options(spot)
        .build();
    (market == Market::Spot).then_some(options)
}

/// Ends the instance. One that is ending or not there is left alone, and one that a person holds.
pub(crate) async fn terminate(aws: &Aws, instance: &Instance) -> Result<()> {
    if state(instance) == InstanceStateName::ShuttingDown || held(instance.tags()) {
        return Ok(());
    }
    tracing::info!(instance = id(instance), "terminating");
    let request = aws.ec2.terminate_instances().instance_ids(id(instance)).send().await;
    unless_absent(request.map_err(Refusal::from)).with_context(|| format!("terminating {}", id(instance)))?;
    Ok(())
}

/// The last lines that the instance wrote to its console; says so if there are none.
pub(crate) async fn console(aws: &Aws, instance: &str) -> Result<String> {
    let request = aws.ec2.get_console_output().instance_id(instance).send().await;
    let found =
        unless_absent(request.map_err(Refusal::from)).with_context(|| format!("reading {instance}'s console"))?;
    let Some(encoded) = found.and_then(|found| found.output) else {
        return Ok("its console holds nothing".to_owned());
    };
    let bytes = aws_smithy_types::base64::decode(encoded.split_whitespace().collect::<String>());
    let bytes = bytes.map_err(|error| anyhow!("{instance}'s console output is not base64: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
    Ok(format!("its console ends with:\n{}", tail.join("\n")))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::error::ErrorMetadata;
    use aws_sdk_ec2::operation::run_instances::{RunInstancesError, RunInstancesOutput};
    use aws_smithy_mocks::{Rule, mock};
    use contract::job::Role;

    use super::*;
    use crate::fault::Fault;
    use crate::testing;

    fn refuses(instance_type: &'static str, code: &'static str) -> Rule {
        mock!(Client::run_instances)
            .match_requests(move |request| request.instance_type() == Some(&InstanceType::from(instance_type)))
            .then_error(move || {
                RunInstancesError::generic(ErrorMetadata::builder().code(code).message("sorry").build())
            })
    }

    fn gives(instance_type: &'static str) -> Rule {
        mock!(Client::run_instances)
            .match_requests(move |request| request.instance_type() == Some(&InstanceType::from(instance_type)))
            .then_output(|| {
                RunInstancesOutput::builder()
                    .instances(Instance::builder().instance_id("i-1").build())
                    .build()
            })
    }

    async fn launched_by(rules: &[&Rule]) -> Result<Instance, Fault> {
        let user_data = UserData {
            stack: "vibes".to_owned(),
            region: "eu-central-1".to_owned(),
            state_bucket: "state".to_owned(),
            role: Role::Worker,
            build: Some("b-00001".to_owned()),
            shard: 0,
            attempt: 1,
        };
        let rung = |instance_type: &str| Rung {
            market: Market::Spot,
            instance_type: instance_type.to_owned(),
            subnet: "subnet-a".to_owned(),
            zone: "a".to_owned(),
        };
        let aws = testing::aws(rules, &[]);
        let new = Launch {
            user_data: &user_data,
            image: "ami-1",
            tags: Tags::stack(&aws),
            token: &["worker"],
        };
        Ok(launch(&aws, &new, &[rung("big"), rung("small")]).await?)
    }

    #[tokio::test]
    async fn missing_capacity_leads_to_the_next_rung() {
        let rules = [refuses("big", "InsufficientInstanceCapacity"), gives("small")];
        let instance = launched_by(&rules.each_ref()).await.unwrap();
        assert_eq!(id(&instance), "i-1");
        assert_eq!(rules[0].num_calls(), 1);
    }

    #[tokio::test]
    async fn no_capacity_has_a_name_and_each_rungs_reason() {
        let rules = [
            refuses("big", "InsufficientInstanceCapacity"),
            refuses("small", "VcpuLimitExceeded"),
        ];
        let fault = launched_by(&rules.each_ref()).await.unwrap_err();
        assert_eq!(fault.name, Name::NoCapacity);
        let message = fault.to_string();
        assert!(
            message.contains("spot/big/a/subnet-a: InsufficientInstanceCapacity"),
            "{message}"
        );
        assert!(
            message.contains("spot/small/a/subnet-a: VcpuLimitExceeded"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn quotas_alone_are_not_missing_capacity() {
        let rules = [refuses("big", "VcpuLimitExceeded"), refuses("small", "Unsupported")];
        assert_eq!(
            launched_by(&rules.each_ref()).await.unwrap_err().name,
            Name::LaunchRefused
        );
    }

    #[tokio::test]
    async fn an_unclear_answer_is_asked_again_before_another_rung_is() {
        let rules = [refuses("big", "RequestLimitExceeded"), gives("small")];
        assert_eq!(launched_by(&rules.each_ref()).await.unwrap_err().name, Name::TryAgain);
        assert_eq!((rules[0].num_calls(), rules[1].num_calls()), (1, 0));
    }

    #[tokio::test]
    async fn a_wrong_launch_is_refused_at_once() {
        let rules = [refuses("big", "InvalidAMIID.Malformed"), gives("small")];
        assert_eq!(
            launched_by(&rules.each_ref()).await.unwrap_err().name,
            Name::LaunchRefused
        );
        assert_eq!(rules[1].num_calls(), 0);
    }
}
