//! Ends a build: its instances, its volumes, its unneeded snapshots, and at last its hold on control.

use anyhow::{Result, bail};
use aws_sdk_ec2::types::{Instance, Volume};
use contract::fault::Name;
use contract::objects;
use contract::plan::Plan;
use contract::release::Checkpoint;
use contract::status::{Final, Status};
use contract::steps::{CleanupInput, CleanupOutput};
use contract::tags;

use crate::control::{self, Released};
use crate::fault::{Fault, named};
use crate::ownership::World;
use crate::store::Stored;
use crate::tagging::{Tags, held};
use crate::{Aws, checkpoint, estimate, instances, limits, ownership, prune, releases, store, tagging, times, volumes};

/// Rounds before clean-up counts as stuck. With a first wait of 15 s they last 17 hours, since waits grow: longer than
/// the first snapshot of a volume of many TiB. As events (9 a round) they leave most of a history to the polls.
pub const ROUNDS: u32 = 400;

/// Rounds after which the wait grows by its first value again.
const ROUNDS_PER_GROWTH: u32 = 20;

/// The longest wait between two rounds.
const LONGEST_WAIT_SECONDS: u32 = 300;

/// What one step found and did.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Ids that are still there, and why where it is not obvious.
    pub(crate) remaining: Vec<String>,
    /// Ids that it ended.
    pub(crate) removed: Vec<String>,
    /// A failed worker is kept for so long.
    kept_seconds: u32,
}

/// One bounded step: ends what can be ended now. Control is released when nothing remains.
///
/// A build that does not own control may have its leftovers ended too; only what an owner left is worth a checkpoint,
/// since a newer release may exist otherwise. What a person holds by tag stays and does not count.
pub async fn handle(aws: &Aws, input: CleanupInput) -> Result<CleanupOutput, Fault> {
    let step = close_and_release(aws, &input.build, &input.now, async |mine| {
        let step = end(aws, &input, mine).await?;
        Ok((step.remaining.is_empty(), step))
    });
    let step = step.await?;
    Ok(CleanupOutput {
        remaining: u32::try_from(step.remaining.len()).unwrap_or(u32::MAX),
        round: input.round + 1,
        wait_seconds: wait(aws.settings.wait_seconds, input.round).max(step.kept_seconds.min(LONGEST_WAIT_SECONDS)),
        removed: step.removed,
    })
}

/// Closes the build before anything of it is looked for, so that what is created later undoes itself, and releases control
/// when `end` (which is told whether the build is the owner) has found that nothing remains.
pub(crate) async fn close_and_release<Step>(
    world: &impl World,
    build: &str,
    now: &str,
    end: impl AsyncFnOnce(bool) -> Result<(bool, Step)>,
) -> Result<Step> {
    let mine = ownership::change(world, |control| control::close(control, build)).await?;
    let (nothing_remains, step) = end(mine).await?;
    if nothing_remains {
        release_control(world, build, now).await?;
    }
    Ok(step)
}

/// Ends what can be ended now.
async fn end(aws: &Aws, input: &CleanupInput, mine: bool) -> Result<Step> {
    let plan: Option<Plan> = store::find(aws, &objects::plan(&input.build)).await?;
    let now = times::seconds(&input.now)?;
    let mut step = Step::default();
    let tags = Tags::build(aws, &input.build);
    end_instances(aws, &tags, plan.as_ref(), now, &mut step).await?;
    if step.remaining.is_empty() {
        end_volumes(aws, &tags, plan.as_ref().filter(|_| mine), &mut step).await?;
    }
    if step.remaining.is_empty() {
        // Of all builds if this is the owner: its checkpoint may have replaced an older one.
        step.removed.extend(prune::unneeded_snapshots(aws, &input.build).await?);
    }
    if step.remaining.is_empty() {
        if let Some(plan) = &plan {
            estimate::write(aws, plan, now).await?;
            if mine {
                limits::note(aws, &plan.build).await?;
            }
        }
    } else if input.round >= ROUNDS {
        let message = format!(
            "after {ROUNDS} rounds there is still {}: look at it in EC2",
            step.remaining.join(", ")
        );
        bail!(named(Name::CleanupStuck, message));
    }
    Ok(step)
}

fn wait(first: u32, round: u32) -> u32 {
    first
        .saturating_mul(1 + round / ROUNDS_PER_GROWTH)
        .clamp(1, LONGEST_WAIT_SECONDS)
}

/// Ends the instances with these tags, but those that the plan keeps for a while.
pub(crate) async fn end_instances(
    aws: &Aws,
    tags: &Tags,
    plan: Option<&Plan>,
    now: i64,
    step: &mut Step,
) -> Result<()> {
    let found = instances::find(aws, tags).await?;
    let ours = found
        .iter()
        .filter(|instance| !instances::terminated(instance) && !held(instance.tags()));
    for instance in ours {
        let id = instances::id(instance).to_owned();
        let kept = kept_seconds(aws, plan, instance, now).await?;
        if kept > 0 {
            step.kept_seconds = step.kept_seconds.max(kept);
            step.remaining.push(format!("{id} (kept for {kept} seconds)"));
            continue;
        }
        instances::terminate(aws, instance).await?;
        step.removed.push(id.clone());
        step.remaining.push(id);
    }
    Ok(())
}

