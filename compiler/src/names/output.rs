//! What outputs are called: as their sources, or portably.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{decode, encode, portable};

/// How a profile names its outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Naming {
    /// As their sources.
    #[default]
    Exact,
    /// So that FAT and exFAT accept them; these are kept apart from others.
    Portable(Apart),
}

impl Naming {
    /// The output of the file of this folder and of this name without extension, below the profile's outputs.
    pub(crate) fn output(&self, folder: &Path, base: &OsStr, extension: &str) -> PathBuf {
        match self {
            Naming::Exact => {
                let mut name = base.to_owned();
                name.push(".");
                name.push(extension);
                folder.join(name)
            }
            Naming::Portable(apart) => {
                let is_apart = apart.files.contains(&folder.join(base));
                self.folder(folder).join(portable::file(base, extension, is_apart))
            }
        }
    }

    /// The output of a source, below the profile's outputs.
    pub(crate) fn of_source(&self, folder: &Path, source: &OsStr, extension: &str) -> PathBuf {
        let base = Path::new(source).file_stem().unwrap_or(source);
        self.output(folder, base, extension)
    }

    /// Where the outputs of this folder lie, below the profile's outputs.
    pub(crate) fn folder(&self, folder: &Path) -> PathBuf {
        match self {
            Naming::Exact => folder.to_owned(),
            Naming::Portable(apart) => {
                let mut given = PathBuf::new();
                let portable = folder.iter().map(|name| {
                    given.push(name);
                    portable::folder(name, apart.folders.contains(&given))
                });
                portable.collect()
            }
        }
    }

    /// What outputs are compared by: two that the target takes for one have the same.
    pub(crate) fn compared(&self, output: &Path) -> PathBuf {
        match (self, output.to_str()) {
            (Naming::Portable(_), Some(output)) => portable::folded(output).into(),
            _ => output.to_owned(),
        }
    }
}

/// Paths that have to be kept apart from a sibling that would have the same portable name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    /// Folders, by their path below the collection.
    folders: BTreeSet<PathBuf>,
    /// Files, by their path without extension.
    files: BTreeSet<PathBuf>,
}

impl Apart {
    /// Adds what has to be kept apart in a folder, by the names of the folders in it and those of its files that have
    /// outputs, without extension.
    pub(crate) fn add(&mut self, folder: &Path, folders: &BTreeSet<OsString>, bases: &BTreeSet<OsString>) {
        let path = |name: OsString| folder.join(name);
        self.folders
            .extend(portable::apart(folders, portable::folder).into_iter().map(path));
        // Which extension it is changes nothing: it is the same for all of them.
        let file = |base: &OsStr, apart: bool| portable::file(base, "", apart);
        self.files.extend(portable::apart(bases, file).into_iter().map(path));
    }

    /// One path a line, encoded; a folder's ends with `/`.
    pub(crate) fn to_lines(&self) -> String {
        let folders = self.folders.iter().map(|path| encode(path) + "/\n");
        folders
            .chain(self.files.iter().map(|path| encode(path) + "\n"))
            .collect()
    }

    /// Reads what [`Apart::to_lines`] wrote.
    ///
    /// # Errors
    /// A line that is no encoded path.
    pub(crate) fn from_lines(text: &str) -> Result<Apart> {
        let mut apart = Apart::default();
        for line in text.lines() {
            let path = |encoded| Ok::<_, anyhow::Error>(PathBuf::from(decode(encoded)?));
            match line.strip_suffix('/') {
                Some(folder) => apart.folders.insert(path(folder)?),
                None => apart.files.insert(path(line)?),
            };
        }
        Ok(apart)
    }
}
