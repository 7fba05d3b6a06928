//! A walk through the collection before tup's: what must not be there, how new the newest thing is, and which names get
//! into each other's way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::names::{self, Apart};
use crate::source;

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The newest ctime, in seconds since 1970.
    pub(crate) newest: i64,
    /// Paths below the collection whose names have a meaning of their own, and the meaning.
    pub(crate) special: BTreeMap<PathBuf, &'static str>,
    /// What portable names have to keep apart.
    pub(crate) apart: Apart,
}

/// Walks through the collection; not into what is left out. With `portable`, it also compares names.
///
/// # Errors
/// A folder that cannot be listed.
pub(crate) fn of(collection: &Path, portable: bool) -> Result<Survey> {
    let mut survey = Survey::default();
    survey.folder(collection, Path::new(""), portable)?;
    Ok(survey)
}

impl Survey {
    fn folder(&mut self, collection: &Path, folder: &Path, portable: bool) -> Result<()> {
        let path = collection.join(folder);
        let listing = || format!("listing {}", path.display());
        let (mut folders, mut bases) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(&path).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let below = folder.join(entry.file_name());
            if let Some(meaning) = names::special(&entry.file_name()) {
                self.special.insert(below, meaning);
                continue;
            }
            let metadata = entry
                .metadata()
                .with_context(|| format!("looking at {}", below.display()))?;
            self.newest = self.newest.max(metadata.ctime());
            if metadata.is_dir() {
                self.folder(collection, &below, portable)?;
                folders.insert(entry.file_name());
            } else if let Some((base, _)) = source::of(&entry.file_name()) {
                bases.insert(base.to_owned());
            }
        }
        if portable {
            self.apart.add(folder, &folders, &bases);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_meaning_are_found_at_any_depth() {
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
        let survey = of(root.path(), false).unwrap();
        let expected = ["a/Tupfile", "a/Tupfile.lua", "b/.git", "tup.config"].map(PathBuf::from);
        assert!(survey.special.keys().eq(&expected));
        assert!(survey.newest > 0);
    }
}
