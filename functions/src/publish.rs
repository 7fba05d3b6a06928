//! Makes what the shards built the current release.

use anyhow::{Context, Result, anyhow, bail};
use contract::estimate::interruptions;
use contract::fault::Name;
use contract::input::Only;
use contract::job::Kind;
use contract::objects;
use contract::plan::Plan;
use contract::release::{Checkpoint, Pair, Release};
use contract::report::Report;
use contract::steps::{Outcome, PublishInput, PublishOutput, ShardOutcome};

use crate::fault::{Fault, named};
use crate::ownership::World;
use crate::{Aws, estimate, ownership, prune, releases, snapshots, store, times};

/// Publishes the release, or for `only: sync` the checkpoint, and deletes what nothing refers to any more.
///
/// The release names its snapshots *before* the fence is asked again and before it becomes current: clean-up closes the
/// build before it looks at what releases name, so it either sees this release or stops it here.
pub async fn handle(aws: &Aws, input: PublishInput) -> Result<PublishOutput, Fault> {
    let plan: Plan = store::read(aws, &objects::plan(&input.build)).await?;
    let reports = reports(aws, &plan).await?;
    let silent = reports.iter().position(Option::is_none);
    let is_silent = reports.iter().all(Option::is_none);
    let report = Report::of_shards(reports.into_iter().flatten());
    let mut output = PublishOutput {
        release: None,
        outcome: None,
        summary: tell(aws, &plan, &report, is_silent, times::seconds(&input.now)?).await?,
        failure: input.shards.iter().find_map(|shard| shard.failure.clone()),
        serve: false,
    };
    if output.failure.is_some() {
        return Ok(output);
    }
    ownership::fence(aws, &input.build).await?;
    let pairs = pairs(&plan, &input.shards)?;
    check_snapshots(aws, &pairs).await?;
    if plan.input.only == Some(Only::Sync) {
        keep_as_checkpoint(aws, &plan, pairs).await?;
        prune::prune(aws, &plan.build).await?;
        return Ok(output);
    }

    let key = objects::release(&plan.build);
    let previous = releases::current(aws).await?;
    let release = match previous {
        Some(published) if published.release == plan.build => published,
        previous => {
            if let Some(silent) = silent {
                return Err(anyhow!("shard {silent} is done but has left no report").into());
            }
            let release = release(&plan, report, pairs, previous.as_ref(), input.now);
            let name = store::put(aws, &key, &release);
            let make_current = releases::make_current(aws, &plan.build);
            in_order(aws, &plan.build, name, make_current, make_newest_current(aws)).await?;
            release
        }
    };
    // What it kept is part of the release now, or was given up by `fresh`.
    store::delete(aws, objects::CHECKPOINT).await?;
    prune::prune(aws, &plan.build).await?;
    output.release = Some(plan.build);
    output.outcome = Some(match release.complete {
        true => Outcome::Complete,
        false => Outcome::WithProblems,
    });
    output.serve = plan.serve;
    Ok(output)
}

/// Names the release, asks the fence again, makes it current, and asks once more: made current too late, it may have
/// replaced a newer one.
///
/// The name is never taken back: another call of this step, which counted as lost, may be about to make it current. A release
/// that is named and not current is whole all the same, and goes like any older one.
pub(crate) async fn in_order(
    world: &impl World,
    build: &str,
    name: impl Future<Output = Result<()>>,
    make_current: impl Future<Output = Result<()>>,
    make_newest_current: impl Future<Output = Result<()>>,
) -> Result<()> {
    name.await?;
    ownership::fence(world, build).await?;
    make_current.await?;
    ownership::fence_or_undo(world, build, make_newest_current).await
}

async fn make_newest_current(aws: &Aws) -> Result<()> {
    match releases::all(aws).await?.first() {
        Some(newest) => releases::make_current(aws, &newest.release).await,
        None => Ok(()),
    }
}

/// What each shard reported; none for one that did not get that far.
async fn reports(aws: &Aws, plan: &Plan) -> Result<Vec<Option<Report>>> {
    let mut reports = Vec::new();
    for shard in &plan.shards {
        reports.push(store::find(aws, &objects::report(&plan.build, shard.shard)).await?);
    }
    Ok(reports)
}

/// Writes what the shards reported, if any has, and which attempts were interrupted, for people to read, and returns it
/// in one line; none if there is nothing to tell.
async fn tell(aws: &Aws, plan: &Plan, report: &Report, is_silent: bool, now: i64) -> Result<Option<String>> {
    let interruptions = interruptions(&estimate::of_attempts(aws, plan, now).await?);
    if is_silent && interruptions.is_none() {
        return Ok(None);
    }
    let (mut text, mut summary) = (report.text(&plan.build), report.summary());
    if let Some(interruptions) = interruptions {
        text += &format!("\nInterruptions:\n  {interruptions}\n");
        summary += &format!("; {interruptions}");
    }
    store::put_text(aws, &objects::report_text(&plan.build), text).await?;
    Ok(Some(summary))
}

