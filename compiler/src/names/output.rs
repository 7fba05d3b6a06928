//! What outputs are called: as their sources, or portably.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::profile::{Names, Profile};

use super::{decode, encode, portable};
use crate::source;

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
    /// How a profile names its outputs: as their sources, or as `portable` does.
    pub(crate) fn of<'a>(profile: &Profile, portable: &'a Naming) -> &'a Naming {
        match profile.names {
            Names::Exact => &Naming::Exact,
            Names::Portable => portable,
        }
    }

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

/// What has outputs in one folder.
#[derive(Debug, Default)]
struct Siblings {
    /// The names of folders with audio at any depth.
    folders: BTreeSet<OsString>,
    /// The names of audio, without extension.
    bases: BTreeSet<OsString>,
}

impl Apart {
    /// What has to be kept apart among the outputs of this audio, by its paths below the collection. All of the collection
    /// counts, so that every shard says the same.
    pub(crate) fn of(audio: &[PathBuf]) -> Apart {
        let mut siblings: BTreeMap<&Path, Siblings> = BTreeMap::new();
        for path in audio {
            let (Some(folder), Some((base, _))) = (path.parent(), path.file_name().and_then(source::of)) else {
                continue;
            };
            siblings.entry(folder).or_default().bases.insert(base.to_owned());
            for folder in folder.ancestors() {
                if let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) {
                    siblings.entry(above).or_default().folders.insert(name.to_owned());
                }
            }
        }
        // Which extension it is changes nothing: it is the same for all of them. Without it, a name that is portable is as given.
        let file = |base: &OsStr, apart: bool| {
            let mut name = portable::file(base, "", apart);
            name.pop();
            name
        };
        let mut apart = Apart::default();
        for (folder, Siblings { folders, bases }) in siblings {
            let path = |name: OsString| folder.join(name);
            let folders = portable::apart(&folders, portable::folder);
            apart.folders.extend(folders.into_iter().map(path));
            apart.files.extend(portable::apart(&bases, file).into_iter().map(path));
        }
        apart
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_keep_their_path_and_change_their_extension() {
        let output =
            |folder: &str, source: &str| Naming::Exact.of_source(Path::new(folder), OsStr::new(source), "opus");
        assert_eq!(output("a/b", "01. x.y.wave"), Path::new("a/b/01. x.y.opus"));
        assert_eq!(output("", "x.flac"), Path::new("x.opus"));
    }

    #[test]
    fn whoever_is_portable_as_it_is_keeps_its_name() {
        let built = Apart::of(&["What？.flac".into()]);
        assert_eq!(built.to_lines(), "");
        let names = ["What?", "What？"].map(PathBuf::from);
        for extension in ["", ".flac"] {
            let audio = names.clone().map(|name| match extension {
                "" => name.join("1.wav"),
                _ => name.with_extension("flac"),
            });
            let apart = Apart::of(&audio);
            let marked: Vec<_> = apart.folders.iter().chain(&apart.files).collect();
            assert_eq!(marked, [&names[0]]);
        }
    }

    #[test]
    fn only_what_has_outputs_is_kept_apart() {
        let audio = [
            "A/1.wav",
            "a/b/1.wav",
            "c/x.wav",
            "c/X.flac",
            "c/x.pdf",
            "C/booklet.pdf",
        ]
        .map(PathBuf::from);
        let apart = Apart::of(&audio);
        assert_eq!(apart.to_lines(), "a/\nc/x\n");
        let naming = Naming::Portable(apart);
        let output = naming.of_source(Path::new("a/b"), OsStr::new("1.wav"), "opus");
        assert_eq!(output, Path::new("a ~ca978112/b/1.opus"));
    }
}
