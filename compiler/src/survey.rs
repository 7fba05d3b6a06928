//! A walk through the collection before tup's: what must not be there, how new the newest thing is, and where the audio is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::names;
use crate::source;

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The newest ctime, in seconds since 1970.
    pub(crate) newest: i64,
    /// Paths below the collection whose names have a meaning of their own, and the meaning.
    pub(crate) special: BTreeMap<PathBuf, &'static str>,
    /// The audio, by its paths below the collection.
    pub(crate) audio: Vec<PathBuf>,
}

/// Walks through the collection; not into what is left out.
///
/// # Errors
/// A folder that cannot be listed.
pub(crate) fn of(collection: &Path) -> Result<Survey> {
    let mut survey = Survey::default();
    survey.folder(collection, Path::new(""))?;
    Ok(survey)
}

impl Survey {
    fn folder(&mut self, collection: &Path, folder: &Path) -> Result<()> {
        let path = collection.join(folder);
        let listing = || format!("listing {}", path.display());
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
                self.folder(collection, &below)?;
            } else if source::of(&entry.file_name()).is_some() {
                self.audio.push(below);
            }
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
        let survey = of(root.path()).unwrap();
        let expected = ["a/Tupfile", "a/Tupfile.lua", "b/.git", "tup.config"].map(PathBuf::from);
        assert!(survey.special.keys().eq(&expected));
        assert!(survey.newest > 0);
    }
}
