//! What stays of an installation that was deleted.

use serde::{Deserialize, Serialize};

/// `teardown.json` in the state bucket, written when nothing else is left.
///
/// The buckets keep their tags, which nothing is found by. The snapshots and volumes are tagged `vibes:retained=STACK`
/// instead of `vibes:stack=STACK`, so that an installation of the same name neither sees nor ends them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Teardown {
    /// The installation that was deleted.
    pub stack: String,
    /// AWS region of everything here.
    pub region: String,
    /// When, RFC 3339, UTC.
    pub time: String,
    /// Bucket with the collection.
    pub sources_bucket: String,
    /// Bucket with everything that vibes remembered, this object included.
    pub state_bucket: String,
    /// Snapshots of the kept releases and of the checkpoint; snapshots and volumes that a person holds by tag.
    pub kept: Vec<Kept>,
}

/// A snapshot or a volume that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its id: `snap-...` or `vol-...`.
    pub id: String,
    /// Size of the volume in GiB; a snapshot costs less.
    pub gib: u32,
    /// Its name in the console: stack, build, shard and what it is.
    pub name: String,
}
