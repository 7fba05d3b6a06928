//! The build step: the compiler is called, its progress becomes the status, its result the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use compiler::Outcome;
use contract::report::Report;
use nix::sched::{CloneFlags, unshare};

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
    /// The shard that is built; none for a whole collection.
    pub shard: Option<compiler::Shard>,
}

/// The folder of a builds volume at which the compiler sees the collection.
pub fn collection(builds: &Path) -> PathBuf {
    builds.join("work/collection")
}

/// Builds, and adds what happened to the report. Single failed tracks are no error.
pub async fn run(job: Job, report: &mut Report, reporter: &Reporter, stop: &Stop) -> Result<()> {
    let (progress_to, stopping) = (reporter.clone(), stop.clone());
    let compile = move || {
        // tup and the encoders inherit it from this thread: what reads uploaded files has no network.
        unshare(CloneFlags::CLONE_NEWNET).context("leaving the network")?;
        compile(job, &progress_to, &stopping)
    };
    // A thread of its own, because one of a pool would go on to serve somebody who needs the network.
    let compiler = thread::Builder::new().name("compiler".to_owned());
    let compiler = compiler.spawn(compile).context("starting the compiler")?;
    let ended = tokio::task::spawn_blocking(|| compiler.join()).await;
    let built = ended
        .context("waiting for the compiler")?
        .map_err(|_| anyhow!("the compiler broke: a bug of vibes"))??;

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
        Outcome::Interrupted => {
            stop.check()?;
            bail!("the compiler stopped although nobody told it to")
        }
        Outcome::Failed => bail!("{}", built.reason.unwrap_or_default()),
    }
}

fn compile(job: Job, reporter: &Reporter, stop: &Stop) -> Result<compiler::Report> {
    let build = compiler::Build {
        collection: collection(&job.builds),
        builds: job.builds,
        profiles: job.profiles,
        user: Some(job.user),
        jobs: None,
        shard: job.shard,
        program: compiler::program()?,
    };
    let began = Instant::now();
    let mut progress = |progress: &compiler::Progress| {
        let tracks = || progress.profiles.values();
        let ended = tracks().map(|tracks| tracks.done + tracks.failed).sum();
        let total = tracks().map(|tracks| tracks.total).sum();
        reporter.update(|status| {
            status.profiles.clone_from(&progress.profiles);
            status.eta_seconds = seconds_left(began.elapsed(), ended, total);
        });
    };
    compiler::build(&build, &mut progress, stop.flag())
}
