//! Stamps: what tup knows of an output. A stamp lies in the variant, the output it speaks of in `out/`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::source_name;

/// What a stamp's name ends with.
pub(crate) const SUFFIX: &str = ".stamp";

/// A stamp's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stamp {
    /// The output's path below the profile's outputs, as [`source_name::encode`] writes it.
    output: String,
    /// The output's size in bytes.
    pub(crate) size: u64,
    /// The output's SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
    /// What a person should know about this track.
    pub(crate) warnings: Vec<String>,
}

impl Stamp {
    /// The stamp of an output.
    pub(crate) fn new(output: &Path, size: u64, sha256: String, warnings: Vec<String>) -> Stamp {
        Stamp {
            output: source_name::encode(output),
            size,
            sha256,
            warnings,
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
        source_name::decode(&self.output).map(PathBuf::from)
    }
}

/// The name of a source's stamp: its encoded name, shortened with a digest where the file system could not hold it.
pub(crate) fn name(source: &OsStr) -> String {
    const LONGEST: usize = 200;
    let encoded = source_name::encode(source);
    if encoded.len() <= LONGEST {
        return encoded + SUFFIX;
    }
    let digest = hex::encode(Sha256::digest(encoded.as_bytes()));
    format!("{}-{}{SUFFIX}", &encoded[..LONGEST / 2], &digest[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_have_short_stamps_that_differ() {
        let long = "長".repeat(80);
        let (one, two) = (
            name(OsStr::new(&format!("{long}1.wav"))),
            name(OsStr::new(&format!("{long}2.wav"))),
        );
        assert!(one.len() < 255 && one != two, "{one} {two}");
        assert_eq!(name(OsStr::new("01 a.wav")), "01=20a.wav.stamp");
    }

    #[test]
    fn a_stamp_names_any_output() {
        use std::os::unix::ffi::OsStrExt;
        let output = Path::new(OsStr::from_bytes(b"a\xff/b c.flac"));
        let stamp = Stamp::new(output, 1, "00".to_owned(), Vec::new());
        assert_eq!(stamp.output().unwrap(), output);
    }
}