/// Seconds for which this instance is still to be kept: it failed, and a person wants to look at it.
pub(crate) async fn kept_seconds(aws: &Aws, plan: Option<&Plan>, instance: &Instance, now: i64) -> Result<u32> {
    let Some(plan) = plan.filter(|plan| plan.input.keep_failed_worker_minutes > 0) else {
        return Ok(0);
    };
    let number = |key: &str| tagging::value(instance.tags(), key).and_then(|value| value.parse().ok());
    let (Some(shard), Some(attempt)) = (number(tags::SHARD), number(tags::ATTEMPT)) else {
        return Ok(0);
    };
    let status: Option<Stored<Status>> = store::get(aws, &objects::status(&plan.build, shard, attempt)).await?;
    let Some(status) = status.filter(|status| status.value.last == Some(Final::Failed)) else {
        return Ok(0);
    };
    let until = status.modified + i64::from(plan.input.keep_failed_worker_minutes) * 60;
    Ok(u32::try_from(until - now).unwrap_or(0))
}

/// Frees, checkpoints (for the owner's plan) and deletes the volumes with these tags.
pub(crate) async fn end_volumes(aws: &Aws, tags: &Tags, owners_plan: Option<&Plan>, step: &mut Step) -> Result<()> {
    let ours = ours(aws, volumes::find(aws, tags).await?).await?;
    for volume in ours.iter().filter(|volume| !volumes::deletable(volume)) {
        volumes::free(aws, volume).await?;
        step.remaining.push(volumes::id(volume).to_owned());
    }
    if !step.remaining.is_empty() || ours.is_empty() {
        return Ok(());
    }
    if let Some(plan) = owners_plan
        && !published(aws, &plan.build).await?
        && !checkpoint::keep(aws, plan, &ours).await?
    {
        step.remaining.extend(
            ours.iter()
                .map(|volume| format!("{} (being kept as a checkpoint)", volumes::id(volume))),
        );
        return Ok(());
    }
    // Who looks after one has gone must not take the other for work that is whole.
    let (failed, whole): (Vec<&Volume>, Vec<&Volume>) = ours.iter().partition(|volume| volumes::failed(volume));
    for volume in whole.into_iter().chain(failed) {
        volumes::delete(aws, volume).await?;
        step.removed.push(volumes::id(volume).to_owned());
    }
    let left = self::ours(aws, volumes::find(aws, tags).await?).await?;
    step.remaining
        .extend(left.iter().map(|volume| volumes::id(volume).to_owned()));
    Ok(())
}

/// Without what a person holds, and without what is attached to an instance that a person holds.
pub(crate) async fn ours(aws: &Aws, found: Vec<Volume>) -> Result<Vec<Volume>> {
    let mut ours = Vec::new();
    for volume in found.into_iter().filter(|volume| !held(volume.tags())) {
        let instance = match volumes::attached(&volume) {
            Some((instance, _)) => instances::look(aws, instance).await?,
            None => None,
        };
        if !instance.is_some_and(|instance| held(instance.tags()) && !instances::terminated(&instance)) {
            ours.push(volume);
        }
    }
    Ok(ours)
}

/// The current release or the checkpoint holds the build's work already. A release object alone does not: publish may have
/// ended before it made it current.
async fn published(aws: &Aws, build: &str) -> Result<bool> {
    if releases::current_name(aws).await?.as_deref() == Some(build) {
        return Ok(true);
    }
    let checkpoint: Option<Checkpoint> = store::find(aws, objects::CHECKPOINT).await?;
    Ok(checkpoint.is_some_and(|checkpoint| checkpoint.build == build))
}

/// Frees control or hands it over. Who is named next but was never started is started too: the step that named it may
/// have been cut off.
async fn release_control(world: &impl World, build: &str, now: &str) -> Result<()> {
    let released = ownership::change(world, |control| control::release(control, build, now)).await?;
    match released {
        Released::Free | Released::NotClosed | Released::NotOwner(None) => {}
        Released::Next(next) => ownership::start(world, &next, &ownership::after_a_hint()).await?,
        Released::NotOwner(Some(owner)) => {
            ownership::start_if_absent(world, &owner, &ownership::after_a_hint()).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::operation::delete_volume::DeleteVolumeOutput;
    use aws_sdk_ec2::operation::describe_volumes::DescribeVolumesOutput;
    use aws_sdk_ec2::types::VolumeState;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::testing;

    #[test]
    fn waits_grow_but_not_for_ever() {
        assert_eq!(
            (wait(15, 0), wait(15, 19), wait(15, 20), wait(15, 399)),
            (15, 15, 30, 300)
        );
        assert_eq!(wait(0, 0), 1);
    }

    #[test]
    fn the_rounds_last_longer_than_a_large_snapshot_and_the_longest_keep() {
        let seconds: u32 = (0..ROUNDS).map(|round| wait(15, round)).sum();
        assert!(seconds > 17 * 3600, "{seconds}");
    }

    #[tokio::test]
    async fn a_volume_that_ec2_could_not_make_is_deleted() {
        let broken = || {
            let volume = Volume::builder().volume_id("vol-1").state(VolumeState::Error).build();
            DescribeVolumesOutput::builder().volumes(volume).build()
        };
        let look = mock!(Client::describe_volumes)
            .sequence()
            .output(broken)
            .output(|| DescribeVolumesOutput::builder().build())
            .build();
        let delete = mock!(Client::delete_volume).then_output(|| DeleteVolumeOutput::builder().build());
        let aws = testing::aws(&[&look, &delete], &[]);
        let mut step = Step::default();
        end_volumes(&aws, &Tags::stack(&aws), None, &mut step).await.unwrap();
        assert_eq!((step.removed, step.remaining), (vec!["vol-1".to_owned()], vec![]));
        assert_eq!(delete.num_calls(), 1);
    }
}
