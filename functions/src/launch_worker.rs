//! Launches the instance of an attempt.

use anyhow::Result;
use aws_sdk_ec2::types::Instance;
use contract::estimate::Launch as Launched;
use contract::job::{Kind, UserData};
use contract::plan::Plan;
use contract::steps::{LaunchWorkerInput, LaunchWorkerOutput};
use contract::{objects, tags};

use crate::fault::Fault;
use crate::instances::{self, Launch};
use crate::tagging::Tags;
use crate::{Aws, estimate, ladder, limits, ownership, store, volumes};

/// Finds the attempt's instance, or launches it on the first rung that gives one.
pub async fn handle(aws: &Aws, input: LaunchWorkerInput) -> Result<LaunchWorkerOutput, Fault> {
    let LaunchWorkerInput { build, shard, attempt } = &input;
    ownership::fence(aws, build).await?;
    let plan: Plan = store::read(aws, &objects::plan(build)).await?;
    let tags = Tags::shard(aws, build, *shard).with(tags::ATTEMPT, &attempt.to_string());
    let mut found = instances::find(aws, &tags).await?;
    // A launched one that is over already is the attempt's too: its poll says so.
    let chosen = found.iter().position(instances::alive).unwrap_or(0);
    let instance = match found.is_empty() {
        false => found.remove(chosen),
        true => launched(aws, &input, &plan, tags).await?,
    };
    // A launch whose answer was lost, and that went on from another rung, has made two.
    for other in found.iter().filter(|other| instances::alive(other)) {
        instances::terminate(aws, other).await?;
    }
    let output = output(&instance);
    let launch = Launched {
        instance: output.instance.clone(),
        instance_type: output.instance_type.clone(),
        market: output.market,
        launched: instances::launched(&instance),
    };
    store::put(aws, &objects::launch(build, *shard, *attempt), &launch).await?;
    Ok(output)
}

/// The attempt's new instance, ended again if the build is over by now.
async fn launched(aws: &Aws, input: &LaunchWorkerInput, plan: &Plan, tags: Tags) -> Result<Instance> {
    let LaunchWorkerInput { build, shard, attempt } = input;
    limits::check(aws, estimate::most_so_far(aws, plan, *shard).await?, 1).await?;
    let user_data = UserData {
        stack: aws.settings.stack.clone(),
        region: aws.settings.region.clone(),
        state_bucket: aws.settings.state_bucket.clone(),
        role: plan.role,
        build: Some(build.clone()),
        shard: *shard,
        attempt: *attempt,
    };
    let home = home(aws, build, *shard).await?;
    let subnets = ladder::subnets(aws, &aws.settings.worker_subnets).await?;
    let types = aws.settings.instance_types(plan.role);
    let markets = ladder::markets(&plan.markets, *attempt, plan.attempts);
    let rungs = ladder::rungs(&markets, types, &subnets, home.as_deref());
    let launch = Launch {
        user_data: &user_data,
        image: &plan.image,
        tags: tags.with(tags::ROLE, plan.role.as_str()),
        token: &["worker", build, &shard.to_string(), &attempt.to_string()],
    };
    let instance = instances::launch(aws, &launch, &rungs).await?;
    ownership::fence_or_undo(aws, build, instances::terminate(aws, &instance)).await?;
    Ok(instance)
}

/// The zone where the shard's volumes are, if it has any.
async fn home(aws: &Aws, build: &str, shard: u32) -> Result<Option<String>> {
    let found = volumes::find(aws, &Tags::shard(aws, build, shard)).await?;
    let is_ours = |role: &str| role == Kind::Sources.as_str() || role == Kind::Builds.as_str();
    let mut ours = found
        .iter()
        .filter(|volume| volumes::tag(volume, tags::ROLE).is_some_and(is_ours));
    Ok(ours.next().map(|volume| volumes::zone(volume).to_owned()))
}

fn output(instance: &Instance) -> LaunchWorkerOutput {
    LaunchWorkerOutput {
        instance: instances::id(instance).to_owned(),
        zone: instances::zone(instance).to_owned(),
        instance_type: instance
            .instance_type()
            .map_or_else(String::new, |name| name.as_str().to_owned()),
        market: instances::market(instance),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::operation::describe_instances::DescribeInstancesOutput;
    use aws_sdk_ec2::operation::terminate_instances::TerminateInstancesOutput;
    use aws_sdk_ec2::types::{InstanceState, InstanceStateName, Reservation};
    use aws_sdk_s3::operation::get_object::GetObjectOutput;
    use aws_sdk_s3::operation::put_object::PutObjectOutput;
    use aws_smithy_mocks::mock;
    use aws_smithy_types::DateTime;
    use contract::control::Control;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn of_two_instances_of_an_attempt_the_earliest_stays() {
        let instance = |id: &str, launched| {
            let state = InstanceState::builder().name(InstanceStateName::Running).build();
            let instance = Instance::builder().instance_id(id).state(state);
            instance.launch_time(DateTime::from_secs(launched)).build()
        };
        let found = mock!(Client::describe_instances).then_output(move || {
            let both = Reservation::builder()
                .instances(instance("i-late", 20))
                .instances(instance("i-early", 10))
                .build();
            DescribeInstancesOutput::builder().reservations(both).build()
        });
        let end = mock!(Client::terminate_instances)
            .match_requests(|request| request.instance_ids() == ["i-late"])
            .then_output(|| TerminateInstancesOutput::builder().build());
        let plan = testing::plan(1, &[Kind::Sources, Kind::Builds]);
        let control = Control {
            owner: Some(plan.build.clone()),
            ..Control::default()
        };
        let input = LaunchWorkerInput {
            build: plan.build.clone(),
            shard: 0,
            attempt: 1,
        };
        let object = |bytes: Vec<u8>| GetObjectOutput::builder().e_tag("\"1\"").body(bytes.into()).build();
        let control = serde_json::to_vec(&control).unwrap();
        let control = mock!(aws_sdk_s3::Client::get_object).then_output(move || object(control.clone()));
        let planned = serde_json::to_vec(&plan).unwrap();
        let planned = mock!(aws_sdk_s3::Client::get_object).then_output(move || object(planned.clone()));
        let told = mock!(aws_sdk_s3::Client::put_object).then_output(|| PutObjectOutput::builder().build());
        let aws = testing::aws(&[&found, &end], &[&control, &planned, &told]);
        assert_eq!(handle(&aws, input).await.unwrap().instance, "i-early");
        assert_eq!((end.num_calls(), told.num_calls()), (1, 1));
    }
}
