//! The record: every call that came to the endpoint, with its caller and how it ended.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::call::Call;
use crate::iam::Need;

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Position in the record, from 1; grows across restarts of one process only.
    pub seq: u64,
    /// When the answer was known; RFC 3339, UTC.
    pub time: String,
    /// How long the answer took, in milliseconds, until its headers.
    pub millis: u64,
    /// The service, as in [`Call`].
    pub service: String,
    /// The action, as in [`Call`].
    pub action: String,
    /// Who called.
    pub caller: String,
    /// HTTP status; none if the connection was cut.
    pub status: Option<u16>,
    /// AWS's error code.
    pub error: Option<String>,
    /// What the call named, and what an EC2 call made.
    pub resources: Vec<String>,
    /// The fault that was injected.
    pub fault: Option<String>,
    /// What a role had to be allowed to do; none if that is not known, or the caller may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<Judged>>,
}

/// A need, and the statements of the caller's role that allowed it when it called.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// The need; without the keys that all calls of a caller have alike.
    #[serde(flatten)]
    pub need: Need,
    /// The `Sid`s; without any it was refused.
    pub allowed: Vec<String>,
}

/// How a call ended.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// HTTP status; none if the connection was cut.
    pub status: Option<u16>,
    /// AWS's error code.
    pub error: Option<String>,
    /// Ids of what an EC2 call made.
    pub made: Vec<String>,
    /// The fault that was injected.
    pub fault: Option<String>,
    /// What the caller's role had to be allowed to do.
    pub needs: Option<Vec<Judged>>,
}

/// All calls since the twin was started, in memory and in `DIR/record.jsonl`.
pub struct Record {
    inner: Mutex<(File, Vec<Entry>)>,
}

impl Record {
    /// Begins an empty record.
    pub fn create(path: &Path) -> Result<Record> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Record {
            inner: Mutex::new((file, Vec::new())),
        })
    }

    /// Notes a call that took `millis`.
    pub fn add(&self, call: &Call, caller: &str, millis: u64, outcome: Outcome) {
        let mut inner = self.inner.lock().expect("no panic inside");
        let (file, entries) = &mut *inner;
        let mut resources = call.resources.clone();
        resources.extend(outcome.made);
        let entry = Entry {
            seq: entries.len() as u64 + 1,
            time: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            millis,
            service: call.service.clone(),
            action: call.action.clone(),
            caller: caller.to_owned(),
            status: outcome.status,
            error: outcome.error,
            resources,
            fault: outcome.fault,
            needs: outcome.needs,
        };
        let line = serde_json::to_string(&entry).unwrap_or_default();
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!("the record cannot be written: {error}");
        }
        entries.push(entry);
    }

    /// The entries after number `since`, as JSON lines.
    pub fn lines(&self, since: u64) -> String {
        let inner = self.inner.lock().expect("no panic inside");
        let new = inner.1.iter().skip(since as usize);
        new.map(|entry| serde_json::to_string(entry).unwrap_or_default() + "\n")
            .collect()
    }
}
