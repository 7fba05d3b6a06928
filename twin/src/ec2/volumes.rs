//! Volumes: made, described, grown, attached, detached, deleted.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::query::{Filtered, Query, Tags, passes};
use super::refusal::{Outcome, Refusal};
use super::state::{Attachment, Phase, Stage, Volume, new_id};
use super::{Ec2, Reply, SETTLES, stamp, tag_set};
use crate::REGION;
use crate::faults::Spoilt;
use crate::xml::{leaf, maybe, node, set};

/// AWS's largest, in GiB; the files are sparse.
const LARGEST: u32 = 16384;
/// How often it is tried again to take a volume from an instance that has it mounted.
const DETACH_AGAIN: Duration = Duration::from_millis(100);

impl Ec2 {
    pub(super) fn create_volume(self: &Arc<Self>, query: Query<'_>, spoilt: Spoilt) -> Outcome<Reply> {
        let (token, digest) = (query.get("ClientToken"), query.digest());
        let zone = query.need("AvailabilityZone")?;
        if !zone
            .strip_prefix(REGION)
            .is_some_and(|letter| matches!(letter.as_bytes(), [b'a'..=b'f']))
        {
            return Err(Refusal::new(
                "InvalidZone.NotFound",
                format!("The zone '{zone}' does not exist."),
            ));
        }
        let size: Option<u32> = query.parsed("Size")?;
        let snapshot = query.get("SnapshotId");
        let (volume, new) = self.change(|state| {
            if let Some(ids) = state.replay("CreateVolume", token, &digest)? {
                let volume = state.volume(ids.first().map(String::as_str).unwrap_or_default())?;
                return Ok((volume.clone(), false));
            }
            let (least, encrypted) = match snapshot {
                Some(id) => {
                    let snapshot = state.snapshot(id)?;
                    if snapshot.status != "completed" {
                        return Err(Refusal::state(format!("Snapshot '{id}' is {}", snapshot.status)));
                    }
                    (snapshot.size, snapshot.encrypted)
                }
                None if size.is_none() => return Err(Refusal::new("MissingParameter", "Size or SnapshotId is needed")),
                None => (1, false),
            };
            let size = size.unwrap_or(least);
            if size < least || size > LARGEST {
                return Err(Refusal::invalid(format!(
                    "Volume of {size}GiB is not from {least} to {LARGEST}"
                )));
            }
            let volume = Volume {
                id: new_id("vol-"),
                size,
                zone: zone.to_owned(),
                snapshot: snapshot.map(str::to_owned),
                volume_type: query.get("VolumeType").unwrap_or("gp2").to_owned(),
                iops: query.parsed("Iops")?,
                throughput: query.parsed("Throughput")?,
                encrypted: query.parsed("Encrypted")?.unwrap_or(encrypted),
                status: "creating".to_owned(),
                created: OffsetDateTime::now_utc(),
                attachment: None,
                tags: query.tag_specification("volume"),
            };
            state.volumes.insert(volume.id.clone(), volume.clone());
            state.remember("CreateVolume", token, &digest, vec![volume.id.clone()]);
            Ok((volume, true))
        })?;
        let made = if new { vec![volume.id.clone()] } else { Vec::new() };
        let inner = volume_xml(&volume);
        if new {
            tokio::spawn(Arc::clone(self).make(volume, spoilt));
        }
        Ok(Reply { inner, made })
    }

    async fn make(self: Arc<Self>, volume: Volume, spoilt: Spoilt) {
        let made = self
            .machines
            .create_volume(&volume.id, volume.size, volume.snapshot.as_deref())
            .await;
        tokio::time::sleep(SETTLES + spoilt.slow).await;
        if let Err(error) = &made {
            tracing::error!("{}: {error:#}", volume.id);
        }
        self.settle(|state| {
            if let Some(volume) = state.volumes.get_mut(&volume.id) {
                let usable = made.is_ok() && !spoilt.broken;
                volume.status = if usable { "available" } else { "error" }.to_owned();
            }
        });
    }

    pub(super) fn describe_volumes(&self, query: Query<'_>) -> Outcome<Reply> {
        let (ids, filters) = (query.list("VolumeId"), query.filters());
        self.look(|state| {
            for id in &ids {
                state.volume(id)?;
            }
            let mut found = Vec::new();
            for volume in state.volumes.values() {
                if (ids.is_empty() || ids.contains(&volume.id.as_str())) && passes(volume, &filters)? {
                    found.push(volume);
                }
            }
            let (page, token) = query.page(found, |volume| volume.id.clone())?;
            Ok(Reply::of(
                set("volumeSet", page.into_iter().map(volume_xml)) + &maybe("nextToken", token),
            ))
        })
    }

