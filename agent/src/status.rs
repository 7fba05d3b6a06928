//! The status object of an attempt: rewritten at every step and every few seconds, the journal beside it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::objects;
use contract::status::{Final, Status};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use crate::journal::Journal;
use crate::store::Store;

/// Where the work says how far it is. Clones share the status.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    status: Mutex<Status>,
    stepped: Notify,
}

impl Reporter {
    /// Begins a step; the status object is rewritten at once.
    pub fn step(&self, step: &str) {
        info!("step {step}");
        self.update(|status| {
            step.clone_into(&mut status.step);
            status.eta_seconds = None;
        });
        self.0.stepped.notify_one();
    }

    /// Changes what the next write says.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status());
    }

    /// Notes what a person should know.
    pub fn warn(&self, warning: String) {
        warn!("{warning}");
        self.update(|status| status.warnings.push(warning));
    }

    fn next(&self) -> Status {
        let mut status = self.status();
        status.sequence += 1;
        status.clone()
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the status object until it is finished. Only one write is under way at any time, so that they stay in order.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    ending: CancellationToken,
    task: JoinHandle<()>,
}

/// Where one attempt's status goes.
#[derive(Debug, Clone)]
struct Target {
    reporter: Reporter,
    store: Store,
    journal: Journal,
    status_key: String,
    journal_key: String,
}

/// Starts to report an attempt: `first` is written at once.
pub fn start(first: Status, store: &Store, journal: &Journal, every: Duration) -> (Reporter, Writer) {
    let status_key = objects::status(&first.build, first.shard, first.attempt);
    let journal_key = objects::journal(&first.build, first.shard, first.attempt);
    let reporter = Reporter(Arc::new(Shared {
        status: Mutex::new(first),
        stepped: Notify::new(),
    }));
    let target = Target {
        reporter: reporter.clone(),
        store: store.clone(),
        journal: journal.clone(),
        status_key,
        journal_key,
    };
    let ending = CancellationToken::new();
    let task = tokio::spawn(write_until(ending.clone(), target.clone(), every).in_current_span());
    (reporter, Writer { target, ending, task })
}

async fn write_until(ending: CancellationToken, target: Target, every: Duration) {
    let mut uploaded = 0;
    while !ending.is_cancelled() {
        target.write(&mut uploaded).await;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = target.reporter.0.stepped.notified() => {}
            () = ending.cancelled() => {}
        }
    }
}

impl Target {
    /// A write that fails is not repeated: the next one says more, and silence has a meaning of its own.
    async fn write(&self, uploaded: &mut u64) {
        let status = self.reporter.next();
        if let Err(error) = self.store.put_json(&self.status_key, &status).await {
            warn!("status not written: {error:#}");
        }
        let (text, written) = self.journal.text();
        if written > *uploaded {
            match self.store.put_text(&self.journal_key, text).await {
                Ok(()) => *uploaded = written,
                Err(error) => warn!("journal not written: {error:#}"),
            }
        }
    }
}

impl Writer {
    /// Writes the last status, after which nothing is written any more.
    pub async fn finish(self, last: Final, reason: Option<String>, clean: bool) {
        self.ending.cancel();
        if let Err(error) = self.task.await {
            error!("the status writer broke: {error}");
        }
        match &reason {
            Some(reason) => error!("{last:?}: {reason}"),
            None => info!("{last:?}"),
        }
        self.target.reporter.update(|status| {
            status.last = Some(last);
            status.reason = reason;
            status.clean = clean;
            status.eta_seconds = None;
        });
        self.target.write(&mut 0).await;
    }
}
