//! Decides what a build does: takes control, reads everything that matters once, and writes it down.

use anyhow::{Result, bail};
use contract::fault::Name;
use contract::input::{Input, Market, Only};
use contract::job::{Kind, Role};
use contract::manifest::{self, Entry};
use contract::plan::{Plan, ShardPlan, VolumePlan};
use contract::profile::Profile;
use contract::release::Release;
use contract::steps::{Decision, PlanInput, PlanOutput, ShardItem};
use contract::{objects, shard};

use crate::control::{self, Taken};
use crate::executions::{Execution, Machine};
use crate::fault::{Fault, named};
use crate::fingerprint::{self, Ingredients};
use crate::ownership::World;
use crate::profiles::{self, Profiles};
use crate::start::{self, Past};
use crate::{Aws, asked, images, limits, ownership, polls, sizes, sources, store};

/// An incomplete release is built this often before only `force` or a change builds it again.
const TRIES: u32 = 2;

/// Plans the build. Asked again after it has decided to build, it gives the same answer.
pub async fn handle(aws: &Aws, input: PlanInput) -> Result<PlanOutput, Fault> {
    let asked = asked::read(&input.input)?;
    let build = &input.build;
    if let Some(plan) = store::find::<Plan>(aws, &objects::plan(build)).await? {
        ownership::fence(aws, build).await?;
        return Ok(to_build(&plan));
    }
    let look = async { Ok((profiles::wanted(aws, &asked).await?, sources::list(aws).await?)) };
    let (taken, (profiles, listing)) = match begin(aws, build, &input.now, &asked, look).await? {
        Begun::Mine(taken, seen) => (taken, seen),
        Begun::Queued(owner) => {
            let reason = format!("{owner} is running; what is asked for is built after it");
            return Ok(nothing(Decision::Queued, reason, 0, false));
        }
    };
    if asked.settle
        && let Some(wait) = listing.settling(&aws.settings, &input.started, &input.now)?
    {
        let reason = "an upload is going on".to_owned();
        return Ok(nothing(Decision::Settling, reason, wait, false));
    }
    decide(aws, input.build, taken, asked, profiles, listing.entries).await
}

/// How a plan begins.
pub(crate) enum Begun<Seen> {
    /// The build holds control, taken under this number, and this is what there is to build.
    Mine(u64, Seen),
    /// This build holds control; the wish is built after it.
    Queued(String),
}

/// Takes control, and only then looks at what there is to build: a wish that this clears is one that it sees.
pub(crate) async fn begin<Seen>(
    world: &impl World,
    build: &str,
    now: &str,
    asked: &Input,
    look: impl Future<Output = Result<Seen>>,
) -> Result<Begun<Seen>> {
    Ok(match take_control(world, build, now, asked).await? {
        Begun::Queued(owner) => Begun::Queued(owner),
        Begun::Mine(taken, ()) => Begun::Mine(taken, look.await?),
    })
}

/// Takes control, or gives the build that holds it and after which the wish is built.
async fn take_control(world: &impl World, build: &str, now: &str, asked: &Input) -> Result<Begun<()>> {
    let over = || named(Name::BuildIsOver, format!("{build} is over: start another execution"));
    // A late retry of an execution that has ended must not take what it would never give back.
    if ownership::look(world).await?.owner.is_none()
        && let Execution::Over(_) = world.execution(Machine::Pipeline, build).await?
    {
        bail!(over());
    }
    loop {
        let owner = match ownership::change(world, |control| control::take(control, build, now)).await? {
            Taken::Mine(taken) => return Ok(Begun::Mine(taken, ())),
            Taken::Over => bail!(over()),
            Taken::Held(owner) => owner,
        };
        let running = world.planned(&owner).await?;
        if !asked::fits_behind(asked, running.as_ref()) {
            let remedy = "wait until it is over and start again, or leave the options out to be queued";
            bail!(named(
                Name::AnotherBuildIsRunning,
                format!("{owner} is running with other options: {remedy}")
            ));
        }
        // False: control was freed meanwhile, so this build may take it now.
        let queued = |control: &_| (control::queue(control, build), control.owner.is_some());
        if ownership::change(world, queued).await? {
            return Ok(Begun::Queued(owner));
        }
    }
}

