//! Decides what a build does: takes control, reads everything that matters once, and writes it down.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use contract::fault::Name;
use contract::image::Image;
use contract::input::{Input, Market, Only};
use contract::job::{Kind, Role};
use contract::plan::{Plan, ShardPlan, VolumePlan};
use contract::profile::Profile;
use contract::release::Release;
use contract::steps::{Decision, PlanInput, PlanOutput, ShardItem};
use contract::{manifest, objects, parameters, shard};

use crate::control::{self, Taken};
use crate::executions::{self, Execution};
use crate::fault::{Fault, Refusal, named};
use crate::fingerprint::{self, Ingredients};
use crate::settings::Settings;
use crate::start::{self, Past};
use crate::{Aws, adapter, ownership, polls, releases, sizes, sources, store, times};

/// The longest time for which a failed worker may be kept: ten hours, less than the longest clean-up.
const LONGEST_KEEP_MINUTES: u32 = 600;

/// An incomplete release is built this often before only `force` or a change builds it again.
const TRIES: u32 = 2;

/// Plans the build. Asked again after it has decided to build, it gives the same answer.
pub async fn handle(aws: &Aws, input: PlanInput) -> Result<PlanOutput, Fault> {
    let asked = asked(&input)?;
    let build = &input.build;
    if let Some(plan) = store::find::<Plan>(aws, &objects::plan(build)).await? {
        ownership::fence(aws, build).await?;
        return Ok(to_build(&plan));
    }
    if let Some(owner) = take_control(aws, &input, &asked).await? {
        let reason = format!("{owner} is running; what is asked for is built after it");
        return Ok(nothing(Decision::Queued, reason, 0, false));
    }

    let listing = sources::list(aws).await?;
    let (started, now) = (times::seconds(&input.started)?, times::seconds(&input.now)?);
    let Settings {
        settle_seconds,
        settle_max_seconds,
        ..
    } = aws.settings;
    if asked.settle
        && let Some(wait) = sources::settling(listing.newest, started, now, settle_seconds, settle_max_seconds)
    {
        return Ok(nothing(
            Decision::Settling,
            "an upload is going on".to_owned(),
            wait,
            false,
        ));
    }
    decide(aws, &input, asked, listing).await
}

/// What is asked for, checked as far as it can be without looking at anything.
fn asked(input: &PlanInput) -> Result<Input, Fault> {
    let wrong = |problem: String| Err(named(Name::InvalidInput, problem));
    if !input.input.is_object() {
        return wrong("the execution's input must be a JSON object; {} builds everything".to_owned());
    }
    let asked: Input = adapter::parse(input.input.clone())?;
    if asked.keep_failed_worker_minutes > LONGEST_KEEP_MINUTES {
        return wrong(format!(
            "field \"keepFailedWorkerMinutes\": at most {LONGEST_KEEP_MINUTES} minutes"
        ));
    }
    if asked.profiles.as_ref().is_some_and(Vec::is_empty) {
        return wrong("field \"profiles\": an empty list builds nothing; leave the field out to build all".to_owned());
    }
    Ok(asked)
}

/// Takes control, or gives the build that holds it and after which the wish is built.
async fn take_control(aws: &Aws, input: &PlanInput, asked: &Input) -> Result<Option<String>> {
    let build = &input.build;
    let over = || named(Name::BuildIsOver, format!("{build} is over: start another execution"));
    // A late retry of an execution that has ended must not take what it would never give back.
    if ownership::look(aws).await?.owner.is_none()
        && let Execution::Over(_) = executions::look(aws, &aws.settings.pipeline_arn, build).await?
    {
        bail!(over());
    }
    loop {
        let owner = match ownership::change(aws, |control| control::take(control, build, &input.now)).await? {
            Taken::Mine => return Ok(None),
            Taken::Over => bail!(over()),
            Taken::Held(owner) => owner,
        };
        let running = store::find::<Plan>(aws, &objects::plan(&owner)).await?;
        if !fits_behind(asked, running.as_ref().map(|plan| &plan.input)) {
            let remedy = "wait until it is over and start again, or leave the options out to be queued";
            bail!(named(
                Name::AnotherBuildIsRunning,
                format!("{owner} is running with other options: {remedy}")
            ));
        }
        // False: control was freed meanwhile, so this build may take it now.
        let queued = |control: &_| (control::queue(control, build), control.owner.is_some());
        if ownership::change(aws, queued).await? {
            return Ok(Some(owner));
        }
    }
}

