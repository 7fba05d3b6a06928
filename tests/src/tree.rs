//! A directory's files with content and time, to tell what a build touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// What a file is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// SHA-256 of the content.
    pub digest: Vec<u8>,
    /// Time of the last modification.
    pub modified: SystemTime,
}

/// Relative path -> file, for every file below a directory.
pub type Tree = BTreeMap<String, File>;

/// Reads the whole tree below `root`.
pub fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(root)?
                .to_str()
                .context("a file name that is not UTF-8")?
                .to_owned();
            let digest = Sha256::digest(std::fs::read(&path)?).to_vec();
            tree.insert(
                name,
                File {
                    digest,
                    modified: path.metadata()?.modified()?,
                },
            );
        }
    }
    Ok(tree)
}

/// Names that are in `after` only, in `before` only, and in both with another content or time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the later tree.
    pub added: BTreeSet<String>,
    /// Only in the earlier tree.
    pub removed: BTreeSet<String>,
    /// In both, but written again.
    pub changed: BTreeSet<String>,
}

/// What happened between two readings.
pub fn difference(before: &Tree, after: &Tree) -> Difference {
    Difference {
        added: after
            .keys()
            .filter(|name| !before.contains_key(*name))
            .cloned()
            .collect(),
        removed: before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .cloned()
            .collect(),
        changed: before
            .iter()
            .filter(|(name, file)| after.get(*name).is_some_and(|now| now != *file))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// The files' contents without their times.
pub fn contents(tree: &Tree) -> BTreeMap<&str, &[u8]> {
    tree.iter()
        .map(|(name, file)| (name.as_str(), file.digest.as_slice()))
        .collect()
}
