//! What shall be served, by which volumes, and what is served.

use serde::{Deserialize, Serialize};

/// `serve/desired.json`, changed only by conditional writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Desired {
    /// The release to serve; none serves nothing.
    pub release: Option<String>,
    /// A server shall run.
    pub up: bool,
    /// It shall end at this time, RFC 3339, UTC; none means never.
    pub until: Option<String>,
    /// Grows with every change; names the serve execution `serve-SEQ`.
    pub seq: u64,
    /// The serve execution that is converging; none when idle.
    pub owner: Option<String>,
}

/// `serve/volumes.json`: what the server mounts. Written by `serve`, read by the server's agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volumes {
    /// The release that new connections get; none before the first is attached.
    pub current: Option<String>,
    /// Everything that may be mounted; what is not named here is unmounted.
    pub releases: Vec<MountedRelease>,
    /// Names of the profiles of `current`.
    pub profiles: Vec<String>,
}

/// A release's builds volumes on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountedRelease {
    /// The release.
    pub release: String,
    /// EBS volume id of each shard's builds volume, in shard order.
    pub volumes: Vec<String>,
}

/// `serve/status.json`, written by the server's agent every few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// The instance that wrote it.
    pub instance: String,
    /// Grows with every write.
    pub sequence: u64,
    /// The release that new connections get; none while nothing is mounted.
    pub current: Option<String>,
    /// Releases that are mounted; nothing else may be detached.
    pub mounted: Vec<String>,
    /// What went wrong last, if something did.
    pub problem: Option<String>,
}
