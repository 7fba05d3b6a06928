//! The manifest: what the sources bucket held when the build was planned.

use serde::{Deserialize, Serialize};

/// One object of the sources bucket. A manifest has one a line (JSON), sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Object key: the path below the collection's root.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// ETag as S3 gives it, with its quotes.
    pub etag: String,
    /// Version id; none in an unversioned bucket.
    pub version: Option<String>,
}

/// The manifest's text: one JSON object a line, in the order given.
pub fn to_lines(entries: &[Entry]) -> serde_json::Result<String> {
    let mut text = String::new();
    for entry in entries {
        text += &serde_json::to_string(entry)?;
        text.push('\n');
    }
    Ok(text)
}

/// The entries of a manifest's text. The error is the first line's that is not an entry.
pub fn from_lines(text: &str) -> serde_json::Result<Vec<Entry>> {
    text.lines().map(serde_json::from_str).collect()
}
