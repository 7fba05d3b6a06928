//! What a person or a trigger may ask of a build: the execution's input.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The execution's input. `{}` builds everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Input {
    /// Build only these profiles; none means all.
    pub profiles: Option<Vec<String>>,
    /// Stop early: `"sync"` brings the sources volume up to date and encodes nothing.
    pub only: Option<Only>,
    /// Build although the fingerprint equals the release's.
    pub force: bool,
    /// Start from blank volumes instead of the newest snapshots.
    pub fresh: bool,
    /// Serve the release afterwards; none means what the stack's parameter says.
    pub serve: Option<bool>,
    /// Which market the workers come from; none means what the stack's parameters say.
    pub market: Option<Market>,
    /// Keep the worker of a failed build for this many minutes (at most 600) to look at it.
    pub keep_failed_worker_minutes: u32,
    /// Wait until the newest upload is some minutes old, so that a long upload is one build (set by triggers).
    pub settle: bool,
    /// Ignored: the console and the `aws` command line put their notes here.
    #[serde(rename = "Comment", skip_serializing)]
    pub comment: Option<Value>,
}

/// The part of a build that `only` stops after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Only {
    /// Bring the sources volume up to date.
    Sync,
}

/// How an instance is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// Cheap, may be taken away with two minutes' notice.
    Spot,
    /// Dear, stays.
    OnDemand,
}

impl Market {
    /// Its name for people, and in names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Market::Spot => "spot",
            Market::OnDemand => "on-demand",
        }
    }
}
