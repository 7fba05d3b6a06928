//! After tup: outputs and stamps are made to agree.
//!
//! An output that has neither a stamp nor a failure in this build goes, because its source is gone. A stamp whose output
//! is missing or of another size goes too, so that tup makes both again. Folders without outputs go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::layout::{Layout, UNFINISHED_PREFIX};
use crate::names::STAMP_SUFFIX;
use crate::playlist::Planned;
use crate::stamp::Stamp;

/// What was found and done for one profile. Paths are below the profile's outputs.
#[derive(Debug, Default)]
pub(crate) struct Reconciled {
    /// Outputs that are there and have their stamp, with their sizes.
    pub(crate) good: BTreeMap<PathBuf, u64>,
    /// Outputs that were removed.
    pub(crate) removed: Vec<PathBuf>,
    /// Stamps that were removed.
    pub(crate) stale: usize,
    /// How many of the outputs that were removed were files where a failed track needs a folder, or in a folder where it needs a file.
    pub(crate) in_the_way: usize,
    /// What stamps warn of.
    pub(crate) warnings: Vec<String>,
    /// What stamps warn of about sidecars, which many tracks may share.
    pub(crate) about_sidecars: BTreeSet<String>,
}

/// Makes outputs and stamps of a profile agree. `failed` are the outputs of the tracks that failed in this build;
/// `playlists` are outputs that have no stamps.
///
/// # Errors
/// A folder cannot be listed, or a file not removed.
pub(crate) fn profile(
    layout: &Layout,
    profile: &str,
    failed: &BTreeSet<PathBuf>,
    playlists: &Planned<'_>,
) -> Result<Reconciled> {
    let outputs = layout.outputs(profile);
    let mut reconciled = Reconciled::default();
    let mut awaited = BTreeSet::new();
    visit(&layout.variant(profile).join("collection"), &mut |path| {
        if !path.to_string_lossy().ends_with(STAMP_SUFFIX) {
            return Ok(());
        }
        let stamp = Stamp::read(path).and_then(|stamp| Ok((stamp.output()?, stamp)));
        match stamp {
            Ok((output, stamp)) if size(&outputs.join(&output)) == Some(stamp.size) => {
                let warnings = stamp
                    .warnings
                    .iter()
                    .map(|warning| format!("{profile}/{}: {warning}", output.display()));
                reconciled.warnings.extend(warnings);
                reconciled.about_sidecars.extend(stamp.about_sidecars);
                reconciled.good.insert(output, stamp.size);
            }
            unusable => {
                awaited.extend(unusable.map(|(output, _)| output));
                reconciled.stale += 1;
                fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    })?;
    let folders: BTreeSet<&Path> = failed.iter().flat_map(|output| output.ancestors().skip(1)).collect();
    visit(&outputs, &mut |path| {
        let below = path
            .strip_prefix(&outputs)
            .context("an output outside of its profile")?;
        // A playlist or the older output of a failed track stays, unless it keeps another from being made.
        let stays = failed.contains(below) || playlists.contains_key(below);
        let stays = stays && !folders.contains(below);
        if !reconciled.good.contains_key(below) && !stays && !awaited.contains(below) {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
            let blocks = folders.contains(below) || below.ancestors().any(|folder| failed.contains(folder));
            reconciled.in_the_way += usize::from(blocks);
            if !is_unfinished(below) {
                reconciled.removed.push(below.to_owned());
            }
        }
        Ok(())
    })?;
    remove_empty_folders(&outputs)?;
    Ok(reconciled)
}

/// Removes what an encode left behind when it was killed.
///
/// # Errors
/// As [`profile`].
pub(crate) fn unfinished(layout: &Layout, profile: &str) -> Result<()> {
    let outputs = layout.outputs(profile);
    for entry in fs::read_dir(&outputs).with_context(|| format!("listing {}", outputs.display()))? {
        let path = entry.with_context(|| format!("listing {}", outputs.display()))?.path();
        if is_unfinished(&path) {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// All files below a folder; nothing if it does not exist.
///
/// # Errors
/// A folder cannot be listed, or the visitor's error.
pub(crate) fn visit(folder: &Path, visitor: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let listing = || format!("listing {}", folder.display());
    for entry in fs::read_dir(folder).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        if entry.file_type().with_context(listing)?.is_dir() {
            visit(&entry.path(), visitor)?;
        } else {
            visitor(&entry.path())?;
        }
    }
    Ok(())
}

/// A stamp lies somewhere below a folder; none does if that does not exist.
///
/// # Errors
/// A folder cannot be listed.
pub(crate) fn holds_a_stamp(folder: &Path) -> Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.with_context(|| format!("listing {}", folder.display()))?,
    };
    for entry in entries {
        let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
        if path.is_dir() && holds_a_stamp(&path)? || path.to_string_lossy().ends_with(STAMP_SUFFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the folders below a folder that hold no file.
fn remove_empty_folders(folder: &Path) -> Result<()> {
    let listing = || format!("listing {}", folder.display());
    for entry in fs::read_dir(folder).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        if entry.file_type().with_context(listing)?.is_dir() {
            let path = entry.path();
            remove_empty_folders(&path)?;
            if fs::read_dir(&path).with_context(listing)?.next().is_none() {
                fs::remove_dir(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn is_unfinished(path: &Path) -> bool {
    path.components()
        .any(|name| name.as_os_str().as_bytes().starts_with(UNFINISHED_PREFIX.as_bytes()))
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_and_stamps_agree_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path()).unwrap();
        let stamps = layout.variant("p").join("collection");
        fs::create_dir_all(&stamps).unwrap();
        let output = |path: &str, size: usize| {
            let path = layout.outputs("p").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; size]).unwrap();
        };
        let stamp = |name: &str, path: &str, size| {
            let stamp = Stamp::new(Path::new(path), size, String::new(), vec!["odd".to_owned()]);
            fs::write(stamps.join(name), serde_json::to_string(&stamp).unwrap()).unwrap();
        };
        output("a/good.flac", 5);
        stamp("1.vibes-stamp", "a/good.flac", 5);
        output("short.flac", 4);
        stamp("2.vibes-stamp", "short.flac", 5);
        stamp("3.vibes-stamp", "missing.flac", 5);
        output("b/c/orphan.flac", 5);
        output("failed.flac", 5);
        output(&format!("{UNFINISHED_PREFIX}x.flac"), 5);
        fs::write(stamps.join("4.vibes-stamp"), "damaged").unwrap();

        let failed = BTreeSet::from([PathBuf::from("failed.flac")]);
        let reconciled = profile(&layout, "p", &failed, &Planned::new()).unwrap();

        assert_eq!(reconciled.good, BTreeMap::from([(PathBuf::from("a/good.flac"), 5)]));
        assert_eq!(reconciled.removed, [PathBuf::from("b/c/orphan.flac")]);
        assert_eq!(reconciled.stale, 3);
        assert_eq!(reconciled.warnings, ["p/a/good.flac: odd"]);
        let mut left: Vec<_> = fs::read_dir(layout.outputs("p"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["a", "failed.flac", "short.flac"]);
    }
}
