//! The server's volumes: the builds volumes of the release that it serves, and of those that it still lets go of.

use anyhow::{Context, Result};
use aws_sdk_ec2::types::{Instance, Volume};
use contract::release::Release;
use contract::tags;

use crate::tagging::Tags;
use crate::volumes::NewVolume;
use crate::{Aws, cleanup, instances, volumes};

/// Device names that are asked for, in order. The agent does not use them: it finds volumes by id.
const DEVICES: std::ops::RangeInclusive<char> = 'f'..='z';

/// What letting go of older releases came to.
#[derive(Debug)]
pub(super) enum LetGo {
    /// None is left.
    Done,
    /// Something is under way.
    Waiting(String),
}

/// The server's volumes, earliest first. An instance's own root volume has the same tags, but no release.
pub(super) async fn find(aws: &Aws) -> Result<Vec<Volume>> {
    let mut found = volumes::find(aws, &Tags::server(aws)).await?;
    found.retain(|volume| volumes::tag(volume, tags::SERVES).is_some());
    Ok(found)
}

/// Ids of the server's volumes that are attached to this instance.
pub(super) async fn attached(aws: &Aws, instance: &str) -> Result<Vec<String>> {
    let found = find(aws).await?;
    let here = found
        .iter()
        .filter(|volume| volumes::attached(volume) == Some((instance, true)));
    Ok(here.map(|volume| volumes::id(volume).to_owned()).collect())
}

/// One step towards the release's builds volumes being attached: their ids in shard order, or what is waited for.
pub(super) async fn ensure(
    aws: &Aws,
    release: &Release,
    server: &Instance,
    step: &[&str],
) -> Result<Result<Vec<String>, String>> {
    let found = find(aws).await?;
    let zone = instances::zone(server);
    let mut wanted = Vec::new();
    let mut waiting = Vec::new();
    let mut taken = devices_in_use(server, &found);
    for (shard, pair) in release.shards.iter().enumerate() {
        let shard = shard.to_string();
        let is_it = |volume: &&Volume| {
            volumes::zone(volume) == zone
                && volumes::tag(volume, tags::SERVES) == Some(release.release.as_str())
                && volumes::tag(volume, tags::SHARD) == Some(shard.as_str())
        };
        let Some(volume) = found.iter().find(is_it) else {
            let snapshot = pair.builds.as_deref();
            let snapshot = snapshot.with_context(|| format!("{} has no builds of shard {shard}", release.release))?;
            let token: Vec<&str> = ["mount", &release.release, &shard]
                .into_iter()
                .chain(step.iter().copied())
                .collect();
            let new = NewVolume {
                zone,
                // As large as its snapshot: nothing is written to it.
                gib: None,
                snapshot: Some(snapshot),
                tags: Tags::server(aws)
                    .with(tags::SERVES, &release.release)
                    .with(tags::SHARD, &shard),
                token: &token,
            };
            let made = volumes::create(aws, &new).await?;
            waiting.push(format!("{} is being made", volumes::id(&made)));
            continue;
        };
        wanted.push(volumes::id(volume).to_owned());
        waiting.extend(attach(aws, volume, instances::id(server), &mut taken).await?);
    }
    Ok(if waiting.is_empty() {
        Ok(wanted)
    } else {
        Err(waiting.join(", "))
    })
}

/// One step towards a volume being attached; none when it is.
async fn attach(aws: &Aws, volume: &Volume, instance: &str, taken: &mut Vec<String>) -> Result<Option<String>> {
    let id = volumes::id(volume);
    match volumes::attached(volume) {
        Some((at, true)) if at == instance => return Ok(None),
        Some((at, false)) if at == instance => {}
        Some((at, _)) => {
            volumes::free(aws, volume).await?;
            return Ok(Some(format!("{id} is still attached to {at}")));
        }
        None if volumes::available(volume) => {
            let mut names = DEVICES.map(|letter| format!("/dev/sd{letter}"));
            let Some(device) = names.find(|name| !taken.contains(name)) else {
                return Ok(Some(format!(
                    "no device name of {instance} is free for {id} until an older release is drained"
                )));
            };
            let finished = volumes::attach(aws, id, instance, &device).await?;
            taken.push(device);
            if finished {
                return Ok(None);
            }
        }
        None if volumes::failed(volume) => {
            volumes::delete(aws, volume).await?;
            return Ok(Some(format!("{id} could not be made, another one is")));
        }
        None => return Ok(Some(format!("{id} is {}", volumes::state(volume)))),
    }
    Ok(Some(format!("{id} is being attached")))
}

/// Takes back the volumes that are still being attached, so that the next execution attaches them anew: EC2 may never end it.
pub(super) async fn give_up_attaching(aws: &Aws) -> Result<()> {
    for volume in find(aws).await? {
        if let Some((instance, false)) = volumes::attached(&volume) {
            volumes::detach(aws, volumes::id(&volume), instance, true).await?;
        }
    }
    Ok(())
}

fn devices_in_use(server: &Instance, found: &[Volume]) -> Vec<String> {
    let of_server = server
        .block_device_mappings()
        .iter()
        .filter_map(|mapping| mapping.device_name());
    let of_volumes = found.iter().flat_map(|volume| volume.attachments());
    let here = of_volumes.filter(|attachment| attachment.instance_id() == server.instance_id());
    of_server
        .chain(here.filter_map(|attachment| attachment.device()))
        .map(str::to_owned)
        .collect()
}

