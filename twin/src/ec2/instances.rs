//! Instances after their start: described, ended, listened to, interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::future::join_all;
use time::OffsetDateTime;

use super::query::{Filtered, Query, Tags, passes};
use super::refusal::{Outcome, Refusal};
use super::state::{Instance, Phase, Reason, State, Volume};
use super::{Ec2, Reply, stamp, tag_set};
use crate::ACCOUNT;
use crate::xml::{leaf, maybe, node, set};

/// From the notice to the interruption, as in AWS.
const SPOT_NOTICE: Duration = Duration::from_secs(120);

impl Ec2 {
    pub(super) fn describe_instances(&self, query: Query<'_>) -> Outcome<Reply> {
        let (ids, filters) = (query.list("InstanceId"), query.filters());
        self.look(|state| {
            for id in &ids {
                state.instance(id)?;
            }
            let mut found = Vec::new();
            for instance in state.instances.values() {
                if (ids.is_empty() || ids.contains(&instance.id.as_str())) && passes(instance, &filters)? {
                    found.push(instance);
                }
            }
            let (page, token) = query.page(found, |instance| instance.id.clone())?;
            let mut reservations: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
            for instance in page {
                reservations.entry(&instance.reservation).or_default().push(instance);
            }
            let items = reservations
                .values()
                .map(|instances| reservation_xml(instances, &state.volumes));
            Ok(Reply::of(set("reservationSet", items) + &maybe("nextToken", token)))
        })
    }

    pub(super) fn terminate_instances(self: &Arc<Self>, query: Query<'_>) -> Outcome<Reply> {
        let ids: Vec<String> = query.list("InstanceId").into_iter().map(str::to_owned).collect();
        if ids.is_empty() {
            query.need("InstanceId")?;
        }
        let changes = self.change(|state| {
            // All or none.
            for id in &ids {
                state.instance(id)?;
            }
            let mut changes = Vec::new();
            for id in &ids {
                let instance = state.instance(id)?;
                let before = instance.phase;
                if !matches!(before, Phase::ShuttingDown | Phase::Terminated) {
                    instance.phase = Phase::ShuttingDown;
                    instance.reason = Some(user_initiated());
                    instance.transition = by_user();
                }
                changes.push((id.clone(), before, instance.phase));
            }
            Ok(changes)
        })?;
        for (id, before, _) in &changes {
            // A pending one is ended by its start.
            if matches!(before, Phase::Running | Phase::Stopped) {
                tokio::spawn(end(Arc::clone(self), id.clone()));
            }
        }
        let items = changes.iter().map(|(id, before, now)| {
            leaf("instanceId", id) + &phase_xml("currentState", *now) + &phase_xml("previousState", *before)
        });
        Ok(Reply::of(set("instancesSet", items)))
    }

    pub(super) async fn get_console_output(&self, query: Query<'_>) -> Outcome<Reply> {
        let id = query.need("InstanceId")?;
        self.look(|state| state.instance(id).map(|_| ()))?;
        let output = self
            .machines
            .console(id)
            .await
            .map_err(|error| Refusal::internal(&error))?;
        let fields = [
            leaf("instanceId", id),
            leaf("timestamp", stamp(OffsetDateTime::now_utc())),
            leaf("output", BASE64_STANDARD.encode(output)),
        ];
        Ok(Reply::of(fields.concat()))
    }

    /// What the instance printed, for people.
    pub async fn console(&self, id: &str) -> Result<String> {
        self.machines.console(id).await
    }

    /// Kills a running instance as a failed host would; [`Ec2::follow_exits`] sees it.
    pub async fn vanish(&self, id: &str) -> Result<()> {
        self.settle(|state| {
            if let Some(instance) = state.instances.get_mut(id) {
                let message = "Internal error: the host of the instance failed".to_owned();
                instance.reason = Some(Reason {
                    code: "Server.InternalError".into(),
                    message,
                });
            }
        });
        self.machines.vanish(id).await
    }

    /// Lets a running instance hang: it is `running`, and does nothing any more.
    pub async fn hang(&self, id: &str) -> Result<()> {
        self.machines.hang(id).await
    }