/// A wish is built after the running build by a build without options. That grants it if it has no options itself, or
/// if the running build has the very same. `settle` and `Comment` are no options.
fn fits_behind(asked: &Input, running: Option<&Input>) -> bool {
    let options = |input: &Input| Input {
        settle: false,
        comment: None,
        ..input.clone()
    };
    options(asked) == Input::default() || running.is_some_and(|running| options(running) == options(asked))
}

async fn decide(aws: &Aws, input: &PlanInput, asked: Input, listing: sources::Listing) -> Result<PlanOutput, Fault> {
    let settings = &aws.settings;
    let sources = listing.entries;
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
    let (texts, profiles) = wanted_profiles(aws, &asked).await?;
    let image: Image = serde_json::from_str(&required(aws, &parameters::image(&settings.prefix, role), role).await?)
        .with_context(|| format!("reading parameter {}", parameters::image(&settings.prefix, role)))?;
    let shards = settings.shards;
    let ingredients = Ingredients {
        sources: &sources,
        profiles: &texts,
        image: &image,
        shards,
    };
    let fingerprint = fingerprint::of(&ingredients)?;

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

    let kinds = if role == Role::Volmgr {
        vec![Kind::Sources]
    } else {
        vec![Kind::Sources, Kind::Builds]
    };
    let plan = Plan {
        build: input.build.clone(),
        fingerprint,
        sources_bucket: settings.sources_bucket.clone(),
        role,
        image: required(aws, &parameters::ami(&settings.prefix, role), role).await?,
        markets: asked
            .market
            .map_or_else(|| settings.markets.clone(), |market: Market| vec![market]),
        attempts: settings.max_attempts,
        profiles: texts.keys().cloned().collect(),
        kinds,
        shards: (0..shards)
            .map(|shard| shard_plan(&past, &asked, &sources, &profiles, shard, shards))
            .collect::<Result<_>>()?,
        polls: polls::budget(settings, shards)?,
        serve,
        max_run_minutes: settings.max_run_minutes,
        input: asked,
    };
    let lines = manifest::to_lines(&sources).map_err(anyhow::Error::new)?;
    store::put_text(aws, &objects::manifest(&plan.build), lines).await?;
    store::put(aws, &objects::profiles(&plan.build), &texts).await?;
    ownership::fence(aws, &plan.build).await?;
    // Last: what has a plan is planned.
    store::put(aws, &objects::plan(&plan.build), &plan).await?;
    Ok(to_build(&plan))
}

/// The texts of the profiles that are asked for, by name, and what they mean.
async fn wanted_profiles(aws: &Aws, asked: &Input) -> Result<(BTreeMap<String, String>, Vec<Profile>)> {
    let mut texts = all_profiles(aws).await?;
    if let Some(wanted) = &asked.profiles {
        if let Some(unknown) = wanted.iter().find(|name| !texts.contains_key(*name)) {
            let known = texts.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("field \"profiles\": there is no profile {unknown:?}; known are {known}");
            bail!(named(Name::InvalidInput, message));
        }
        texts.retain(|name, _| wanted.contains(name));
    }
    if texts.is_empty() && asked.only.is_none() {
        let path = parameters::profiles(&aws.settings.prefix);
        bail!(named(
            Name::NoProfiles,
            format!("there is no parameter below {path}: deploy a profile (cfn/profile.yaml)")
        ));
    }
    let profiles = texts.iter().map(|(name, text)| Profile::parse(name, text));
    let profiles = profiles
        .collect::<Result<_, _>>()
        .map_err(|error| named(Name::BadProfile, error))?;
    Ok((texts, profiles))
}