    pub(super) async fn modify_volume(&self, query: Query<'_>) -> Outcome<Reply> {
        let id = query.need("VolumeId")?;
        let size: Option<u32> = query.parsed("Size")?;
        let before = self.look(|state| state.volume(id).map(|volume| volume.clone()))?;
        let size = size.unwrap_or(before.size);
        if !matches!(before.status.as_str(), "available" | "in-use") {
            return Err(Refusal::state(format!("Volume {id} is {}", before.status)));
        }
        if size < before.size || size > LARGEST {
            return Err(Refusal::invalid(format!(
                "New size {size} is not from {} to {LARGEST}",
                before.size
            )));
        }
        self.machines
            .modify_volume(id, size)
            .await
            .map_err(|error| Refusal::internal(&error))?;
        self.change(|state| {
            let volume = state.volume(id)?;
            volume.size = size;
            if let Some(volume_type) = query.get("VolumeType") {
                volume.volume_type = volume_type.to_owned();
            }
            Ok(())
        })?;
        let fields = [
            leaf("volumeId", id),
            leaf("modificationState", "optimizing"),
            leaf("originalSize", before.size),
            leaf("targetSize", size),
            leaf("progress", 100),
            leaf("startTime", stamp(OffsetDateTime::now_utc())),
        ];
        Ok(Reply::of(node("volumeModification", &fields.concat())))
    }

    pub(super) fn attach_volume(self: &Arc<Self>, query: Query<'_>, spoilt: Spoilt) -> Outcome<Reply> {
        let (id, instance_id, device) = (
            query.need("VolumeId")?,
            query.need("InstanceId")?,
            query.need("Device")?,
        );
        let attachment = self.change(|state| {
            let instance = state.instance(instance_id)?.clone();
            let in_use = |volume: &&Volume| {
                volume
                    .attachment
                    .as_ref()
                    .is_some_and(|a| a.instance == instance_id && a.device == device)
            };
            let taken = state.volumes.values().find(in_use).map(|volume| volume.id.clone());
            let volume = state.volume(id)?;
            if volume.status == "in-use" {
                return Err(Refusal::new(
                    "VolumeInUse",
                    format!("{id} is already attached to an instance"),
                ));
            }
            if volume.status != "available" {
                return Err(Refusal::state(format!("{id} is not 'available'.")));
            }
            if instance.phase != Phase::Running {
                return Err(Refusal::state(format!("Instance '{instance_id}' is not 'running'.")));
            }
            if instance.zone != volume.zone {
                let message =
                    format!("The volume '{id}' is not in the same availability zone as instance '{instance_id}'");
                return Err(Refusal::new("InvalidVolume.ZoneMismatch", message));
            }
            if let Some(taken) = taken {
                return Err(Refusal::invalid(format!(
                    "Attachment point {device} is already in use by {taken}"
                )));
            }
            let attachment = Attachment {
                instance: instance_id.to_owned(),
                device: device.to_owned(),
                state: Stage::Attaching,
                since: OffsetDateTime::now_utc(),
            };
            volume.status = "in-use".to_owned();
            volume.attachment = Some(attachment.clone());
            Ok(attachment)
        })?;
        let inner = attachment_xml(id, &attachment);
        if !spoilt.broken {
            tokio::spawn(Arc::clone(self).attach(id.to_owned(), attachment, spoilt.slow));
        }
        Ok(Reply::of(inner))
    }

    async fn attach(self: Arc<Self>, id: String, attachment: Attachment, later: Duration) {
        tokio::time::sleep(later).await;
        let result = self.machines.attach(&attachment.instance, &id).await;
        if let Err(error) = &result {
            tracing::error!("{id} does not attach: {error:#}");
        }
        self.settle(|state| {
            let Some(volume) = state.volumes.get_mut(&id) else {
                return;
            };
            // The instance may have ended meanwhile, and the volume with it become available.
            let Some(current) = volume
                .attachment
                .as_mut()
                .filter(|current| current.since == attachment.since)
            else {
                return;
            };
            if result.is_ok() {
                current.state = Stage::Attached;
            } else {
                volume.attachment = None;
                volume.status = "available".to_owned();
            }
        });
    }