    /// Announces the interruption of a spot instance, and interrupts it `seconds` later (AWS: two minutes).
    pub async fn spot_notice(self: &Arc<Self>, id: &str, seconds: Option<f64>) -> Result<()> {
        let spot = self.look(|state| {
            Ok(state
                .instances
                .get(id)
                .is_some_and(|instance| instance.spot && instance.is_alive()))
        });
        if !spot.unwrap_or(false) {
            bail!("{id} is not a running spot instance");
        }
        self.machines.spot_notice(id).await?;
        let wait = seconds.map_or(SPOT_NOTICE.mul_f64(self.wait_scale), Duration::from_secs_f64);
        let (ec2, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let mut interrupted = false;
            ec2.settle(|state| {
                if let Some(instance) = state.instances.get_mut(&id).filter(|instance| instance.is_alive()) {
                    let message = "Server.SpotInstanceTermination: Spot instance termination".to_owned();
                    instance.phase = Phase::ShuttingDown;
                    instance.reason = Some(Reason {
                        code: "Server.SpotInstanceTermination".into(),
                        message,
                    });
                    instance.transition = "Server.SpotInstanceTermination".to_owned();
                    interrupted = true;
                }
            });
            if interrupted {
                end(ec2, id).await;
            }
        });
        Ok(())
    }

    /// Follows what instances do by themselves: one that powers off ends, or stops, as it was launched.
    pub async fn follow_exits(self: Arc<Self>) {
        let mut exits = self.machines.exits();
        while let Some(id) = exits.recv().await {
            self.settle(|state| {
                let Some(instance) = state.instances.get_mut(&id).filter(|instance| instance.is_alive()) else {
                    return;
                };
                let message = "Client.InstanceInitiatedShutdown: Instance initiated shutdown".to_owned();
                let own = Reason {
                    code: "Client.InstanceInitiatedShutdown".into(),
                    message,
                };
                let reason = instance.reason.clone().unwrap_or(own);
                let vanished = reason.code.starts_with("Server.");
                if instance.terminates_on_shutdown || vanished {
                    state.end(&id, reason, "");
                } else {
                    instance.phase = Phase::Stopped;
                    instance.reason = Some(reason);
                    (instance.private_ip, instance.public_ip) = (None, None);
                }
            });
        }
    }

    /// Ends all instances, at the end of the twin.
    pub async fn end_all(self: &Arc<Self>) {
        let living = |state: &mut State| {
            let living = state
                .instances
                .values()
                .filter(|instance| instance.phase != Phase::Terminated);
            Ok(living.map(|instance| instance.id.clone()).collect::<Vec<_>>())
        };
        let ids = self.look(living).unwrap_or_default();
        join_all(ids.into_iter().map(|id| end(Arc::clone(self), id))).await;
    }
}

/// Shuts the machine down, and then says so.
pub(super) async fn end(ec2: Arc<Ec2>, id: String) {
    if let Err(error) = ec2.machines.terminate(&id).await {
        tracing::error!("{id} was not ended cleanly: {error:#}");
    }
    ec2.settle(|state| {
        let Some(instance) = state.instances.get(&id) else {
            return;
        };
        let reason = instance.reason.clone().unwrap_or_else(user_initiated);
        let transition = instance.transition.clone();
        state.end(&id, reason, &transition);
    });
}

fn user_initiated() -> Reason {
    let message = "Client.UserInitiatedShutdown: User initiated shutdown".to_owned();
    Reason {
        code: "Client.UserInitiatedShutdown".into(),
        message,
    }
}

