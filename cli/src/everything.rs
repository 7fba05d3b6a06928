//! `vibes run`: from a directory of sources to a directory of every profile.

use std::time::{Duration, Instant};

use anyhow::Result;
use contract::objects;
use contract::serve::Desired;
use serde_json::json;

use crate::account::Account;
use crate::arguments::Run;
use crate::cloud::Cloud;
use crate::follow::{self, Cause, Ended};
use crate::stacks::Places;
use crate::{deploy, pull, summary, upload};

/// Deploys, uploads, follows what follows, sees to serving, pulls, and tells how it went. Fine only if the current
/// release is served and lies in the output directory.
pub(crate) async fn run(cloud: &Cloud, account: &Account, options: &Run) -> Result<()> {
    let mut watch = Watch::new();
    let places = deploy::deploy(cloud, account, &options.deploy).await?;
    watch.lap("deploy");
    let uploaded = upload::upload(cloud, &places.sources_bucket, &options.sources).await?;
    watch.lap("upload");

    let cause = if uploaded.changed() {
        Cause::Upload {
            seq: follow::control(cloud, &places).await?.seq,
        }
    } else {
        Cause::Execution(follow::start(cloud, &places, json!({})).await?)
    };
    let mut builds = follow::follow(cloud, &places, cause).await?;
    if follow::judge(&builds).is_ok() {
        builds.extend(see_to_serving(cloud, &places).await?);
    }
    watch.lap("build");
    summary::print_builds(cloud, &places, &builds).await?;
    follow::judge(&builds)?;

    let patience = Duration::from_secs(options.patience);
    let served = pull::served(cloud, &places, patience).await?;
    watch.lap("serve");
    pull::mirror(&served, &options.out).await?;
    watch.lap("pull");
    summary::print_served(&served, &options.out)?;
    summary::print_times(&watch.laps);
    Ok(())
}

/// An installation may be set not to serve after a build: then it is asked to, once.
async fn see_to_serving(cloud: &Cloud, places: &Places) -> Result<Vec<Ended>> {
    let release = follow::release(cloud).await?;
    let desired: Desired = cloud
        .json(&places.state_bucket, objects::SERVE_DESIRED)
        .await?
        .unwrap_or_default();
    if desired.up && desired.release == release {
        return Ok(Vec::new());
    }
    let execution = follow::start(cloud, places, json!({"serve": true})).await?;
    follow::follow(cloud, places, Cause::Execution(execution)).await
}

/// Measures how long each step takes.
struct Watch {
    begin: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Watch {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            laps: Vec::new(),
        }
    }

    fn lap(&mut self, step: &'static str) {
        self.laps.push((step, self.begin.elapsed()));
        self.begin = Instant::now();
    }
}
