//! The build step: the compiler is called, its progress becomes the status, its result the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use compiler::Outcome;
use contract::status::Report;

use crate::status::Reporter;
use crate::stop::Stop;
use crate::worker::seconds_left;

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where the builds volume is mounted.
    pub builds: PathBuf,
    /// Text by name.
    pub profiles: BTreeMap<String, String>,
    /// The unprivileged user that tup and the encoders run as.
    pub user: String,
}

/// The folder of a builds volume at which the compiler sees the collection.
pub fn collection(builds: &Path) -> PathBuf {
    builds.join("work/collection")
}

/// Builds, and adds what happened to the report. Single failed tracks are no error.
pub async fn run(job: Job, report: &mut Report, reporter: &Reporter, stop: &Stop) -> Result<()> {
    let (progress_to, stopping) = (reporter.clone(), stop.clone());
    let built = tokio::task::spawn_blocking(move || {
        let build = compiler::Build {
            collection: collection(&job.builds),
            builds: job.builds,
            profiles: job.profiles,
            user: Some(job.user),
            jobs: None,
        };
        let began = Instant::now();
        let mut progress = |progress: &compiler::Progress| {
            let ended = progress
                .profiles
                .values()
                .map(|tracks| tracks.done + tracks.failed)
                .sum();
            let total = progress.profiles.values().map(|tracks| tracks.total).sum();
            progress_to.update(|status| {
                status.profiles.clone_from(&progress.profiles);
                status.eta_seconds = seconds_left(began.elapsed(), ended, total);
            });
        };
        compiler::build(&build, &mut progress, stopping.flag())
    })
    .await
    .context("the compiler broke")??;

    reporter.update(|status| {
        status.profiles.clone_from(&built.profiles);
        status.warnings.extend(built.warnings.iter().cloned());
    });
    report.complete &= built.failed.is_empty() && built.outcome == Outcome::Done;
    report.built = built.built;
    report.removed = built.removed;
    report.failed = built.failed;
    report.warnings.extend(built.warnings);
    match built.outcome {
        Outcome::Done => Ok(()),
        Outcome::Interrupted => stop.check(),
        Outcome::Failed => bail!("{}", built.reason.unwrap_or_default()),
    }
}
