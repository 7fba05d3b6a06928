//! A walk through the collection before tup's: what must not be there, and how new the newest thing is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The newest ctime, in seconds since 1970.
    pub(crate) newest: i64,
    /// Paths below the collection that tup would obey or skip.
    pub(crate) obeyed: Vec<PathBuf>,
}

/// Walks through the collection; not into what tup would skip.
///
/// # Errors
/// A folder that cannot be listed.
pub(crate) fn of(collection: &Path) -> Result<Survey> {
    let mut survey = Survey::default();
    survey.folder(collection, Path::new(""))?;
    survey.obeyed.sort();
    Ok(survey)
}

/// tup runs what a `Tupfile` or `Tupdefault` says and skips folders of version control.
pub(crate) fn is_obeyed(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    ["Tupfile", "Tupdefault", "Tuprules"]
        .iter()
        .any(|begin| name.starts_with(begin))
        || ["tup.config", ".tup", ".git", ".svn", ".hg", ".bzr"].contains(&name)
}

impl Survey {
    fn folder(&mut self, collection: &Path, folder: &Path) -> Result<()> {
        let path = collection.join(folder);
        let listing = || format!("listing {}", path.display());
        for entry in fs::read_dir(&path).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let below = folder.join(entry.file_name());
            if is_obeyed(&entry.file_name()) {
                self.obeyed.push(below);
                continue;
            }
            let metadata = entry
                .metadata()
                .with_context(|| format!("looking at {}", below.display()))?;
            self.newest = self.newest.max(metadata.ctime());
            if metadata.is_dir() {
                self.folder(collection, &below)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tup_obeys_are_found_at_any_depth() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "a/Tupfile",
            "a/Tupfile.lua",
            "b/.git/config",
            "tup.config",
            "b/tupfile",
            "b/song.wav",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let survey = of(root.path()).unwrap();
        let expected = ["a/Tupfile", "a/Tupfile.lua", "b/.git", "tup.config"].map(PathBuf::from);
        assert_eq!(survey.obeyed, expected);
        assert!(survey.newest > 0);
    }
}
