//! Volumes: found by tag, made, attached, freed, deleted.

use anyhow::{Context, Result};
use aws_sdk_ec2::types::{ResourceType, Tag, Volume, VolumeAttachmentState, VolumeState, VolumeType};

use crate::Aws;
use crate::fault::{Refusal, not_ready, unless_absent, unless_conflict};
use crate::tagging::{Tags, held};
use crate::{instances, tagging};

/// What a volume is made as.
#[derive(Debug)]
pub(crate) struct NewVolume<'a> {
    pub(crate) zone: &'a str,
    /// Size in GiB; none takes the snapshot's.
    pub(crate) gib: Option<u32>,
    pub(crate) snapshot: Option<&'a str>,
    pub(crate) tags: Tags,
    /// What makes the client token, besides zone and snapshot.
    pub(crate) token: &'a [&'a str],
}

/// Volumes with these tags that are not about to vanish, earliest first.
pub(crate) async fn find(aws: &Aws, tags: &Tags) -> Result<Vec<Volume>> {
    let request = aws.ec2.describe_volumes().set_filters(tags.filters());
    let found = request.into_paginator().items().send().try_collect().await;
    let mut found: Vec<Volume> = found.map_err(Refusal::from).context("looking for volumes")?;
    found.retain(|volume| !matches!(volume.state(), Some(VolumeState::Deleting | VolumeState::Deleted)));
    let created = |volume: &Volume| volume.create_time().map_or(0, aws_smithy_types::DateTime::secs);
    found.sort_by_key(|volume| (created(volume), id(volume).to_owned()));
    Ok(found)
}

/// A volume's id.
pub(crate) fn id(volume: &Volume) -> &str {
    volume.volume_id().unwrap_or_default()
}

/// Where it is.
pub(crate) fn zone(volume: &Volume) -> &str {
    volume.availability_zone().unwrap_or_default()
}

/// It may be attached, snapshotted as it is, or deleted.
pub(crate) fn available(volume: &Volume) -> bool {
    volume.state() == Some(&VolumeState::Available)
}

/// EC2 could not make it, or has lost what it held: it can only be deleted.
pub(crate) fn failed(volume: &Volume) -> bool {
    volume.state() == Some(&VolumeState::Error)
}

/// It may be deleted.
pub(crate) fn deletable(volume: &Volume) -> bool {
    available(volume) || failed(volume)
}

/// The value of a tag.
pub(crate) fn tag<'a>(volume: &'a Volume, key: &str) -> Option<&'a str> {
    tagging::value(volume.tags(), key)
}

/// The instance that it is attached to, and whether attaching is finished.
pub(crate) fn attached(volume: &Volume) -> Option<(&str, bool)> {
    let attachment = volume
        .attachments()
        .iter()
        .find(|a| a.state() != Some(&VolumeAttachmentState::Detached))?;
    Some((
        attachment.instance_id()?,
        attachment.state() == Some(&VolumeAttachmentState::Attached),
    ))
}

/// Makes a volume: encrypted, of the type whose speed does not depend on its size.
pub(crate) async fn create(aws: &Aws, new: &NewVolume<'_>) -> Result<Volume> {
    let parts: Vec<&str> = new
        .token
        .iter()
        .copied()
        .chain([new.zone, new.snapshot.unwrap_or("blank")])
        .collect();
    let request = aws
        .ec2
        .create_volume()
        .availability_zone(new.zone)
        .set_size(new.gib.map(i32::try_from).transpose()?)
        .set_snapshot_id(new.snapshot.map(str::to_owned))
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .client_token(tagging::token(aws, &parts))
        .tag_specifications(new.tags.specification(ResourceType::Volume));
    let made = request.send().await.map_err(Refusal::from);
    let made = made.with_context(|| {
        format!(
            "creating a volume in {} from {}",
            new.zone,
            new.snapshot.unwrap_or("nothing")
        )
    })?;
    let tags: Vec<Tag> = made.tags.unwrap_or_default();
    Ok(Volume::builder()
        .set_volume_id(made.volume_id)
        .set_availability_zone(made.availability_zone)
        .set_state(made.state)
        .set_size(made.size)
        .set_snapshot_id(made.snapshot_id)
        .set_tags(Some(tags))
        .build())
}

