//! What an instance is told: user data at launch, then one small object per volume.

use serde::{Deserialize, Serialize};

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Syncs and encodes.
    Worker,
    /// Syncs only, on a cheap machine.
    Volmgr,
    /// Serves the release.
    Server,
}

impl Role {
    /// The role as tags and parameters spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Volmgr => "volmgr",
            Role::Server => "server",
        }
    }
}

/// One of the two volumes of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Holds the mirror of the bucket.
    Sources,
    /// Holds the tup tree and the outputs.
    Builds,
}

impl Kind {
    /// The kind as tags and object names spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Sources => "sources",
            Kind::Builds => "builds",
        }
    }
}

/// An instance's user data (JSON). Everything else is read from the state bucket. No secret ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserData {
    /// The installation.
    pub stack: String,
    /// AWS region of the state bucket.
    pub region: String,
    /// Name of the state bucket.
    pub state_bucket: String,
    /// What the instance is for.
    pub role: Role,
    /// The build; none for a server, which belongs to no build.
    pub build: Option<String>,
    /// Shard number, from 0; 0 for a server.
    pub shard: u32,
    /// Attempt number, from 1; 0 for a server.
    pub attempt: u32,
}

/// `builds/BUILD/shard-N/job/attempt-M/KIND.json`: the volume that the instance waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeJob {
    /// EBS volume id (`vol-...`).
    pub volume: String,
    /// The volume was created blank: it may be formatted if it holds no filesystem.
    pub blank: bool,
    /// Size in GiB; the filesystem is grown to it.
    pub gib: u32,
}
