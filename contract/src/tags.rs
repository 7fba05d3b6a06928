//! Names of the tags on everything that vibes creates: what it is found by, and what permission to end it hangs on.

/// The installation.
pub const STACK: &str = "vibes:stack";
/// The build; absent on what belongs to serving.
pub const BUILD: &str = "vibes:build";
/// Shard number, from 0.
pub const SHARD: &str = "vibes:shard";
/// Attempt number, from 1, on instances.
pub const ATTEMPT: &str = "vibes:attempt";
/// What it is for: `worker`, `volmgr`, `server` on instances; `sources`, `builds` on volumes and snapshots;
/// `server` on a server's volumes.
pub const ROLE: &str = "vibes:role";
/// On snapshots: [`RELEASE`] or [`CHECKPOINT`].
pub const KIND: &str = "vibes:kind";
/// On a server's volumes: the release.
pub const SERVES: &str = "vibes:release";
/// Set by a person: nothing that carries it is ever ended.
pub const HOLD: &str = "vibes:hold";
/// Set by the sweep on what it will end `GraceSeconds` later unless it is found to be needed: when it was marked, RFC 3339.
pub const MARKED: &str = "vibes:marked";

/// In the place of [`STACK`] on what stays of an installation that was deleted: its name. Nothing of vibes ends it.
pub const RETAINED: &str = "vibes:retained";

/// Value of [`KIND`]: belongs to a release.
pub const RELEASE: &str = "release";
/// Value of [`KIND`]: keeps unpublished work.
pub const CHECKPOINT: &str = "checkpoint";
