//! Reads outputs with libraries and programs that did not write them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{project, world};

/// What mutagen finds in one file.
#[derive(Debug, Deserialize)]
pub struct Track {
    /// Length in seconds.
    pub seconds: f64,
    /// Vorbis comment name, upper case -> values.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Embedded pictures.
    pub pictures: Vec<Picture>,
}

/// An embedded picture.
#[derive(Debug, Deserialize)]
pub struct Picture {
    /// ID3 picture type; 3 is the front cover.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Its MIME type.
    pub mime: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}

/// Every audio file below `root`, by relative path.
pub fn tracks(root: &Path) -> Result<BTreeMap<String, Track>> {
    let script = project::path("tests/scripts/readback.py");
    let out = Command::new(world::venv().join("python"))
        .arg(script)
        .arg(root)
        .output()?;
    ensure!(
        out.status.success(),
        "readback of {}: {}",
        root.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).context("the readback script's JSON")
}

/// The samples of an audio file as signed little-endian integers without a header, decoded by ffmpeg's libraries.
///
/// Errors when ffmpeg cannot read the file.
pub fn samples(file: &Path) -> Result<Vec<u8>> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-map", "0:a", "-f", "s32le", "-"])
        .output()
        .context("run ffmpeg")?;
    ensure!(
        out.status.success(),
        "ffmpeg {}: {}",
        file.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(out.stdout)
}
