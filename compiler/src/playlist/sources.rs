//! What the collection says about playlists: `NAME.pl.yaml`, and `playlists=` in `vibes.txt` and `TRACK.vibes.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::shard::of_audio;

use super::{Content, Playlist, Warning, is_file_name};
use crate::build::Shard;
use crate::names;
use crate::refused::Refused;
use crate::sidecar::{self, Membership, yaml};
use crate::source;

/// What the names of playlists end with.
const SUFFIX: &str = ".pl.yaml";
/// What the names of the options of one track end with, and the name of those of a folder with a dot before it.
const OPTIONS: &str = ".vibes.txt";

/// The playlists of a collection.
#[derive(Debug)]
pub(crate) struct Playlists {
    /// Those of files of their own come first.
    pub(super) playlists: Vec<Playlist>,
    /// What a person should know about them.
    pub(crate) warnings: BTreeSet<Warning>,
    tracks: Tracks,
}

/// The tracks that playlists may name, below the collection and without extension.
#[derive(Debug)]
struct Tracks {
    all: BTreeSet<PathBuf>,
    /// The shard whose audio is here, and how many there are.
    shard: Option<(u32, u32)>,
}

/// What a walk through the collection found. Paths are below it.
#[derive(Debug, Default)]
struct Files {
    audio: Vec<PathBuf>,
    playlists: Vec<PathBuf>,
    options: Vec<PathBuf>,
}

impl Playlists {
    /// Looks for playlists. They may name any audio of the collection: what is seen, or what the shard knows of.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub(crate) fn find(collection: &Path, shard: Option<&Shard>) -> Result<Playlists> {
        let mut files = Files::default();
        files.walk(collection, Path::new(""))?;
        let audio = shard.map_or(files.audio, |shard| shard.audio.clone());
        let mut found = Playlists {
            playlists: Vec::new(),
            warnings: BTreeSet::new(),
            tracks: Tracks {
                all: audio
                    .iter()
                    .filter(|path| is_audio(path))
                    .map(|path| path.with_extension(""))
                    .collect(),
                shard: shard.map(|shard| (shard.number, shard.of)),
            },
        };
        for path in files.playlists {
            found.add_file(collection, &path);
        }
        found.add_memberships(collection, &files.options);
        Ok(found)
    }

    /// The audio of this track would be here.
    pub(super) fn is_here(&self, track: &Path) -> bool {
        let shard_of = |shards| of_audio(&track.to_string_lossy(), shards);
        self.tracks
            .shard
            .is_none_or(|(shard, shards)| shard_of(shards) == shard)
    }

    /// Adds a `NAME.pl.yaml`.
    fn add_file(&mut self, collection: &Path, path: &Path) {
        let name = path
            .file_name()
            .and_then(OsStr::to_str)
            .and_then(|name| name.strip_suffix(SUFFIX));
        let Some(name) = name.filter(|name| is_file_name(name)) else {
            self.warn(path.display(), "a playlist cannot be called so", "rename it");
            return;
        };
        let parsed = sidecar::read(collection, path).and_then(|text| Ok(parse(&text.unwrap_or_default(), name)?));
        let content = match parsed {
            Ok(parsed) => Some(self.known(path, parsed)),
            Err(error) => {
                self.cannot_read(path, &error);
                None
            }
        };
        self.playlists.push(Playlist {
            origin: path.display().to_string(),
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            name: name.into(),
            content,
        });
    }

    fn warn(&mut self, origin: impl ToString, reason: impl Into<String>, remedy: &str) {
        self.warnings.insert(Warning::new(origin.to_string(), reason, remedy));
    }

    fn cannot_read(&mut self, path: &Path, error: &anyhow::Error) {
        let refused = Refused::from_error(error, "make it readable");
        self.warn(path.display(), refused.reason, &refused.remedy);
    }

    /// The entries that are tracks; warns of the others.
    fn known(&mut self, path: &Path, parsed: Parsed) -> Content {
        let mut tracks = Vec::new();
        for (line, entry) in parsed.entries {
            if self.tracks.all.contains(Path::new(&entry)) {
                tracks.push(entry.into());
            } else {
                let reason = format!("line {line}: there is no track {entry:?}");
                let remedy = "write its path from the collection's root, without extension";
                self.warn(path.display(), reason, remedy);
            }
        }
        Content {
            title: parsed.title,
            tracks,
        }
    }

    /// Adds what options say.
    fn add_memberships(&mut self, collection: &Path, options: &[PathBuf]) {
        // By folder or track, whichever the file is about: a folder and a track of one path are told apart by the flag.
        let mut said: BTreeMap<(bool, PathBuf), Vec<Membership>> = BTreeMap::new();
        for path in options {
            match sidecar::memberships(collection, path) {
                Ok(None) => {}
                Ok(Some(memberships)) => {
                    said.insert(subject(path), memberships);
                }
                Err(error) => self.cannot_read(path, &error),
            }
        }
        if said.is_empty() {
            return;
        }
        let mut playlists: BTreeMap<&str, Vec<(i64, &Path)>> = BTreeMap::new();
        for track in &self.tracks.all {
            let of_track = said.get(&(true, track.clone()));
            let of_folder = || {
                track
                    .ancestors()
                    .skip(1)
                    .find_map(|folder| said.get(&(false, folder.to_owned())))
            };
            for Membership { name, position } in of_track.or_else(of_folder).into_iter().flatten() {
                playlists.entry(name).or_default().push((*position, track));
            }
        }
        for (name, mut tracks) in playlists {
            if !is_file_name(name) {
                let origin = format!("playlists={name}");
                let warning = Warning::new(origin, "no file can be called so", "rename the playlist");
                self.warnings.insert(warning);
                continue;
            }
            tracks.sort();
            self.playlists.push(Playlist {
                origin: format!("playlists={name}"),
                folder: PathBuf::new(),
                name: name.into(),
                content: Some(Content {
                    title: name.to_owned(),
                    tracks: tracks.into_iter().map(|(_, track)| track.to_owned()).collect(),
                }),
            });
        }
    }
}

