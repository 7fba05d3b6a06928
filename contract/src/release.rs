//! What is published, and what is kept of a build that did not get that far.

use serde::{Deserialize, Serialize};

use crate::report::Failure;

/// `releases/RELEASE.json`. The SSM parameter `/PREFIX/release` holds the name of the current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The release's name: the build's that made it.
    pub release: String,
    /// When it was published, RFC 3339, UTC.
    pub published: String,
    /// The plan's fingerprint.
    pub fingerprint: String,
    /// Everything in the manifest was built; otherwise an equal fingerprint is tried once more.
    pub complete: bool,
    /// How often this fingerprint was built in a row with an incomplete result.
    pub tries: u32,
    /// Key of the manifest in the state bucket.
    pub manifest: String,
    /// Names of the profiles.
    pub profiles: Vec<String>,
    /// One pair of snapshots a shard, in order.
    pub shards: Vec<Pair>,
    /// Tracks that could not be built.
    pub failed: Vec<Failure>,
}

/// Two snapshots of one attempt that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// Of the sources volume; none in older releases, which keep only what is served.
    pub sources: Option<String>,
    /// Of the builds volume; none after `only: sync` into a blank collection.
    pub builds: Option<String>,
}

/// `checkpoint.json`: the pairs that an unpublished build left, newer than the current release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The build that left it.
    pub build: String,
    /// One a shard, in order; none for a shard that had nothing worth keeping.
    pub shards: Vec<Option<Pair>>,
}