/// One pair a shard. A volume that this build did not have (builds, in `only: sync`) keeps the snapshot that the other
/// one's was made beside: the pair is what a worker would have had after its sync.
fn pairs(plan: &Plan, outcomes: &[ShardOutcome]) -> Result<Vec<Pair>> {
    let pair = |shard: &contract::plan::ShardPlan| {
        let outcome = outcomes.iter().find(|outcome| outcome.shard == shard.shard);
        let outcome = outcome.with_context(|| format!("shard {} has no outcome", shard.shard))?;
        let snapshot = |kind: Kind| -> Result<Option<String>> {
            if !plan.kinds.contains(&kind) {
                return Ok(shard.volume(kind).snapshot.clone());
            }
            let made = outcome.snapshots.iter().find(|made| made.kind == kind);
            let made = made.with_context(|| format!("shard {} has no {} snapshot", shard.shard, kind.as_str()))?;
            Ok(Some(made.snapshot.clone()))
        };
        Ok(Pair {
            sources: snapshot(Kind::Sources)?,
            builds: snapshot(Kind::Builds)?,
        })
    };
    plan.shards.iter().map(pair).collect()
}

async fn check_snapshots(aws: &Aws, pairs: &[Pair]) -> Result<()> {
    let usable = snapshots::usable(aws).await?;
    for snapshot in pairs.iter().flat_map(|pair| [&pair.sources, &pair.builds]).flatten() {
        if !usable.iter().any(|usable| snapshots::id(usable) == snapshot) {
            bail!(named(
                Name::SnapshotFailed,
                format!("{snapshot} is gone or not completed: start the build again")
            ));
        }
    }
    Ok(())
}

fn release(
    plan: &Plan,
    Report { complete, failed, .. }: Report,
    shards: Vec<Pair>,
    previous: Option<&Release>,
    now: String,
) -> Release {
    Release {
        release: plan.build.clone(),
        published: now,
        complete: complete && failed.is_empty(),
        tries: tries(previous, &plan.fingerprint),
        fingerprint: plan.fingerprint.clone(),
        manifest: objects::manifest(&plan.build, &plan.fingerprint),
        profiles: plan.profiles.clone(),
        shards,
        failed,
    }
}

/// How often this fingerprint was built in a row.
fn tries(previous: Option<&Release>, fingerprint: &str) -> u32 {
    let same = previous.filter(|previous| previous.fingerprint == fingerprint && !previous.complete);
    same.map_or(1, |previous| previous.tries + 1)
}

/// Keeps a synced collection for the next build to start from.
async fn keep_as_checkpoint(aws: &Aws, plan: &Plan, pairs: Vec<Pair>) -> Result<()> {
    let before: Option<Checkpoint> = store::find(aws, objects::CHECKPOINT).await?;
    let checkpoint = Checkpoint {
        build: plan.build.clone(),
        shards: pairs.into_iter().map(Some).collect(),
    };
    store::put(aws, objects::CHECKPOINT, &checkpoint).await?;
    let undo = async {
        match before {
            Some(before) => store::put(aws, objects::CHECKPOINT, &before).await,
            None => store::delete(aws, objects::CHECKPOINT).await,
        }
    };
    ownership::fence_or_undo(aws, &plan.build, undo).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use contract::steps::SnapshotOutput;

    fn outcome(shard: u32, kinds: &[Kind]) -> ShardOutcome {
        let made = |kind: &Kind| SnapshotOutput {
            kind: *kind,
            snapshot: format!("snap-{}-{shard}", kind.as_str()),
        };
        ShardOutcome {
            shard,
            snapshots: kinds.iter().map(made).collect(),
            failure: None,
        }
    }

    #[test]
    fn shards_may_end_in_any_order() {
        let plan = testing::plan(2, &[Kind::Sources, Kind::Builds]);
        let outcomes = [outcome(1, &plan.kinds), outcome(0, &plan.kinds)];
        let pairs = pairs(&plan, &outcomes).unwrap();
        assert_eq!(pairs[1].builds.as_deref(), Some("snap-builds-1"));
        assert_eq!(pairs[0].sources.as_deref(), Some("snap-sources-0"));
    }

    #[test]
    fn a_sync_keeps_the_builds_that_it_started_beside() {
        let plan = testing::plan(1, &[Kind::Sources]);
        let pairs = pairs(&plan, &[outcome(0, &plan.kinds)]).unwrap();
        assert_eq!(pairs[0].sources.as_deref(), Some("snap-sources-0"));
        assert_eq!(pairs[0].builds, plan.shards[0].builds.snapshot);
    }

    #[test]
    fn a_missing_snapshot_is_an_error_that_names_it() {
        let plan = testing::plan(1, &[Kind::Sources, Kind::Builds]);
        let error = pairs(&plan, &[outcome(0, &[Kind::Sources])]).unwrap_err();
        assert_eq!(error.to_string(), "shard 0 has no builds snapshot");
    }

    #[test]
    fn tries_count_incomplete_results_of_one_fingerprint() {
        let mut release = testing::release("b-00001");
        release.complete = false;
        assert_eq!(tries(None, "f"), 1);
        assert_eq!(tries(Some(&release), &release.fingerprint), 2);
        assert_eq!(tries(Some(&release), "other"), 1);
        release.complete = true;
        assert_eq!(tries(Some(&release), &release.fingerprint), 1);
    }
}