async fn all_profiles(aws: &Aws) -> Result<BTreeMap<String, String>> {
    let path = parameters::profiles(&aws.settings.prefix);
    let request = aws.ssm.get_parameters_by_path().path(path.trim_end_matches('/'));
    let pages = request.into_paginator().send().try_collect().await;
    let pages = pages
        .map_err(Refusal::from)
        .with_context(|| format!("reading the parameters below {path}"))?;
    let named_text = |parameter: &aws_sdk_ssm::types::Parameter| {
        let name = parameter.name()?.strip_prefix(&path)?;
        Some((name.to_owned(), parameter.value()?.to_owned()))
    };
    Ok(pages
        .iter()
        .flat_map(|page| page.parameters())
        .filter_map(named_text)
        .collect())
}

/// A parameter that the image build writes.
async fn required(aws: &Aws, name: &str, role: Role) -> Result<String> {
    releases::parameter(aws, name).await?.ok_or_else(|| {
        let role = role.as_str();
        anyhow!(named(
            Name::LaunchRefused,
            format!("there is no {role} image (parameter {name}): build the image")
        ))
    })
}

fn up_to_date(release: &Release, fingerprint: &str, asked: &Input) -> bool {
    let wanted_anyway = asked.force || asked.fresh || asked.only.is_some();
    !wanted_anyway && release.fingerprint == fingerprint && (release.complete || release.tries >= TRIES)
}

fn shard_plan(
    past: &Past,
    asked: &Input,
    sources: &[manifest::Entry],
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
    use serde_json::json;

    use super::*;

    fn input(input: serde_json::Value) -> PlanInput {
        let time = "2026-11-21T03:00:00Z".to_owned();
        PlanInput {
            build: "b-00001".to_owned(),
            started: time.clone(),
            now: time,
            input,
        }
    }

    fn refused(value: serde_json::Value) -> String {
        let fault = asked(&input(value)).unwrap_err();
        assert_eq!(fault.name, Name::InvalidInput);
        fault.to_string()
    }

    #[test]
    fn an_empty_input_and_a_comment_are_fine() {
        assert!(asked(&input(json!({}))).is_ok());
        assert!(asked(&input(json!({"Comment": "Insert your JSON here"}))).is_ok());
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_known_ones() {
        let message = refused(json!({"profile": "home"}));
        assert!(
            message.contains("`profile`") && message.contains("`profiles`"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_type_names_the_field() {
        let message = refused(json!({"force": "yes"}));
        assert!(message.starts_with("field \"force\": invalid type"), "{message}");
        let message = refused(json!({"profiles": ["home", 7]}));
        assert!(message.starts_with("field \"profiles[1]\""), "{message}");
    }

    #[test]
    fn wrong_values_are_refused() {
        assert!(refused(json!({"only": "encode"})).contains("`sync`"));
        assert!(refused(json!({"keepFailedWorkerMinutes": 601})).contains("keepFailedWorkerMinutes"));
        assert!(refused(json!({"profiles": []})).contains("profiles"));
        assert!(refused(json!([])).contains("must be a JSON object"));
    }

    #[test]
    fn a_wish_without_options_always_fits_behind() {
        let forced = Input {
            force: true,
            ..Input::default()
        };
        let hint = Input {
            settle: true,
            ..Input::default()
        };
        assert!(fits_behind(&hint, Some(&forced)));
        assert!(fits_behind(&Input::default(), None));
    }

    #[test]
    fn a_wish_with_options_fits_only_behind_the_same() {
        let forced = Input {
            force: true,
            ..Input::default()
        };
        assert!(fits_behind(
            &forced,
            Some(&Input {
                settle: true,
                ..forced.clone()
            })
        ));
        assert!(!fits_behind(&forced, Some(&Input::default())));
        assert!(!fits_behind(&forced, None));
    }

    #[test]
    fn an_incomplete_release_is_tried_once_more() {
        let mut release = Release {
            release: "b-00001".to_owned(),
            published: String::new(),
            fingerprint: "f".to_owned(),
            complete: false,
            tries: 1,
            manifest: String::new(),
            profiles: Vec::new(),
            shards: Vec::new(),
            failed: Vec::new(),
        };
        let asked = Input::default();
        assert!(!up_to_date(&release, "f", &asked));
        release.tries = 2;
        assert!(up_to_date(&release, "f", &asked));
        assert!(!up_to_date(&release, "g", &asked));
        assert!(!up_to_date(&release, "f", &Input { force: true, ..asked }));
    }
}
