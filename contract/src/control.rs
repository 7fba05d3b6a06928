//! The control object: who may change things, and whether somebody waits.

use serde::{Deserialize, Serialize};

/// `s3://STATE/control.json`, changed only by conditional writes (`If-None-Match: *` to create, `If-Match` after).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Control {
    /// The build that may change things; none when free.
    pub owner: Option<String>,
    /// The highest number that a build name was made from.
    pub seq: u64,
    /// Somebody asked for a build that the owner may not have seen.
    pub pending: bool,
    /// When `owner` was set, RFC 3339, UTC; none when free, or when what set it had no time.
    pub since: Option<String>,
    /// The build whose clean-up was the last to give control away: it does not get it again.
    #[serde(default)]
    pub last: Option<String>,
    /// How often a plan has taken free control or a wish, of whatever build: a listing from before the last is stale.
    #[serde(default)]
    pub taken: u64,
    /// The owner has decided what it builds: whatever is pending from now on is for the next.
    #[serde(default)]
    pub planned: bool,
    /// The owner's clean-up has begun: nothing may be created or published for it any more.
    #[serde(default)]
    pub ending: bool,
    /// The stack is being deleted: nothing is started or made for anybody any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shut: bool,
}

/// The name of the build with this number: `b-00042`.
pub fn build_name(seq: u64) -> String {
    format!("b-{seq:05}")
}
