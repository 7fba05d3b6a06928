//! Playlists: found in the collection, and written for each profile that asks for them, with that profile's outputs.
//!
//! `NAME.pl.yaml` has a `title` and `tracks`, paths from the collection's root without extension; it becomes a playlist in
//! its own folder. `playlists=NAME:POSITION,...` in a `vibes.txt` or `TRACK.vibes.txt` puts tracks into a playlist at the root.
//! What is wrong with a playlist is a warning, and what is right of it is written.

mod m3u;
mod sources;
mod xspf;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use contract::profile::{self, Profile};

use crate::encode::sync;
use crate::layout::UNFINISHED_PREFIX;
use crate::names::{LONGEST_NAME, Naming};
use crate::refused::Refused;
pub(crate) use sources::Playlists;
#[cfg(test)]
pub(crate) use sources::parse;

/// A playlist of the collection.
#[derive(Debug)]
struct Playlist {
    /// Where it comes from, for messages.
    origin: String,
    /// The folder that it belongs into, below the collection.
    folder: PathBuf,
    /// Its name without extension.
    name: OsString,
    /// What is in it; none if that cannot be read: an older output stays.
    content: Option<Content>,
}

/// What is in a playlist.
#[derive(Debug)]
struct Content {
    title: String,
    /// Tracks below the collection, without extension.
    tracks: Vec<PathBuf>,
}

/// What a person should know about a playlist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Warning {
    /// Where the playlist comes from.
    pub(crate) origin: String,
    /// What is wrong, and what to do.
    pub(crate) refused: Refused,
}

impl Warning {
    fn new(origin: impl Into<String>, reason: impl Into<String>, remedy: &str) -> Warning {
        Warning {
            origin: origin.into(),
            refused: Refused::new(reason, remedy),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.refused)
    }
}

/// The playlists of a profile, by their path below its outputs.
pub(crate) type Planned<'a> = BTreeMap<PathBuf, Plan<'a>>;

/// A playlist of a profile.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    playlist: &'a Playlist,
    kind: profile::Playlist,
}

impl Playlists {
    /// The playlists of a profile. Of two that would be one file, the first is it.
    pub(crate) fn plan(&self, profile: &Profile, naming: &Naming, warnings: &mut BTreeSet<Warning>) -> Planned<'_> {
        let mut planned = Planned::new();
        let mut compared: BTreeMap<PathBuf, &Playlist> = BTreeMap::new();
        for playlist in &self.playlists {
            for &kind in &profile.playlists {
                let output = naming.output(&playlist.folder, &playlist.name, kind.extension());
                if let Some(first) = compared.get(&naming.compared(&output)) {
                    let (other, output) = (&playlist.origin, output.display());
                    let reason = format!("{other} would become {output} too, and does not");
                    warnings.insert(Warning::new(&first.origin, reason, "rename one"));
                    continue;
                }
                compared.insert(naming.compared(&output), playlist);
                planned.insert(output, Plan { playlist, kind });
            }
        }
        planned
    }

    /// The bytes of a playlist that lies at `output` below a profile's `outputs`; none if what is in it is not known.
    pub(crate) fn bytes(
        &self,
        (output, plan): (&Path, &Plan<'_>),
        outputs: &Path,
        profile: &Profile,
        naming: &Naming,
        warnings: &mut BTreeSet<Warning>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(content) = &plan.playlist.content else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        for track in &content.tracks {
            let folder = track.parent().unwrap_or(Path::new(""));
            let base = track.file_name().unwrap_or_default();
            let entry = naming.output(folder, base, profile.format.extension);
            // Those of other shards are not here.
            if self.is_here(track) && !outputs.join(&entry).is_file() {
                let (profile, track) = (&profile.name, track.display());
                let reason = format!("{track} has no output in profile {profile} and is left out there");
                let remedy = "see why it is not built, or take it out";
                warnings.insert(Warning::new(&plan.playlist.origin, reason, remedy));
                continue;
            }
            entries.push(relative(output.parent().unwrap_or(Path::new("")), &entry));
        }
        Ok(Some(match plan.kind {
            profile::Playlist::M3u => {
                let (bytes, unspeakable) = m3u::bytes(&one_line(&content.title), &entries);
                for entry in unspeakable {
                    let reason = format!("m3u cannot hold the line break in {entry:?}, which is left out");
                    warnings.insert(Warning::new(&plan.playlist.origin, reason, "rename it, or use xspf"));
                }
                bytes
            }
            profile::Playlist::Xspf => xspf::bytes(&one_line(&content.title), &entries)?,
        }))
    }
}

/// Writes a playlist whole, unless these bytes are there already; returns whether it did.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(outputs: &Path, output: &Path, bytes: &[u8]) -> Result<bool> {
    let path = outputs.join(output);
    if fs::read(&path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let writing = || format!("writing {}", path.display());
    let mut unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(outputs)
        .with_context(writing)?;
    unfinished.write_all(bytes).with_context(writing)?;
    unfinished.as_file().sync_all().with_context(writing)?;
    unfinished.persist(&path).with_context(writing)?;
    sync(path.parent().unwrap_or(outputs))?;
    Ok(true)
}

/// A path as it is seen from a folder; both lie below the same one.
fn relative(folder: &Path, path: &Path) -> PathBuf {
    let common = folder.components().zip(path.components());
    let common = common.take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    up.chain(path.components().skip(common)).collect()
}

/// A title that fits into a line.
fn one_line(title: &str) -> String {
    title.replace(char::is_control, " ")
}

/// Whether a file can be called so, with any of the extensions.
fn is_file_name(name: &str) -> bool {
    const LONGEST: usize = LONGEST_NAME - ".xspf".len();
    (1..=LONGEST).contains(&name.len()) && !name.contains(['/', '\0']) && !name.starts_with(UNFINISHED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_playlist() {
        for (folder, path, expected) in [
            ("", "a/b.flac", "a/b.flac"),
            ("a", "a/b.flac", "b.flac"),
            ("a/b", "a/c/d.flac", "../c/d.flac"),
            ("x/y", "a.flac", "../../a.flac"),
        ] {
            assert_eq!(relative(Path::new(folder), Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn names_that_no_file_can_have_are_known() {
        for name in ["road", "50% <3", ".."] {
            assert!(is_file_name(name), "{name}");
        }
        for name in ["", "a/b", "a\0", ".vibes-unfinished-x", &"x".repeat(251)] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