fn by_user() -> String {
    let now = OffsetDateTime::now_utc();
    format!(
        "User initiated ({} {:02}:{:02}:{:02} GMT)",
        now.date(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

impl Filtered for Instance {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        let (code, phase) = self.phase.code_and_name();
        Some(match name {
            "instance-id" => vec![self.id.clone()],
            "instance-state-name" => vec![phase.to_owned()],
            "instance-state-code" => vec![code.to_string()],
            "instance-type" => vec![self.instance_type.clone()],
            "image-id" => vec![self.image.clone()],
            "availability-zone" => vec![self.zone.clone()],
            "subnet-id" => vec![self.subnet.clone()],
            "vpc-id" => vec![self.vpc.clone()],
            "client-token" => self.token.iter().cloned().collect(),
            "reservation-id" => vec![self.reservation.clone()],
            "instance-lifecycle" => self.spot.then(|| "spot".to_owned()).into_iter().collect(),
            _ => return None,
        })
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

/// A reservation: the instances of one RunInstances call.
pub(super) fn reservation_xml(instances: &[&Instance], volumes: &BTreeMap<String, Volume>) -> String {
    let reservation = instances
        .first()
        .map(|instance| instance.reservation.as_str())
        .unwrap_or_default();
    let items = instances.iter().map(|instance| instance_xml(instance, volumes));
    leaf("reservationId", reservation) + &leaf("ownerId", ACCOUNT) + "<groupSet/>" + &set("instancesSet", items)
}

fn phase_xml(name: &str, phase: Phase) -> String {
    let (code, text) = phase.code_and_name();
    node(name, &(leaf("code", code) + &leaf("name", text)))
}

fn instance_xml(instance: &Instance, volumes: &BTreeMap<String, Volume>) -> String {
    let attachments = volumes.values().filter_map(|volume| {
        let attachment = volume
            .attachment
            .as_ref()
            .filter(|attachment| attachment.instance == instance.id)?;
        let ebs = [
            leaf("volumeId", &volume.id),
            leaf("status", attachment.state.as_str()),
            leaf("attachTime", stamp(attachment.since)),
            leaf("deleteOnTermination", false),
        ];
        Some(leaf("deviceName", &attachment.device) + &node("ebs", &ebs.concat()))
    });
    let groups = instance.groups.iter().map(|group| leaf("groupId", group));
    let placement = leaf("availabilityZone", &instance.zone) + "<groupName/>" + &leaf("tenancy", "default");
    let reason = instance.reason.as_ref().map(|reason| {
        node(
            "stateReason",
            &(leaf("code", &reason.code) + &leaf("message", &reason.message)),
        )
    });
    let profile = instance
        .profile
        .as_ref()
        .map(|arn| node("iamInstanceProfile", &leaf("arn", arn)));
    let name = |ip: &std::net::Ipv4Addr| format!("ip-{}.ec2.internal", ip.to_string().replace('.', "-"));
    let private_name = instance.private_ip.as_ref().map(name).unwrap_or_default();
    let metadata = leaf("state", "applied") + &leaf("httpTokens", "required") + &leaf("httpEndpoint", "enabled");
    [
        leaf("instanceId", &instance.id),
        leaf("imageId", &instance.image),
        phase_xml("instanceState", instance.phase),
        leaf("privateDnsName", private_name),
        "<dnsName/>".to_owned(),
        leaf("reason", &instance.transition),
        leaf("amiLaunchIndex", instance.index),
        leaf("instanceType", &instance.instance_type),
        leaf("launchTime", stamp(instance.launched)),
        node("placement", &placement),
        node("monitoring", &leaf("state", "disabled")),
        leaf("subnetId", &instance.subnet),
        leaf("vpcId", &instance.vpc),
        maybe("privateIpAddress", instance.private_ip),
        maybe("ipAddress", instance.public_ip),
        set("groupSet", groups),
        leaf("architecture", super::images::ARCHITECTURE),
        leaf("rootDeviceType", "ebs"),
        set("blockDeviceMapping", attachments),
        leaf("virtualizationType", "hvm"),
        maybe("clientToken", instance.token.as_ref()),
        tag_set(&instance.tags),
        profile.unwrap_or_default(),
        maybe("instanceLifecycle", instance.spot.then_some("spot")),
        maybe(
            "spotInstanceRequestId",
            instance.spot.then(|| instance.id.replacen("i-", "sir-", 1)),
        ),
        reason.unwrap_or_default(),
        node("metadataOptions", &metadata),
    ]
    .concat()
}
