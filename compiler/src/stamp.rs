//! Stamps: what tup knows of an output. A stamp lies in the variant, the output it speaks of in `out/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::names;

/// A stamp's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stamp {
    /// The output's path below the profile's outputs, as [`names::encode`] writes it.
    output: String,
    /// The output's size in bytes.
    pub(crate) size: u64,
    /// The output's SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
    /// What a person should know about this track.
    pub(crate) warnings: Vec<String>,
    /// What a person should know about its sidecars; each names its file, and may stand in other stamps too.
    #[serde(default)]
    pub(crate) about_sidecars: Vec<String>,
}

impl Stamp {
    /// The stamp of an output.
    pub(crate) fn new(output: &Path, size: u64, sha256: String, warnings: Vec<String>) -> Stamp {
        Stamp {
            output: names::encode(output),
            size,
            sha256,
            warnings,
            about_sidecars: Vec::new(),
        }
    }

    /// Reads a stamp.
    ///
    /// # Errors
    /// It cannot be read, or no [`Stamp`] stands in it.
    pub(crate) fn read(path: &Path) -> Result<Stamp> {
        let text = std::fs::read(path).with_context(|| format!("reading stamp {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading stamp {}", path.display()))
    }

    /// The output's path below the profile's outputs.
    ///
    /// # Errors
    /// The stamp was damaged.
    pub(crate) fn output(&self) -> Result<PathBuf> {
        names::decode(&self.output).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_stamp_names_any_output() {
        use std::os::unix::ffi::OsStrExt;
        let output = Path::new(OsStr::from_bytes(b"a\xff/b c.flac"));
        let stamp = Stamp::new(output, 1, "00".to_owned(), Vec::new());
        assert_eq!(stamp.output().unwrap(), output);
    }
}
