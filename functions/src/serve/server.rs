//! The server's instance: one that works, on the current image.

use anyhow::Result;
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use contract::input::Market;
use contract::job::{Role, UserData};
use contract::serve::ServerStatus;
use contract::{objects, tags};

use crate::instances::{self, Launch};
use crate::store::Stored;
use crate::tagging::{Tags, held};
use crate::{Aws, images, ladder, store, times};

/// How the server is doing.
#[derive(Debug)]
pub(super) enum Server {
    /// It works, as far as it can be seen.
    Running(Box<Instance>),
    /// There is none that works, and why.
    Waiting(String),
    /// It does not work, and why; a person holds it, who alone can go on.
    Held(String),
}

/// The server's instances that are not over, earliest first.
pub(super) async fn find(aws: &Aws) -> Result<Vec<Instance>> {
    let mut found = instances::find(aws, &Tags::server(aws)).await?;
    found.retain(|instance| !instances::terminated(instance));
    Ok(found)
}

/// Where it can be reached.
pub(super) fn address(instance: &Instance) -> Option<String> {
    instance
        .public_ip_address()
        .or(instance.private_ip_address())
        .map(str::to_owned)
}

/// Those that are to end when there shall be no server: not those that a person holds.
pub(super) async fn to_end(aws: &Aws) -> Result<Vec<Instance>> {
    let mut found = find(aws).await?;
    found.retain(|instance| !held(instance.tags()));
    Ok(found)
}

/// Ends all of them, and gives their ids.
pub(super) async fn end_all(aws: &Aws) -> Result<Vec<String>> {
    let mut ending = Vec::new();
    for instance in &to_end(aws).await? {
        instances::terminate(aws, instance).await?;
        ending.push(instances::id(instance).to_owned());
    }
    Ok(ending)
}

/// Looks, and changes nothing.
pub(super) async fn look(aws: &Aws, now: &str) -> Result<Server> {
    let found = find(aws).await?;
    match found.as_slice() {
        [] => Ok(Server::Waiting("there is no server".to_owned())),
        [server, others @ ..] if others.iter().all(|other| held(other.tags())) => {
            match unfit(aws, server, now).await? {
                Some(why) if held(server.tags()) => Ok(Server::Held(why)),
                Some(why) => Ok(Server::Waiting(why)),
                None => Ok(running(server)),
            }
        }
        several => Ok(Server::Waiting(format!("there are {} servers", several.len()))),
    }
}

/// One step towards one server that works: replaces one that does not, ends a second, launches the first.
///
/// `step` names this step of this execution: asked again, it launches the same instance, and a later one may launch
/// another.
pub(super) async fn ensure(aws: &Aws, now: &str, step: &[&str]) -> Result<Server> {
    let found = find(aws).await?;
    let Some((server, others)) = found.split_first() else {
        let server = launch(aws, step).await?;
        return Ok(Server::Waiting(format!("{} has been launched", instances::id(&server))));
    };
    for other in others.iter().filter(|other| !held(other.tags())) {
        instances::terminate(aws, other).await?;
    }
    match unfit(aws, server, now).await? {
        Some(why) if held(server.tags()) => Ok(Server::Held(format!("{why}, and is held by {}", tags::HOLD))),
        Some(why) => {
            instances::terminate(aws, server).await?;
            Ok(Server::Waiting(why))
        }
        None => Ok(running(server)),
    }
}

fn running(server: &Instance) -> Server {
    match instances::state(server) {
        InstanceStateName::Running => Server::Running(Box::new(server.clone())),
        state => Server::Waiting(format!("{} is {}", instances::id(server), state.as_str())),
    }
}

/// Why this server must be replaced: another image is current, or it does not report.
async fn unfit(aws: &Aws, server: &Instance, now: &str) -> Result<Option<String>> {
    let id = instances::id(server);
    if !instances::alive(server) {
        return Ok(Some(format!("{id} is {}", instances::state(server).as_str())));
    }
    if server.image_id() != Some(images::id(aws, Role::Server).await?.as_str()) {
        return Ok(Some(format!("{id} has an older image")));
    }
    let status: Option<Stored<ServerStatus>> = store::get(aws, objects::SERVE_STATUS).await?;
    let said = status
        .filter(|status| status.value.instance == id)
        .map(|status| status.modified);
    let (since, patience) = match said {
        Some(said) => (said, aws.settings.silent_seconds),
        None => (instances::launched(server), aws.settings.boot_seconds),
    };
    let silent = times::seconds(now)? - since;
    Ok((silent > i64::from(patience)).then(|| format!("{id} has said nothing for {silent} seconds")))
}

async fn launch(aws: &Aws, step: &[&str]) -> Result<Instance> {
    let user_data = UserData {
        stack: aws.settings.stack.clone(),
        region: aws.settings.region.clone(),
        state_bucket: aws.settings.state_bucket.clone(),
        role: Role::Server,
        build: None,
        shard: 0,
        attempt: 0,
    };
    let image = images::id(aws, Role::Server).await?;
    let subnets = ladder::subnets(aws, &aws.settings.subnets).await?;
    // A server that EC2 takes back would drop its listeners: never spot.
    let rungs = ladder::rungs(
        &[Market::OnDemand],
        aws.settings.instance_types(Role::Server),
        &subnets,
        None,
    );
    let token: Vec<&str> = ["server"].into_iter().chain(step.iter().copied()).collect();
    let launch = Launch {
        user_data: &user_data,
        image: &image,
        tags: Tags::server(aws),
        token: &token,
    };
    instances::launch(aws, &launch, &rungs).await
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::operation::describe_instances::DescribeInstancesOutput;
    use aws_sdk_ec2::types::{InstanceState, Reservation, Tag};
    use aws_smithy_mocks::{Rule, mock};

    use super::*;

    /// Finds this instance, which is stopped and held.
    pub(crate) fn held(id: &'static str) -> Rule {
        mock!(Client::describe_instances).then_output(move || {
            let instance = Instance::builder()
                .instance_id(id)
                .state(InstanceState::builder().name(InstanceStateName::Stopped).build())
                .tags(Tag::builder().key(tags::HOLD).value("look").build());
            let reservation = Reservation::builder().instances(instance.build()).build();
            DescribeInstancesOutput::builder().reservations(reservation).build()
        })
    }
}