impl Files {
    fn walk(&mut self, collection: &Path, folder: &Path) -> Result<()> {
        let listing = || format!("listing {}", collection.join(folder).display());
        let entries = fs::read_dir(collection.join(folder)).with_context(listing)?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(listing)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            if names::special(&name).is_some() {
                continue;
            }
            if entry.file_type().with_context(listing)?.is_dir() {
                self.walk(collection, &path)?;
            } else if is_audio(&path) {
                self.audio.push(path);
            } else if name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                self.playlists.push(path);
            } else if name == OPTIONS[1..] || name.as_encoded_bytes().ends_with(OPTIONS.as_bytes()) {
                self.options.push(path);
            }
        }
        Ok(())
    }
}

fn is_audio(path: &Path) -> bool {
    path.file_name().is_some_and(|name| source::of(name).is_some())
}

/// What options are about: true and a track without extension, or false and a folder.
fn subject(path: &Path) -> (bool, PathBuf) {
    match path.file_name() {
        Some(name) if name != &OPTIONS[1..] => (true, path.with_extension("").with_extension("")),
        _ => (false, path.parent().unwrap_or(Path::new("")).to_owned()),
    }
}

/// What a `NAME.pl.yaml` says.
#[derive(Debug)]
pub(crate) struct Parsed {
    title: String,
    /// Entries with their lines.
    entries: Vec<(usize, String)>,
}

/// Reads a `NAME.pl.yaml`.
pub(crate) fn parse(text: &str, name: &str) -> Result<Parsed, Refused> {
    let document = yaml::read(text)?;
    let map = || document.refused("the playlist is no map", "write title: and tracks:");
    let mut parsed = Parsed {
        title: name.to_owned(),
        entries: Vec::new(),
    };
    for entry in document.map().ok_or_else(map)? {
        let value = &entry.value;
        match entry.key.as_str() {
            "title" => {
                let title = value
                    .text()
                    .ok_or_else(|| value.refused("\"title\" is no text", "write a text"))?;
                parsed.title = title.to_owned();
            }
            "tracks" => {
                let wrong = "\"tracks\" is no list of paths";
                let remedy = "write - PATH, each on a line of its own";
                for item in value.list().ok_or_else(|| value.refused(wrong, remedy))? {
                    let path = item.text().ok_or_else(|| item.refused(wrong, remedy))?;
                    parsed.entries.push((item.line, path.to_owned()));
                }
            }
            // What other programs note about it.
            _ => {}
        }
    }
    Ok(parsed)
}