    pub(super) fn detach_volume(self: &Arc<Self>, query: Query<'_>) -> Outcome<Reply> {
        let id = query.need("VolumeId")?;
        let instance = query.get("InstanceId");
        let (attachment, started) = self.change(|state| {
            let volume = state.volume(id)?;
            let status = volume.status.clone();
            let Some(attachment) = volume.attachment.as_mut() else {
                return Err(Refusal::state(format!("Volume '{id}' is in the '{status}' state.")));
            };
            if let Some(other) = instance.filter(|instance| *instance != attachment.instance) {
                let message = format!("The volume '{id}' is not attached to instance '{other}'.");
                return Err(Refusal::new("InvalidAttachment.NotFound", message));
            }
            let started = attachment.state != Stage::Detaching;
            attachment.state = Stage::Detaching;
            Ok((attachment.clone(), started))
        })?;
        if started {
            tokio::spawn(Arc::clone(self).detach(id.to_owned(), attachment.clone()));
        }
        Ok(Reply::of(attachment_xml(id, &attachment)))
    }

    /// Stays `detaching` as long as the instance uses the volume, as in AWS.
    async fn detach(self: Arc<Self>, id: String, attachment: Attachment) {
        while let Err(error) = self.machines.detach(&attachment.instance, &id).await {
            tracing::debug!("{id} stays: {error:#}");
            tokio::time::sleep(DETACH_AGAIN).await;
        }
        self.settle(|state| {
            let Some(volume) = state.volumes.get_mut(&id) else {
                return;
            };
            if volume
                .attachment
                .as_ref()
                .is_some_and(|current| current.since == attachment.since)
            {
                volume.attachment = None;
                volume.status = "available".to_owned();
            }
        });
    }

    pub(super) fn delete_volume(self: &Arc<Self>, query: Query<'_>) -> Outcome<Reply> {
        let id = query.need("VolumeId")?;
        self.change(|state| {
            let volume = state.volume(id)?;
            match volume.status.as_str() {
                "available" | "error" => volume.status = "deleting".to_owned(),
                "in-use" => {
                    let instance = volume
                        .attachment
                        .as_ref()
                        .map(|a| a.instance.as_str())
                        .unwrap_or_default();
                    return Err(Refusal::new(
                        "VolumeInUse",
                        format!("Volume {id} is currently attached to {instance}"),
                    ));
                }
                status => return Err(Refusal::state(format!("Volume {id} is {status}"))),
            }
            Ok(())
        })?;
        let (ec2, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            let result = ec2.machines.delete_volume(&id).await;
            ec2.settle(|state| match result {
                Ok(()) => {
                    state.volumes.remove(&id);
                }
                Err(error) => {
                    tracing::error!("{id} cannot be deleted: {error:#}");
                    if let Some(volume) = state.volumes.get_mut(&id) {
                        volume.status = "error".to_owned();
                    }
                }
            });
        });
        Ok(Reply::done())
    }
}

impl Filtered for Volume {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        let attachment = |field: fn(&Attachment) -> String| self.attachment.iter().map(field).collect();
        Some(match name {
            "volume-id" => vec![self.id.clone()],
            "status" => vec![self.status.clone()],
            "size" => vec![self.size.to_string()],
            "availability-zone" => vec![self.zone.clone()],
            "snapshot-id" => self.snapshot.iter().cloned().collect(),
            "volume-type" => vec![self.volume_type.clone()],
            "attachment.instance-id" => attachment(|attachment| attachment.instance.clone()),
            "attachment.device" => attachment(|attachment| attachment.device.clone()),
            "attachment.status" => attachment(|attachment| attachment.state.as_str().to_owned()),
            _ => return None,
        })
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

fn volume_xml(volume: &Volume) -> String {
    let attachments = volume
        .attachment
        .iter()
        .map(|attachment| attachment_xml(&volume.id, attachment));
    [
        leaf("volumeId", &volume.id),
        leaf("size", volume.size),
        leaf("snapshotId", volume.snapshot.as_deref().unwrap_or_default()),
        leaf("availabilityZone", &volume.zone),
        leaf("status", &volume.status),
        leaf("createTime", stamp(volume.created)),
        set("attachmentSet", attachments),
        tag_set(&volume.tags),
        leaf("volumeType", &volume.volume_type),
        maybe("iops", volume.iops),
        maybe("throughput", volume.throughput),
        leaf("encrypted", volume.encrypted),
    ]
    .concat()
}

fn attachment_xml(volume: &str, attachment: &Attachment) -> String {
    [
        leaf("volumeId", volume),
        leaf("instanceId", &attachment.instance),
        leaf("device", &attachment.device),
        leaf("status", attachment.state.as_str()),
        leaf("attachTime", stamp(attachment.since)),
        leaf("deleteOnTermination", false),
    ]
    .concat()
}
