//! The plan of a build: decided once, read by every function and instance of it.

use serde::{Deserialize, Serialize};

use crate::input::{Input, Market};
use crate::job::{Kind, Role};

/// `builds/BUILD/plan.json`, written by `plan` before anything is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The build's name.
    pub build: String,
    /// What was asked for.
    pub input: Input,
    /// Hash over everything that can change the release, 64 hex digits.
    pub fingerprint: String,
    /// Bucket that the manifest was listed from.
    pub sources_bucket: String,
    /// Role of the instances: worker, or volmgr for `only: sync`.
    pub role: Role,
    /// Image id, pinned for all attempts.
    pub image: String,
    /// Markets to try, in order.
    pub markets: Vec<Market>,
    /// Attempts that a shard has, at most.
    pub attempts: u32,
    /// Names of the profiles to build.
    pub profiles: Vec<String>,
    /// Volume kinds that a shard has: both, or sources for `only: sync`.
    pub kinds: Vec<Kind>,
    /// One a shard, in order.
    pub shards: Vec<ShardPlan>,
    /// When to ask how an attempt is doing.
    pub polls: Polls,
    /// Serve the release afterwards.
    pub serve: bool,
    /// Longest time that an instance may live, in minutes.
    pub max_run_minutes: u32,
}

/// What one shard starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardPlan {
    /// Shard number, from 0.
    pub shard: u32,
    /// The sources volume.
    pub sources: VolumePlan,
    /// The builds volume.
    pub builds: VolumePlan,
}

impl ShardPlan {
    /// The plan of the volume of this kind.
    pub fn volume(&self, kind: Kind) -> &VolumePlan {
        match kind {
            Kind::Sources => &self.sources,
            Kind::Builds => &self.builds,
        }
    }
}

/// What one volume is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumePlan {
    /// Snapshot to start from; none means blank. Both volumes of a shard come from one pair, or both are blank.
    pub snapshot: Option<String>,
    /// Size in GiB, at least.
    pub gib: u32,
}

/// How often an attempt is polled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Polls {
    /// Seconds before the first polls.
    pub first_seconds: u32,
    /// The wait grows to this many seconds.
    pub max_seconds: u32,
    /// Seconds without a new sequence number after which a worker that has reported counts as lost.
    pub silent_seconds: u32,
    /// The same for one that has not reported yet.
    pub boot_seconds: u32,
}
