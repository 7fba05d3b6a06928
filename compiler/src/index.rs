//! What reconcile found at the end of a build, so that a build that changes nothing need not read every stamp again.
//!
//! An index is good for one build: it is put aside at the beginning, and only an end that has looked at everything puts
//! one back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::names::encode;
use crate::playlist::Planned;
use crate::reconcile::{Reconciled, visit};

/// The outputs of a profile.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Path below the profile's outputs, encoded -> size.
    outputs: BTreeMap<String, u64>,
    /// What their stamps warn of.
    pub(crate) warnings: Vec<String>,
    /// What their stamps warn of about sidecars, which many tracks may share.
    pub(crate) about_sidecars: BTreeSet<String>,
}

impl Index {
    /// What reconcile found.
    pub(crate) fn of(reconciled: &Reconciled) -> Index {
        let outputs = reconciled.good.iter().map(|(path, size)| (encode(path), *size));
        Index {
            outputs: outputs.collect(),
            warnings: reconciled.warnings.clone(),
            about_sidecars: reconciled.about_sidecars.clone(),
        }
    }

    /// The index of a profile, put aside. None if the last build did not leave one, or it cannot be read.
    pub(crate) fn take(layout: &Layout, profile: &str) -> Result<Option<Index>> {
        let (path, aside) = paths(layout, profile);
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("putting aside {}", path.display())),
            Ok(()) => Ok(fs::read(aside).ok().and_then(|text| serde_json::from_slice(&text).ok())),
        }
    }

    /// Puts back what [`Index::take`] put aside.
    pub(crate) fn put_back(layout: &Layout, profile: &str) -> Result<()> {
        let (path, aside) = paths(layout, profile);
        fs::rename(aside, &path).with_context(|| format!("putting back {}", path.display()))
    }

    /// Writes it down for the next build.
    pub(crate) fn keep(&self, layout: &Layout, profile: &str) -> Result<()> {
        let (path, aside) = paths(layout, profile);
        let writing = || format!("writing {}", path.display());
        fs::create_dir_all(layout.indexes()).with_context(writing)?;
        fs::write(&aside, serde_json::to_vec(self).with_context(writing)?).with_context(writing)?;
        fs::rename(&aside, &path).with_context(writing)
    }

    /// Number of outputs, if exactly these outputs are there, each of its size; whatever playlists there are.
    pub(crate) fn found_in(&self, outputs: &Path, playlists: &Planned<'_>) -> Result<Option<u64>> {
        let (mut found, mut same) = (0, true);
        visit(outputs, &mut |path| {
            let below = path.strip_prefix(outputs).context("an output outside of its profile")?;
            if playlists.contains_key(below) {
                return Ok(());
            }
            let size = fs::symlink_metadata(path).ok().map(|metadata| metadata.len());
            same &= size.is_some() && self.outputs.get(&encode(below)).copied() == size;
            found += 1;
            Ok(())
        })?;
        Ok((same && found == self.outputs.len() as u64).then_some(found))
    }
}

/// The index's file, and where it is while a build runs.
fn paths(layout: &Layout, profile: &str) -> (PathBuf, PathBuf) {
    let file = |extension: &str| layout.indexes().join(format!("{profile}.{extension}"));
    (file("json"), file("aside"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_holds_for_exactly_its_outputs_and_once() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path()).unwrap();
        let outputs = layout.outputs("p");
        fs::create_dir_all(outputs.join("a")).unwrap();
        fs::write(outputs.join("a/x.flac"), "12345").unwrap();
        let found = Reconciled {
            good: [(PathBuf::from("a/x.flac"), 5)].into(),
            warnings: vec!["odd".to_owned()],
            ..Reconciled::default()
        };
        Index::of(&found).keep(&layout, "p").unwrap();

        let index = Index::take(&layout, "p").unwrap().unwrap();
        assert_eq!(index.found_in(&outputs, &Planned::new()).unwrap(), Some(1));
        assert_eq!(index.warnings, ["odd"]);
        assert!(Index::take(&layout, "p").unwrap().is_none());
        Index::put_back(&layout, "p").unwrap();
        assert!(Index::take(&layout, "p").unwrap().is_some());

        fs::write(outputs.join("y.flac"), "1").unwrap();
        assert_eq!(index.found_in(&outputs, &Planned::new()).unwrap(), None);
        fs::remove_file(outputs.join("y.flac")).unwrap();
        fs::write(outputs.join("a/x.flac"), "1234").unwrap();
        assert_eq!(index.found_in(&outputs, &Planned::new()).unwrap(), None);
    }
}
