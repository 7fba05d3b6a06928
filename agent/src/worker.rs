//! The roles worker and volmgr: one attempt at one shard of a build, from the attached volumes to clean ones.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::job::{Kind, UserData, VolumeJob};
use contract::plan::Plan;
use contract::report::Report;
use contract::status::{Bytes, Final, Status};
use contract::{manifest, objects, shard};

use crate::build;
use crate::instance::Instance;
use crate::journal::Journal;
use crate::settings::Settings;
use crate::status::{self, Reporter};
use crate::stop::{self, Stop};
use crate::store::Store;
use crate::sync::{self, Mirror};
use crate::volume::Volumes;

/// One attempt.
struct Attempt<'a> {
    settings: &'a Settings,
    store: &'a Store,
    user_data: &'a UserData,
    build: &'a str,
    reporter: Reporter,
    stop: &'a Stop,
    began: Instant,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// What the last status says.
    pub last: Final,
    /// How long the machine shall stay for people to look at it.
    pub keep: Duration,
}

/// Runs the attempt that the user data names, and reports how it ended. It always lets go of its volumes, whatever
/// happened; an error is only returned when there is nobody to report to.
pub async fn run(
    settings: &Settings,
    store: &Store,
    instance: &Instance,
    stop: &Stop,
    journal: &Journal,
) -> Result<End> {
    let began = Instant::now();
    let user_data = &instance.user_data;
    let build = user_data
        .build
        .as_deref()
        .context("the user data of a worker names no build")?;
    let first = Status {
        build: build.to_owned(),
        shard: user_data.shard,
        attempt: user_data.attempt,
        instance: instance.id.clone(),
        sequence: 0,
        step: "devices".to_owned(),
        last: None,
        reason: None,
        profiles: Default::default(),
        bytes: Bytes::default(),
        eta_seconds: None,
        clean: false,
        warnings: Vec::new(),
    };
    let (reporter, writer) = status::start(first, store, journal, settings.status_every);
    stop::on_lost_control(stop, store, build, settings.control_every);

    let attempt = Attempt {
        settings,
        store,
        user_data,
        build,
        reporter: reporter.clone(),
        stop,
        began,
    };
    let mut volumes = Volumes::default();
    let mut keep = Duration::ZERO;
    let worked = attempt.work(&mut volumes, &mut keep).await;
    reporter.step("unmount");
    let closed = volumes.close().await;

    let clean = matches!(closed, Ok(true));
    let (last, reason) = judge(worked.and(closed.map(drop)), stop.reason());
    writer.finish(last, reason, clean).await;
    Ok(End {
        last,
        keep: if last == Final::Failed { keep } else { Duration::ZERO },
    })
}

/// Work that was told to stop did not fail, whatever it says about being cut off; work that got to its end before it
/// noticed is done.
fn judge(worked: Result<()>, stopped: Option<&str>) -> (Final, Option<String>) {
    match (worked, stopped) {
        (Ok(()), _) => (Final::Done, None),
        (Err(_), Some(stopped)) => (Final::Interrupted, Some(stopped.to_owned())),
        (Err(error), None) => (Final::Failed, Some(format!("{error:#}"))),
    }
}