/// Attaches an available volume to a running instance, under this device name. True if that is finished at once; false
/// also if one of the two is not in the state for it any more: the next look says why.
pub(crate) async fn attach(aws: &Aws, volume: &str, instance: &str, device: &str) -> Result<bool> {
    tracing::info!(volume, instance, device, "attaching");
    let request = aws
        .ec2
        .attach_volume()
        .volume_id(volume)
        .instance_id(instance)
        .device(device)
        .send()
        .await;
    let answer = unless_conflict(request.map_err(Refusal::from))
        .with_context(|| format!("attaching {volume} to {instance} as {device}"))?;
    Ok(answer.is_some_and(|answer| answer.state() == Some(&VolumeAttachmentState::Attached)))
}

/// Detaches a volume from an instance; one that is not attached is detached. `force` only when nobody writes
/// to it: the instance is terminated, or never had it.
pub(crate) async fn detach(aws: &Aws, volume: &str, instance: &str, force: bool) -> Result<()> {
    tracing::info!(volume, instance, force, "detaching");
    let request = aws
        .ec2
        .detach_volume()
        .volume_id(volume)
        .instance_id(instance)
        .force(force)
        .send()
        .await;
    let absent = unless_absent(request.map_err(Refusal::from)).map(drop);
    unless_conflict(absent).with_context(|| format!("detaching {volume} from {instance}"))?;
    Ok(())
}

/// Frees a volume whose instance is over: EC2 does it by itself, unless it is stuck. True once it may be deleted.
pub(crate) async fn free(aws: &Aws, volume: &Volume) -> Result<bool> {
    if deletable(volume) {
        return Ok(true);
    }
    if let Some((instance, _)) = attached(volume) {
        let over = instances::look(aws, instance)
            .await?
            .is_none_or(|instance| instances::terminated(&instance));
        if over {
            detach(aws, id(volume), instance, true).await?;
        }
    }
    Ok(false)
}

/// The same for who cannot go on without.
///
/// # Errors
/// `NotReady` until it may be deleted.
pub(crate) async fn freed(aws: &Aws, volume: &Volume) -> Result<()> {
    if free(aws, volume).await? {
        return Ok(());
    }
    Err(not_ready(match attached(volume) {
        Some((instance, _)) => format!("{} is still attached to {instance}", id(volume)),
        None => format!("{} is {}", id(volume), state(volume)),
    }))
}

/// The volume's state, for people.
pub(crate) fn state(volume: &Volume) -> &str {
    volume.state().map_or("without a state", VolumeState::as_str)
}

/// Deletes a volume. One that is not there is deleted; one that a person holds stays, and one that is in use again.
pub(crate) async fn delete(aws: &Aws, volume: &Volume) -> Result<()> {
    if held(volume.tags()) {
        return Ok(());
    }
    tracing::info!(volume = id(volume), "deleting");
    let request = aws.ec2.delete_volume().volume_id(id(volume)).send().await;
    let absent = unless_absent(request.map_err(Refusal::from)).map(drop);
    unless_conflict(absent).with_context(|| format!("deleting {}", id(volume)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::error::ErrorMetadata;
    use aws_sdk_ec2::operation::attach_volume::AttachVolumeError;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn what_an_earlier_call_attached_is_looked_at_again() {
        let in_use = mock!(Client::attach_volume)
            .then_error(|| AttachVolumeError::generic(ErrorMetadata::builder().code("VolumeInUse").build()));
        let aws = testing::aws(&[&in_use], &[]);
        assert!(!attach(&aws, "vol-1", "i-1", "/dev/sdf").await.unwrap());
    }
}
