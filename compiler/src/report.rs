//! What a build says of itself: progress while it runs, a report at its end.

use std::collections::BTreeMap;

pub use contract::report::Failure;
pub use contract::status::Tracks as Counts;
use serde::Serialize;

/// How far a build is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Tracks to encode in this build, by profile. Empty until tup has read the whole tree.
    pub profiles: BTreeMap<String, Counts>,
}

/// What a build is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Looking at every file of the collection.
    #[default]
    Looking,
    /// Reading what is said about the tracks of folders that are new or changed, once for each profile.
    Reading {
        /// Folders that are read.
        done: u64,
        /// Folders to read.
        total: u64,
    },
    /// Encoding tracks.
    Encoding,
    /// Comparing outputs with what they should be.
    Comparing,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Everything that could be built is built; single tracks may have failed.
    #[default]
    Done,
    /// Nothing was built, or most tracks failed.
    Failed,
    /// It was told to stop; the next build continues.
    Interrupted,
}

/// What a build did. Paths are for people: bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed; none otherwise.
    pub reason: Option<String>,
    /// Outputs made by this build, as `PROFILE/path`.
    pub built: Vec<String>,
    /// Outputs removed by this build, as `PROFILE/path`.
    pub removed: Vec<String>,
    /// Tracks that could not be built. An older output of such a track stays.
    pub failed: Vec<Failure>,
    /// What a person should know and nothing failed of.
    pub warnings: Vec<String>,
    /// Tracks of this build, by profile: to encode, encoded, failed.
    pub profiles: BTreeMap<String, Counts>,
    /// Outputs that are there and belong to the collection as it is, by profile.
    pub outputs: BTreeMap<String, u64>,
}

/// What can change an output without a source having changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Version of `vibes-compile`.
    pub compiler: String,
    /// Encoder -> version, of those that are installed.
    pub encoders: BTreeMap<String, String>,
}
