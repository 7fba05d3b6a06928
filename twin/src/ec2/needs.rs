//! What each call must be allowed to do: the resources that EC2 authorises it on, with their condition keys, by the
//! service authorization reference.
//!
//! What is made has no id yet and is asked for as `TYPE/*` with the tags it will get; what is there is asked for with the
//! tags it has. Of things that are not there EC2 says so here before anybody's permissions count; whether AWS does is
//! not known.

use std::collections::BTreeMap;

use super::query::{Query, Tags};
use super::refusal::Outcome;
use super::run::Launch;
use super::tags::tags_of;
use super::{Ec2, PASSED};
use crate::call::Call;
use crate::iam::{Context, Need};
use crate::needs::{arn, parameter};
use crate::{ACCOUNT, REGION};

impl Ec2 {
    /// The needs of a call; none of one that is not on the closed list, which is refused by name later.
    pub(super) async fn needed(&self, call: &Call, query: Query<'_>) -> Outcome<Vec<Need>> {
        let action = call.action.as_str();
        let on = |ids: Vec<&str>| -> Outcome<Vec<Need>> { ids.into_iter().map(|id| self.upon(action, id)).collect() };
        let mut needs = match action {
            "RunInstances" => self.to_run(query, self.launch(query).await?).await?,
            "TerminateInstances" => on(query.list("InstanceId"))?,
            "GetConsoleOutput" => on(vec![query.need("InstanceId")?])?,
            "CreateVolume" => self.to_create_volume(query)?,
            "CreateSnapshot" => self.to_create_snapshot(query)?,
            "AttachVolume" => on(vec![query.need("InstanceId")?, query.need("VolumeId")?])?,
            "DetachVolume" => {
                let volume = query.need("VolumeId")?;
                let attached = self.look(|state| Ok(state.volume(volume)?.attachment.clone()))?;
                let attached = attached.map(|attachment| attachment.instance);
                let instance = query.get("InstanceId").or(attached.as_deref());
                on(instance.into_iter().chain([volume]).collect())?
            }
            "ModifyVolume" | "DeleteVolume" => on(vec![query.need("VolumeId")?])?,
            "DeleteSnapshot" => on(vec![query.need("SnapshotId")?])?,
            "RegisterImage" => {
                let tags = query.tag_specifications();
                let image = made(action, "image", &tags);
                tagging(action, &tags).chain([image]).collect()
            }
            "DeregisterImage" => on(vec![query.need("ImageId")?])?,
            "CreateTags" | "DeleteTags" if !self.is_tagging_elsewhere(call) => {
                let mut tags = request_tags(&query.tags("Tag"));
                // A key alone takes the tag away whatever its value is.
                tags.retain(|_, values| action == "CreateTags" || *values != [""]);
                let needs = on(query.list("ResourceId"))?.into_iter();
                needs.map(|need| need.and(&tags)).collect()
            }
            _ if action.starts_with("Describe") || PASSED.contains(&action) => {
                vec![Need::new(format!("ec2:{action}"), "*")]
            }
            _ => Vec::new(),
        };
        for need in needs.iter_mut().filter(|need| need.action.starts_with("ec2:")) {
            need.context.insert("ec2:Region".to_owned(), vec![REGION.to_owned()]);
        }
        Ok(needs)
    }

    /// Acting upon something that is there.
    fn upon(&self, action: &str, id: &str) -> Outcome<Need> {
        let tags = self.look(|state| Ok(tags_of(state, id)?.clone()))?;
        Ok(Need::new(format!("ec2:{action}"), arn_of(id)).and(&resource_tags(&tags)))
    }

    fn to_create_volume(&self, query: Query<'_>) -> Outcome<Vec<Need>> {
        let tags = query.tag_specifications();
        let mut volume = made("CreateVolume", "volume", &tags)
            .with("ec2:AvailabilityZone", query.need("AvailabilityZone")?)
            .with("ec2:VolumeType", query.get("VolumeType").unwrap_or("gp2"))
            .with("ec2:Encrypted", query.flag("Encrypted")?.to_string());
        let snapshot = query.get("SnapshotId");
        if let Some(id) = snapshot {
            volume = volume.with("ec2:ParentSnapshot", arn_of(id));
        }
        let mut needs = vec![volume];
        if let Some(id) = snapshot {
            needs.push(self.upon("CreateVolume", id)?);
        }
        needs.extend(tagging("CreateVolume", &tags));
        Ok(needs)
    }

    fn to_create_snapshot(&self, query: Query<'_>) -> Outcome<Vec<Need>> {
        let (tags, volume) = (query.tag_specifications(), query.need("VolumeId")?);
        let snapshot = made("CreateSnapshot", "snapshot", &tags).with("ec2:ParentVolume", arn_of(volume));
        let mut needs = vec![snapshot, self.upon("CreateSnapshot", volume)?];
        needs.extend(tagging("CreateSnapshot", &tags));
        Ok(needs)
    }

