//! Files that daemons read.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Makes the file hold this text, at once, and makes its folder. What holds it already is left alone.
pub(super) fn replace(path: &Path, mode: u32, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    let folder = path.parent().with_context(doing)?;
    fs::create_dir_all(folder).with_context(doing)?;
    let new = path.with_extension("new");
    crate::sync::tree::remove(&new)?;
    // Never readable by more than it shall be: a secret may be in it.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .with_context(doing)?;
    file.write_all(text.as_bytes()).with_context(doing)?;
    fs::set_permissions(&new, Permissions::from_mode(mode)).with_context(doing)?;
    fs::rename(&new, path).with_context(doing)
}
