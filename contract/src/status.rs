//! What a worker says of itself while it works, and at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `builds/BUILD/shard-N/attempt-M/status.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// The instance that wrote it.
    pub instance: String,
    /// Grows with every write.
    pub sequence: u64,
    /// What it is doing: `devices`, `sync`, `build`, `unmount`.
    pub step: String,
    /// How it ended (`final` in the JSON); none while it works.
    #[serde(rename = "final")]
    pub last: Option<Final>,
    /// Why it ended `failed` or `interrupted`.
    pub reason: Option<String>,
    /// Tracks, by profile.
    pub profiles: BTreeMap<String, Tracks>,
    /// Bytes fetched and to fetch by the sync.
    pub bytes: Bytes,
    /// Estimate of the seconds left in this step; none while unknown.
    pub eta_seconds: Option<u64>,
    /// Both volumes are unmounted and were proven clean.
    pub clean: bool,
    /// What a person should know and nobody failed of.
    pub warnings: Vec<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Final {
    /// Everything asked for is done (single tracks may have failed).
    Done,
    /// It cannot be done; another attempt would fail alike.
    Failed,
    /// It was told to stop; another attempt continues.
    Interrupted,
}

/// Numbers of tracks of one profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracks {
    /// Encoded in this build.
    pub done: u64,
    /// To encode in this build.
    pub total: u64,
    /// Failed in this build.
    pub failed: u64,
}

/// Numbers of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bytes {
    /// Done.
    pub done: u64,
    /// In all.
    pub total: u64,
}