    async fn to_run(&self, query: Query<'_>, launch: Launch) -> Outcome<Vec<Need>> {
        let run = |resource: String| Need::new("ec2:RunInstances", resource);
        let (subnet, tags) = (&launch.subnet, &launch.tags);
        let vpc = arn("ec2", &format!("vpc/{}", subnet.vpc));
        let mut instance = made("RunInstances", "instance", tags)
            .with("ec2:AvailabilityZone", &subnet.zone)
            .with("ec2:InstanceType", &launch.instance_type)
            .with("ec2:InstanceMarketType", if launch.spot { "spot" } else { "on-demand" })
            .with("ec2:MetadataHttpTokens", "required");
        if let Some(profile) = &launch.profile {
            instance = instance.with("ec2:InstanceProfile", &profile.arn);
        }
        let volume = made("RunInstances", "volume", tags)
            .with("ec2:AvailabilityZone", &subnet.zone)
            .with("ec2:Encrypted", launch.encrypted.as_deref().unwrap_or("false"));
        let subnet_arn = arn("ec2", &format!("subnet/{}", subnet.id));
        let interface = made("RunInstances", "network-interface", tags)
            .with("ec2:AvailabilityZone", &subnet.zone)
            .with("ec2:Subnet", &subnet_arn)
            .with("ec2:Vpc", &vpc)
            .with("ec2:AssociatePublicIpAddress", launch.public.to_string());
        let own_image = query.get("ImageId").is_none().to_string();
        let image = run(arn_of(&launch.image)).with("ec2:IsLaunchTemplateResource", own_image);
        let subnet = run(subnet_arn)
            .with("ec2:AvailabilityZone", &subnet.zone)
            .with("ec2:SubnetID", &subnet.id)
            .with("ec2:Vpc", &vpc);
        let mut needs = vec![instance, volume, interface, image, subnet];
        needs.extend(launch.groups.iter().map(|group| {
            run(arn("ec2", &format!("security-group/{group}")))
                .with("ec2:IsLaunchTemplateResource", launch.groups_of_template.to_string())
                .with("ec2:SecurityGroupID", group)
                .with("ec2:Vpc", &vpc)
        }));
        needs.extend(launch.key.iter().map(|key| run(arn("ec2", &format!("key-pair/{key}")))));
        if let Some((id, own)) = self.template_itself(query).await? {
            let template = arn("ec2", &format!("launch-template/{id}"));
            needs.push(run(template.clone()).and(&resource_tags(&own)));
            for need in &mut needs {
                need.context
                    .insert("ec2:LaunchTemplate".to_owned(), vec![template.clone()]);
            }
        }
        needs.extend(tagging("RunInstances", tags));
        if let Some(profile) = &launch.profile {
            let pass = Need::new("iam:PassRole", &profile.role_arn);
            needs.push(pass.with("iam:PassedToService", "ec2.amazonaws.com"));
        }
        if let Some(name) = &launch.image_parameter {
            needs.push(Need::new("ssm:GetParameters", parameter(name)));
        }
        Ok(needs)
    }
}

/// Making something of this type.
fn made(action: &str, resource_type: &str, tags: &BTreeMap<String, Tags>) -> Need {
    let need = Need::new(format!("ec2:{action}"), all(resource_type));
    match tags.get(resource_type) {
        Some(tags) => need.and(&request_tags(tags)),
        None => need,
    }
}

/// Tagging what is being made is a right of its own.
fn tagging(action: &str, tags: &BTreeMap<String, Tags>) -> impl Iterator<Item = Need> {
    let tagged = tags.iter().filter(|(_, tags)| !tags.is_empty());
    tagged.map(move |(resource_type, tags)| {
        Need::new("ec2:CreateTags", all(resource_type))
            .with("ec2:CreateAction", action)
            .and(&request_tags(tags))
    })
}

fn request_tags(tags: &Tags) -> Context {
    let mut context: Context = tags
        .iter()
        .map(|(key, value)| (format!("aws:RequestTag/{key}"), vec![value.clone()]))
        .collect();
    if !tags.is_empty() {
        context.insert("aws:TagKeys".to_owned(), tags.keys().cloned().collect());
    }
    context
}

fn resource_tags(tags: &Tags) -> Context {
    let pairs = tags.iter().flat_map(|(key, value)| {
        ["aws", "ec2"].map(|prefix| (format!("{prefix}:ResourceTag/{key}"), vec![value.clone()]))
    });
    pairs.collect()
}

/// The ARN of a thing by its id.
fn arn_of(id: &str) -> String {
    let resource_type = match id.split('-').next() {
        Some("i") => "instance",
        Some("vol") => "volume",
        Some("snap") => "snapshot",
        _ => "image",
    };
    resource(resource_type, id)
}

/// The ARN of what does not exist yet.
fn all(resource_type: &str) -> String {
    resource(resource_type, "*")
}

/// Images and snapshots may be shared: their ARNs name no account.
fn resource(resource_type: &str, id: &str) -> String {
    let account = match resource_type {
        "image" | "snapshot" => "",
        _ => ACCOUNT,
    };
    format!("arn:aws:ec2:{REGION}:{account}:{resource_type}/{id}")
}
