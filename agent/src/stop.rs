//! Reasons to stop before the work is done, and who watches for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use contract::control::Control;
use contract::objects;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use crate::instance::Instance;
use crate::store::Store;

/// A request to stop: made once, seen by all clones.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reason: OnceLock<String>,
    flag: AtomicBool,
    token: CancellationToken,
}

impl Stop {
    /// Requests the stop; the first reason stays.
    pub fn request(&self, reason: String) {
        if self.0.reason.set(reason).is_ok() {
            warn!("told to stop: {}", self.reason().unwrap_or_default());
            self.0.flag.store(true, Ordering::SeqCst);
            self.0.token.cancel();
        }
    }

    /// Why to stop; none while there is no reason.
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.get().map(String::as_str)
    }

    /// True from the request on, for code that does not await.
    pub fn flag(&self) -> &AtomicBool {
        &self.0.flag
    }

    /// Cancelled by the request, for code that awaits.
    pub fn token(&self) -> &CancellationToken {
        &self.0.token
    }

    /// An error once a stop was requested.
    pub fn check(&self) -> Result<()> {
        match self.reason() {
            Some(reason) => bail!("told to stop: {reason}"),
            None => Ok(()),
        }
    }

    /// Sleeps, or fails as soon as a stop is requested.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.0.token.cancelled() => self.check(),
        }
    }
}

/// Spawns what watches; it is traced as part of the attempt.
fn watch(watcher: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(watcher.in_current_span());
}

/// Stops on SIGTERM (power-off, termination) and SIGINT.
pub fn on_signals(stop: &Stop) -> Result<()> {
    for (kind, name) in [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let mut received = signal(kind).with_context(|| format!("watching for {name}"))?;
        let stop = stop.clone();
        watch(async move {
            if received.recv().await.is_some() {
                stop.request(format!("the machine is shutting down ({name})"));
            }
        });
    }
    Ok(())
}

/// Stops on a spot notice.
pub fn on_spot_notice(stop: &Stop, instance: &Instance, every: Duration) {
    let (stop, instance) = (stop.clone(), instance.clone());
    watch(async move {
        while stop.sleep(every).await.is_ok() {
            match instance.spot_notice().await {
                Ok(Some(notice)) => stop.request(format!("spot notice: {notice}")),
                Ok(None) => {}
                Err(error) => warn!("no answer about a spot notice: {error:#}"),
            }
        }
    });
}

/// Stops when the build no longer owns the control object: nobody waits for this attempt any more.
pub fn on_lost_control(stop: &Stop, store: &Store, build: &str, every: Duration) {
    let (stop, store, build) = (stop.clone(), store.clone(), build.to_owned());
    watch(async move {
        while stop.sleep(every).await.is_ok() {
            match store.json::<Control>(objects::CONTROL).await {
                Ok(control) => {
                    let owner = control.and_then(|control| control.owner);
                    if owner.as_deref() != Some(&build) {
                        let owner = owner.as_deref().unwrap_or("nobody");
                        stop.request(format!("{build} is over: {} belongs to {owner}", objects::CONTROL));
                    }
                }
                // Not knowing is no reason to throw work away: the functions end an attempt that nobody owns.
                Err(error) => warn!("cannot tell whether {build} still owns control: {error:#}"),
            }
        }
    });
}

/// Stops when the time that the plan allows an instance, in minutes, is over; `began` is when it was started.
pub fn on_time_limit(stop: &Stop, began: Instant, limit: u32) {
    let stop = stop.clone();
    let left = Duration::from_secs(60 * u64::from(limit)).saturating_sub(began.elapsed());
    watch(async move {
        if stop.sleep(left).await.is_ok() {
            stop.request(format!("the plan's longest run of {limit} minutes is over"));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_wakes_sleepers() {
        let stop = Stop::default();
        let sleeper = tokio::spawn({
            let stop = stop.clone();
            async move { stop.sleep(Duration::from_secs(3600)).await }
        });
        assert!(stop.check().is_ok());
        stop.request("first".to_owned());
        stop.request("second".to_owned());
        assert!(sleeper.await.unwrap().unwrap_err().to_string().contains("first"));
        assert!(stop.flag().load(Ordering::SeqCst));
        assert_eq!(stop.reason(), Some("first"));
    }
}