/// One step towards nothing but the volumes that stay, which is asked with a volume's release and whether it is at this
/// instance. What the server still has mounted is not touched.
pub(super) async fn drop_others(
    aws: &Aws,
    instance: &str,
    mounted: &[String],
    stays: impl Fn(&str, bool) -> bool,
) -> Result<LetGo> {
    let mut left = Vec::new();
    for volume in find(aws).await? {
        let of = volumes::tag(&volume, tags::SERVES).unwrap_or_default();
        let here = volumes::attached(&volume).map(|(at, _)| at == instance);
        if stays(of, here == Some(true)) {
            continue;
        }
        let id = volumes::id(&volume);
        match here {
            None if volumes::deletable(&volume) => {
                volumes::delete(aws, &volume).await?;
                continue;
            }
            Some(true) if mounted.iter().any(|mounted| mounted == of) => {
                left.push(format!("{instance} lets go of {of}"));
                continue;
            }
            Some(true) => volumes::detach(aws, id, instance, false).await?,
            Some(false) => drop(volumes::free(aws, &volume).await?),
            None => {}
        }
        left.push(format!("{id} is being freed"));
    }
    Ok(if left.is_empty() {
        LetGo::Done
    } else {
        LetGo::Waiting(left.join(", "))
    })
}

/// Those that are to go when there is no server: without what a person holds, and what hangs on an instance that is held.
pub(super) async fn to_delete(aws: &Aws) -> Result<Vec<Volume>> {
    cleanup::ours(aws, find(aws).await?).await
}

/// One step towards none of them. Gives the ids of those that are left.
pub(super) async fn delete_all(aws: &Aws) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for volume in to_delete(aws).await? {
        if volumes::free(aws, &volume).await? {
            volumes::delete(aws, &volume).await?;
        } else {
            left.push(volumes::id(&volume).to_owned());
        }
    }
    Ok(left)
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::operation::describe_volumes::DescribeVolumesOutput;
    use aws_sdk_ec2::operation::detach_volume::DetachVolumeOutput;
    use aws_sdk_ec2::types::{Tag, VolumeAttachment, VolumeAttachmentState, VolumeState};
    use aws_smithy_mocks::{Rule, mock};
    use contract::release::Pair;

    use super::*;
    use crate::testing;

    fn volume(of: &str) -> aws_sdk_ec2::types::builders::VolumeBuilder {
        let tag = |key, value| Tag::builder().key(key).value(value).build();
        Volume::builder()
            .volume_id(format!("vol-{of}"))
            .availability_zone("a")
            .tags(tag(tags::SERVES, of))
            .tags(tag(tags::SHARD, "0"))
    }

    fn attachment(instance: &str, device: &str) -> VolumeAttachment {
        VolumeAttachment::builder()
            .instance_id(instance)
            .device(device)
            .state(VolumeAttachmentState::Attached)
            .build()
    }

    /// The only volume of a release, at this instance.
    pub(crate) fn attached(of: &str, instance: &str) -> Volume {
        let volume = volume(of).state(VolumeState::InUse);
        volume.attachments(attachment(instance, "/dev/sdf")).build()
    }

    /// Finds these volumes.
    pub(crate) fn volumes(found: Vec<Volume>) -> Rule {
        mock!(Client::describe_volumes).then_output(move || {
            DescribeVolumesOutput::builder()
                .set_volumes(Some(found.clone()))
                .build()
        })
    }

    #[tokio::test]
    async fn only_what_is_still_being_attached_is_given_up() {
        let attaching = VolumeAttachment::builder()
            .instance_id("i-1")
            .state(VolumeAttachmentState::Attaching)
            .build();
        let attaching = volume("b-00002").attachments(attaching).build();
        let look = volumes(vec![attached("b-00001", "i-1"), attaching]);
        let detach = mock!(Client::detach_volume)
            .match_requests(|request| request.volume_id() == Some("vol-b-00002"))
            .then_output(|| DetachVolumeOutput::builder().build());
        give_up_attaching(&testing::aws(&[&look, &detach], &[])).await.unwrap();
        assert_eq!(detach.num_calls(), 1);
    }

    #[tokio::test]
    async fn a_volume_waits_until_a_device_name_is_free() {
        let names = DEVICES.map(|letter| attachment("i-1", &format!("/dev/sd{letter}")));
        let others = volume("b-00001").state(VolumeState::InUse);
        let others = others.set_attachments(Some(names.collect())).build();
        let new = volume("b-00003").state(VolumeState::Available).build();
        let aws = testing::aws(&[&volumes(vec![others, new])], &[]);
        let mut release = testing::release("b-00003");
        release.shards.push(Pair {
            sources: None,
            builds: Some("snap-1".to_owned()),
        });
        let placement = aws_sdk_ec2::types::Placement::builder().availability_zone("a").build();
        let server = Instance::builder().instance_id("i-1").placement(placement).build();
        let waited = ensure(&aws, &release, &server, &["serve-7", "0"]).await.unwrap();
        assert!(waited.unwrap_err().contains("until an older release is drained"));
    }
}
