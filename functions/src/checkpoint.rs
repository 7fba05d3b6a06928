//! The checkpoint: keeps the unpublished work of a build that ends, for the next one to start from.

use anyhow::Result;
use aws_sdk_ec2::types::Volume;
use contract::fault::Name;
use contract::job::Kind;
use contract::plan::{Plan, ShardPlan};
use contract::release::{Checkpoint, Pair};
use contract::status::Status;
use contract::{objects, tags};

use crate::fault::Fault;
use crate::snapshots::For;
use crate::tagging::Tags;
use crate::{Aws, snapshots, store, volumes};

/// The volumes of a shard.
const KINDS: [Kind; 2] = [Kind::Sources, Kind::Builds];

/// The attempt in the tags of a snapshot that is made after the last one: later than any that a move between zones made.
const AFTER_THE_LAST: &str = "over";

/// One step towards a checkpoint of these volumes of the build, none of them in use. True when there is nothing left to
/// wait for.
pub(crate) async fn keep(aws: &Aws, plan: &Plan, found: &[Volume]) -> Result<bool> {
    let mut shards = Vec::new();
    let (mut is_new, mut waiting) = (false, false);
    for shard in &plan.shards {
        let mut pair = Pair {
            sources: shard.sources.snapshot.clone(),
            builds: shard.builds.snapshot.clone(),
        };
        // What one volume has lost, the other is of no use for: its files have other times.
        let is_lost = |kind| newest(found, shard, kind).is_some_and(volumes::failed);
        if has_worked(aws, plan, shard.shard).await? && !KINDS.into_iter().any(is_lost) {
            is_new = true;
            // A kind without a volume was not worked on: what it started from still belongs to the other.
            for kind in KINDS {
                let Some(volume) = newest(found, shard, kind) else {
                    continue;
                };
                match of_volume(aws, &plan.build, shard.shard, kind, volumes::id(volume)).await {
                    Ok(snapshot) => *side(&mut pair, kind) = Some(snapshot),
                    Err(error) => waiting |= may_wait(error)?,
                }
            }
        }
        shards.push(pair.sources.is_some().then_some(pair));
    }
    if waiting {
        return Ok(false);
    }
    if is_new {
        let checkpoint = Checkpoint {
            build: plan.build.clone(),
            shards,
        };
        store::put(aws, objects::CHECKPOINT, &checkpoint).await?;
    }
    Ok(true)
}

/// Some attempt of the shard has fetched or encoded something.
async fn has_worked(aws: &Aws, plan: &Plan, shard: u32) -> Result<bool> {
    for attempt in 1..=plan.attempts {
        let status: Option<Status> = store::find(aws, &objects::status(&plan.build, shard, attempt)).await?;
        let worked = |status: Status| status.bytes.done > 0 || status.profiles.values().any(|tracks| tracks.done > 0);
        if status.is_some_and(worked) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn newest<'a>(found: &'a [Volume], shard: &ShardPlan, kind: Kind) -> Option<&'a Volume> {
    let number = shard.shard.to_string();
    let is_it = |volume: &&Volume| {
        volumes::tag(volume, tags::SHARD) == Some(&number) && volumes::tag(volume, tags::ROLE) == Some(kind.as_str())
    };
    found.iter().rfind(is_it)
}

fn side(pair: &mut Pair, kind: Kind) -> &mut Option<String> {
    match kind {
        Kind::Sources => &mut pair.sources,
        Kind::Builds => &mut pair.builds,
    }
}

/// The snapshot of a volume that nobody writes to any more; the one for the release if its shard got that far.
async fn of_volume(aws: &Aws, build: &str, shard: u32, kind: Kind, volume: &str) -> Result<String> {
    let of_kind = Tags::shard(aws, build, shard).with(tags::ROLE, kind.as_str());
    let for_release = of_kind.clone().with(tags::KIND, tags::RELEASE);
    let found = snapshots::find(aws, &for_release).await?;
    let tags = match found.iter().any(|snapshot| snapshot.volume_id() == Some(volume)) {
        true => for_release,
        false => of_kind
            .with(tags::ATTEMPT, AFTER_THE_LAST)
            .with(tags::KIND, tags::CHECKPOINT),
    };
    snapshots::ensure(aws, volume, &tags, For::CleanUp).await
}

/// True for what another step may cure.
fn may_wait(error: anyhow::Error) -> Result<bool, Fault> {
    let fault = Fault::from(error);
    match fault.name {
        Name::NotReady | Name::SnapshotFailed => Ok(true),
        _ => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{Tag, VolumeState};
    use aws_sdk_s3::Client;
    use aws_sdk_s3::operation::get_object::GetObjectOutput;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::testing;

    fn volume(kind: Kind, state: VolumeState) -> Volume {
        let tag = |key, value: &str| Tag::builder().key(key).value(value).build();
        Volume::builder()
            .volume_id(kind.as_str())
            .state(state)
            .tags(tag(tags::SHARD, "0"))
            .tags(tag(tags::ROLE, kind.as_str()))
            .build()
    }

    #[tokio::test]
    async fn work_that_has_lost_one_of_its_volumes_is_no_checkpoint() {
        let worked = mock!(Client::get_object).then_output(|| {
            let body = r#"{"build": "b-00002", "shard": 0, "attempt": 1, "instance": "i-1", "sequence": 1, "step": "sync",
                "profiles": {}, "bytes": {"done": 1, "total": 1}, "clean": false, "warnings": []}"#;
            GetObjectOutput::builder()
                .body(body.as_bytes().to_vec().into())
                .build()
        });
        let volumes = [
            volume(Kind::Sources, VolumeState::Error),
            volume(Kind::Builds, VolumeState::Available),
        ];
        // Neither a snapshot nor the checkpoint object is asked for: that would panic.
        let aws = testing::aws(&[], &[&worked]);
        assert!(keep(&aws, &testing::plan(1, &KINDS), &volumes).await.unwrap());
    }
}
