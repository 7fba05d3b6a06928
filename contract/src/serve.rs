//! What shall be served, by which volumes, to whom, and what is served.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who pulls with the password, and by SFTP.
pub const USER: &str = "vibes";
/// Who pulls by rsync over SSH. A user of its own, because SSH shuts the one for SFTP up in the release, where there are
/// no programs.
pub const RSYNC_USER: &str = "rsync";

/// `serve/desired.json`, changed only by conditional writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Desired {
    /// The release to serve; none serves nothing.
    pub release: Option<String>,
    /// The release that was the current one when a person wished for another by its name: while it is, that one is
    /// served. None serves the current one.
    pub instead_of: Option<String>,
    /// A server shall run.
    pub up: bool,
    /// It shall end at this time, RFC 3339, UTC; none means never.
    pub until: Option<String>,
    /// Grows with every change; names the serve execution `serve-SEQ`.
    pub seq: u64,
    /// The serve execution that is converging; none when idle.
    pub owner: Option<String>,
}

/// The serve machine's input: what a person wishes for. `{}` has what was wished for before looked after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Wish {
    /// Serve this release, until a newer one than the current is published.
    pub release: Option<String>,
    /// A server shall run, or none; none keeps what is wished for.
    pub up: Option<bool>,
    /// It shall end at this time, RFC 3339; none means never.
    pub until: Option<String>,
    /// Ignored: the console and the `aws` command line put their notes here.
    #[serde(rename = "Comment", skip_serializing)]
    pub comment: Option<Value>,
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

/// `serve/access.json`: who may pull. It holds the password: `serve` writes it, the server's agent reads it, nobody else
/// may.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Prefix of the installation's parameters: what is missing is named in full.
    pub prefix: String,
    /// The password of [`USER`]; without one, nothing is offered that asks for it.
    pub password: Option<String>,
    /// Public keys, as in SSH's `authorized_keys`; without one, nothing is offered over SSH.
    pub keys: Option<String>,
    /// The server's name in the DNS. With one, HTTP is encrypted.
    pub domain: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// A way to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The rsync daemon.
    Rsync,
    /// SFTP, and rsync over SSH.
    Ssh,
    /// Encrypted if the server has a name in the DNS.
    Http,
}

/// `serve/status.json`, written by the server's agent when it says something new, and every minute.
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
    /// Every protocol: why new connections cannot use it, or nothing if they can.
    #[serde(default)]
    pub protocols: BTreeMap<Protocol, Option<String>>,
    /// The server's public SSH key, as in `known_hosts`; none while there is no SSH.
    #[serde(default)]
    pub host_key: Option<String>,
    /// The name of [`Access::domain`].
    #[serde(default)]
    pub domain: Option<String>,
    /// What went wrong last, if something did.
    pub problem: Option<String>,
}