/// Compares what there is with the current release, and writes down what to build.
async fn decide(
    aws: &Aws,
    build: String,
    taken: u64,
    asked: Input,
    profiles: Profiles,
    sources: Vec<Entry>,
) -> Result<PlanOutput, Fault> {
    let settings = &aws.settings;
    if !sources.iter().any(|entry| shard::is_audio(&entry.key)) {
        let message = format!(
            "s3://{} holds no audio ({}): upload some",
            settings.sources_bucket,
            shard::AUDIO_EXTENSIONS.join(", ")
        );
        return Err(named(Name::NoSources, message));
    }
    let role = if asked.only == Some(Only::Sync) {
        Role::Volmgr
    } else {
        Role::Worker
    };
    let image = images::made_of(aws, role).await?;
    let shards = settings.shards;
    let ingredients = Ingredients {
        sources: &sources,
        profiles: &profiles.texts,
        image: &image,
        shards,
    };
    let fingerprint = fingerprint::of(&ingredients)?;

    ownership::plan(aws, &build, taken).await?;
    let past = start::past(aws).await?;
    let serve = asked.serve.unwrap_or(settings.serve) && asked.only.is_none();
    if let Some(release) = past
        .release
        .as_ref()
        .filter(|release| up_to_date(release, &fingerprint, &asked))
        && past.release_is_whole(release)
    {
        let reason = format!("{} is what would be built", release.release);
        return Ok(nothing(Decision::UpToDate, reason, 0, serve));
    }

    limits::check(aws, 0, shards).await?;
    let kinds = if role == Role::Volmgr {
        vec![Kind::Sources]
    } else {
        vec![Kind::Sources, Kind::Builds]
    };
    let plan = Plan {
        build,
        fingerprint,
        sources_bucket: settings.sources_bucket.clone(),
        role,
        image: images::id(aws, role).await?,
        markets: asked
            .market
            .map_or_else(|| settings.markets.clone(), |market: Market| vec![market]),
        attempts: settings.max_attempts,
        profiles: profiles.texts.keys().cloned().collect(),
        kinds,
        shards: (0..shards)
            .map(|shard| shard_plan(&past, &asked, &sources, &profiles.parsed, shard, shards))
            .collect::<Result<_>>()?,
        polls: polls::budget(settings, shards)?,
        serve,
        max_run_minutes: settings.max_run_minutes,
        input: asked,
    };
    let lines = manifest::to_lines(&sources).map_err(anyhow::Error::new)?;
    let Plan { build, fingerprint, .. } = &plan;
    store::put_text(aws, &objects::manifest(build, fingerprint), lines).await?;
    store::put(aws, &objects::profiles(build, fingerprint), &profiles.texts).await?;
    ownership::fence(aws, build).await?;
    // Last: what has a plan is planned. Not over that of another call of this step: the build may be at work on it.
    let key = objects::plan(build);
    store::put_if(aws, &key, &plan, None).await?;
    Ok(to_build(&store::read(aws, &key).await?))
}

fn up_to_date(release: &Release, fingerprint: &str, asked: &Input) -> bool {
    let wanted_anyway = asked.force || asked.fresh || asked.only.is_some();
    !wanted_anyway && release.fingerprint == fingerprint && (release.complete || release.tries >= TRIES)
}

fn shard_plan(
    past: &Past,
    asked: &Input,
    sources: &[Entry],
    profiles: &[Profile],
    shard: u32,
    shards: u32,
) -> Result<ShardPlan> {
    let pair = if asked.fresh {
        Past::BLANK
    } else {
        past.pair(shard, shards)
    };
    let volume = |snapshot: Option<String>, gib: u32| {
        let at_least = snapshot
            .as_ref()
            .and_then(|snapshot| past.gib.get(snapshot))
            .copied()
            .unwrap_or(0);
        VolumePlan {
            snapshot,
            gib: gib.max(at_least),
        }
    };
    Ok(ShardPlan {
        shard,
        sources: volume(pair.sources, sizes::sources(sources, shard, shards)?),
        builds: volume(pair.builds, sizes::builds(sources, profiles, shard, shards)?),
    })
}

fn to_build(plan: &Plan) -> PlanOutput {
    let item = |shard: &ShardPlan| ShardItem {
        build: plan.build.clone(),
        shard: shard.shard,
        attempt: 1,
        kinds: plan.kinds.clone(),
    };
    let blank = plan
        .shards
        .iter()
        .filter(|shard| shard.sources.snapshot.is_none())
        .count();
    PlanOutput {
        decision: Decision::Build,
        reason: format!("{} shards, {blank} of them from blank volumes", plan.shards.len()),
        wait_seconds: 0,
        serve: plan.serve,
        shards: plan.shards.iter().map(item).collect(),
    }
}

fn nothing(decision: Decision, reason: String, wait_seconds: u32, serve: bool) -> PlanOutput {
    PlanOutput {
        decision,
        reason,
        wait_seconds,
        serve,
        shards: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_incomplete_release_is_tried_once_more() {
        let mut release = testing::release("b-00001");
        release.complete = false;
        let asked = Input::default();
        assert!(!up_to_date(&release, "f", &asked));
        release.tries = 2;
        assert!(up_to_date(&release, "f", &asked));
        assert!(!up_to_date(&release, "g", &asked));
        assert!(!up_to_date(&release, "f", &Input { force: true, ..asked }));
    }
}