impl Attempt<'_> {
    async fn work(&self, volumes: &mut Volumes, keep: &mut Duration) -> Result<()> {
        let plan: Plan = self
            .wait_for(&objects::plan(self.build), self.settings.attach_within)
            .await?;
        stop::on_time_limit(self.stop, self.began, plan.max_run_minutes);
        *keep = minutes(plan.input.keep_failed_worker_minutes);

        let (mut sources, mut builds) = (None, None);
        for &kind in &plan.kinds {
            let key = objects::volume_job(self.build, self.user_data.shard, self.user_data.attempt, kind);
            // One that comes from another zone comes as a snapshot first: for hours. The time limit ends that too.
            let job: VolumeJob = self.wait_for(&key, minutes(plan.max_run_minutes)).await?;
            let root = volumes.open(kind, &job, self.settings, self.stop).await?;
            match kind {
                Kind::Sources => sources = Some(root),
                Kind::Builds => builds = Some(root),
            }
        }
        let sources = sources.context("the plan names no sources volume")?;

        let (fetched, shard) = self.sync(&plan, &sources).await?;
        volumes.make_read_only(&sources)?;
        let mut report = Report {
            refused: fetched.refused,
            complete: fetched.complete,
            ..Report::default()
        };
        if !report.refused.is_empty() {
            self.reporter.warn(format!(
                "{} objects did not become files; the report names them",
                report.refused.len()
            ));
        }

        if let Some(builds) = builds {
            self.reporter.step("build");
            let collection = build::collection(&builds);
            volumes.show(&sync::collection(&sources), &collection)?;
            let profiles = self
                .store
                .needed(&objects::profiles(self.build, &plan.fingerprint))
                .await?;
            let job = build::Job {
                builds,
                profiles,
                user: self.settings.user.clone(),
                shard,
            };
            let built = build::run(job, &mut report, &self.reporter, self.stop).await;
            // A build that failed says in full what failed.
            let told = self.tell(&report).await;
            return built.and(told);
        }
        self.tell(&report).await
    }

    /// Fetches what belongs on this shard. Also tells which shard that is, unless it is the whole collection.
    async fn sync(&self, plan: &Plan, sources: &std::path::Path) -> Result<(sync::Outcome, Option<compiler::Shard>)> {
        self.reporter.step("sync");
        let key = objects::manifest(self.build, &plan.fingerprint);
        let text = self
            .store
            .text(&key)
            .await?
            .with_context(|| format!("{key} does not exist"))?;
        let entries = manifest::from_lines(&text).with_context(|| format!("{key} is not understood"))?;
        let shards = plan.shards.len() as u32;
        let audio = entries.iter().filter(|entry| shard::is_audio(&entry.key));
        let shard = (shards > 1).then(|| compiler::Shard {
            number: self.user_data.shard,
            of: shards,
            audio: audio.map(|entry| (&entry.key).into()).collect(),
        });
        let mine = entries
            .into_iter()
            .filter(|entry| shard::holds(entry, self.user_data.shard, shards))
            .collect();
        let began = Instant::now();
        let progress = |bytes: Bytes| {
            self.reporter.update(|status| {
                status.bytes = bytes;
                status.eta_seconds = seconds_left(began.elapsed(), bytes.done, bytes.total);
            });
        };
        let mirror = Mirror {
            store: self.store,
            bucket: &plan.sources_bucket,
            root: sources,
            stop: self.stop,
        };
        Ok((mirror.run(mine, &progress).await?, shard))
    }

    async fn tell(&self, report: &Report) -> Result<()> {
        self.store
            .put_json(&objects::report(self.build, self.user_data.shard), report)
            .await
    }

    async fn wait_for<T: serde::de::DeserializeOwned>(&self, key: &str, within: Duration) -> Result<T> {
        self.store.wait_for(key, within, self.stop).await
    }
}

fn minutes(minutes: u32) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

/// Seconds left if the rest goes as fast as what is done; none while nothing is done.
pub fn seconds_left(elapsed: Duration, done: u64, total: u64) -> Option<u64> {
    let left = total.saturating_sub(done) as f64;
    (done > 0).then(|| (elapsed.as_secs_f64() * left / done as f64).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_an_error_without_a_request_to_stop_is_a_failure() {
        assert_eq!(judge(Ok(()), Some("spot notice")), (Final::Done, None));
        let (last, reason) = judge(Err(anyhow!("tup was killed")), Some("spot notice"));
        assert_eq!((last, reason.as_deref()), (Final::Interrupted, Some("spot notice")));
        let (last, reason) = judge(Err(anyhow!("inner").context("outer")), None);
        assert_eq!((last, reason.as_deref()), (Final::Failed, Some("outer: inner")));
    }

    #[test]
    fn the_rest_takes_as_long_as_its_share() {
        assert_eq!(seconds_left(Duration::from_secs(10), 0, 100), None);
        assert_eq!(seconds_left(Duration::from_secs(10), 25, 100), Some(30));
        assert_eq!(seconds_left(Duration::from_secs(10), 100, 100), Some(0));
    }
}
