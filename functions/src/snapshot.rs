//! Makes the snapshot of a volume that an attempt has left clean.

use contract::fault::Name;
use contract::input::Only;
use contract::job::VolumeJob;
use contract::plan::Plan;
use contract::status::{Final, Status};
use contract::steps::{SnapshotInput, SnapshotOutput};
use contract::{objects, tags};

use crate::fault::{Fault, named};
use crate::snapshots::For;
use crate::tagging::Tags;
use crate::{Aws, ownership, snapshots, store};

/// One step towards a completed snapshot; `NotReady` until then.
///
/// What `only: sync` leaves is a checkpoint from the beginning: no release will name it.
pub async fn handle(aws: &Aws, input: SnapshotInput) -> Result<SnapshotOutput, Fault> {
    let SnapshotInput {
        build,
        shard,
        attempt,
        kind,
    } = &input;
    ownership::fence(aws, build).await?;
    let status: Option<Status> = store::find(aws, &objects::status(build, *shard, *attempt)).await?;
    if !status.is_some_and(|status| status.last == Some(Final::Done) && status.clean) {
        let message = format!(
            "attempt {attempt} of shard {shard} has not unmounted its {} volume cleanly",
            kind.as_str()
        );
        return Err(named(Name::NotClean, message));
    }
    let plan: Plan = store::read(aws, &objects::plan(build)).await?;
    let worth = if plan.input.only == Some(Only::Sync) {
        tags::CHECKPOINT
    } else {
        tags::RELEASE
    };
    let tags = Tags::shard(aws, build, *shard)
        .with(tags::ATTEMPT, &attempt.to_string())
        .with(tags::ROLE, kind.as_str())
        .with(tags::KIND, worth);
    let job: VolumeJob = store::read(aws, &objects::volume_job(build, *shard, *attempt, *kind)).await?;
    let snapshot = snapshots::ensure(aws, &job.volume, &tags, For::Build(build)).await?;
    Ok(SnapshotOutput { kind: *kind, snapshot })
}
