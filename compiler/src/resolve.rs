//! Everything that is known about the tracks of a folder before a source is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::raw::Raw;

use crate::names::Naming;
use crate::refused::Refused;
use crate::sidecar::{self, MANIFEST, Manifest, PictureFile, Sidecar};
use crate::source::Kind;
use crate::tags::Tags;
use crate::trim::Trim;
use crate::{cover, file_name, picture, source};

/// A folder of the collection as its reader sees it.
#[derive(Debug)]
pub(crate) struct Folder<'a> {
    /// Where the collection is.
    pub(crate) collection: &'a Path,
    /// The folder's path below it.
    pub(crate) path: &'a Path,
    /// The names of the files in it.
    pub(crate) names: &'a BTreeSet<OsString>,
    /// The names of the folders in it.
    pub(crate) folders: &'a BTreeSet<OsString>,
    /// The names in the folder above it, files or not.
    pub(crate) names_above: &'a BTreeSet<OsString>,
    /// Its audio is here, and not on another shard.
    pub(crate) whole: bool,
    /// What `.raw` files hold; without it they are no audio.
    pub(crate) raw: Option<Raw>,
}

/// A track to encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    /// Tags that sidecars give.
    pub(crate) tags: Tags,
    /// Tags for what neither sidecars nor the source itself give.
    pub(crate) guesses: Tags,
    /// Pictures that sidecars give.
    pub(crate) pictures: Vec<PictureFile>,
    /// What a person should know about its sidecars; each names its file.
    pub(crate) warnings: Vec<String>,
    /// A cover for a source that brings no front cover of its own; path below the collection.
    pub(crate) cover: Option<PathBuf>,
    /// The part of the source that is the track; none for all of it.
    pub(crate) trim: Option<Trim>,
    /// How the samples of a source are written that has no header.
    pub(crate) raw: Option<Raw>,
}

/// The tracks of a folder, by the name of their source; those that cannot be built, with the reason. Sources that a
/// sidecar leaves out are not among them.
pub(crate) fn tracks(
    folder: &Folder<'_>,
    extension: &str,
    naming: &Naming,
) -> BTreeMap<OsString, Result<Track, Refused>> {
    let manifest = sidecar::manifest(folder.collection, folder.path, folder.names);
    let mut tracks = missing(folder, manifest.as_ref().ok().and_then(Option::as_ref));
    let sources: Vec<_> = folder
        .names
        .iter()
        .filter_map(|name| Some((name, source::of(name)?)))
        .filter(|(_, (_, kind))| *kind != Kind::Raw || folder.raw.is_some())
        .collect();
    if sources.is_empty() {
        return tracks;
    }
    let about_folder = sidecar::of_folder(folder.collection, folder.path);
    let mut outputs: BTreeMap<PathBuf, Vec<&OsString>> = BTreeMap::new();
    for (name, (base, kind)) in sources {
        let in_manifest = match &manifest {
            Ok(None) => Ok(Sidecar::default()),
            Ok(Some(manifest)) => match name.to_str().and_then(|name| manifest.get(name)) {
                Some(said) => said.clone(),
                // It is no track: only those that a manifest names are.
                None => continue,
            },
            Err(error) => Err(refused(error)),
        };
        match about_folder
            .as_ref()
            .map_err(refused)
            .and_then(|above| track(folder, &in_manifest?, above, base, kind))
        {
            Ok(None) => continue,
            Ok(Some(track)) => tracks.insert(name.clone(), Ok(track)),
            Err(refused) => tracks.insert(name.clone(), Err(refused)),
        };
        let output = naming.output(folder.path, base, extension);
        outputs.entry(naming.compared(&output)).or_default().push(name);
    }
    let folders = folder.folders.iter().map(|name| naming.folder(&folder.path.join(name)));
    let folders: BTreeSet<_> = folders.map(|path| naming.compared(&path)).collect();
    for (output, rivals) in outputs {
        let output_name = output.file_name().unwrap_or_default().to_string_lossy();
        let refused = if rivals.len() > 1 {
            let names: Vec<_> = rivals.iter().map(|name| name.to_string_lossy()).collect();
            Refused::new(
                format!("{} would all become {output_name}", names.join(" and ")),
                "rename or remove all but one, or leave it out with encode-",
            )
        } else if folders.contains(&output) {
            Refused::new(
                format!("it would become {output_name}, and there is a folder of that name"),
                "rename the track or the folder",
            )
        } else {
            continue;
        };
        for name in rivals {
            tracks.insert(name.clone(), Err(refused.clone()));
        }
    }
    tracks
}

/// The files that a manifest names and that are no source, or not there.
fn missing(folder: &Folder<'_>, manifest: Option<&Manifest>) -> BTreeMap<OsString, Result<Track, Refused>> {
    let names = manifest.into_iter().flat_map(BTreeMap::keys).filter(|_| folder.whole);
    let refused = |name: &String| {
        let (what, remedy) = match source::of(name.as_ref()) {
            _ if !folder.names.contains(OsStr::new(name)) => ("there is no such file", "add it, correct its name"),
            None => ("it is no audio", "correct its name"),
            Some((_, Kind::Raw)) if folder.raw.is_none() => {
                ("it is no audio", "say in the profile what it holds (CONFIG_RAW)")
            }
            Some(_) => return None,
        };
        let reason = format!("{MANIFEST} names it, and {what}");
        let remedy = format!("{remedy}, or take it out of {MANIFEST}");
        Some((name.into(), Err(Refused::new(reason, remedy))))
    };
    names.filter_map(refused).collect()
}

fn track(
    folder: &Folder<'_>,
    in_manifest: &Sidecar,
    above: &Sidecar,
    base: &OsStr,
    kind: Kind,
) -> Result<Option<Track>, Refused> {
    let named = file_name::read(base);
    let own = sidecar::of_track(
        folder.collection,
        folder.path,
        base,
        named.number.as_deref(),
        folder.names,
    );
    let own = sidecar::merge(own.map_err(|error| refused(&error))?, in_manifest);
    let mut said = sidecar::merge(own, above);
    if said.encode == Some(false) {
        return Ok(None);
    }
    said.warnings
        .extend(other_number(folder, in_manifest, base, named.number.as_deref()));
    let no_cover = said.pictures.no_others || said.pictures.has(picture::FRONT_COVER);
    Ok(Some(Track {
        guesses: file_name::tags(&named, folder.path),
        cover: if no_cover { None } else { cover(folder) },
        tags: said.tags,
        pictures: said.pictures.files,
        warnings: said.warnings,
        trim: said.trim,
        raw: folder.raw.filter(|_| kind == Kind::Raw),
    }))
}

/// The warning of a track number in the manifest that is not the one in the file's name.
fn other_number(folder: &Folder<'_>, in_manifest: &Sidecar, base: &OsStr, named: Option<&str>) -> Option<String> {
    let (given, named) = (in_manifest.tags.get("TRACKNUMBER").first()?, named?);
    let number = given.split('/').next().unwrap_or(given).trim();
    let equal = number.trim_start_matches('0') == named.trim_start_matches('0');
    (!equal).then(|| {
        let manifest = folder.path.join(MANIFEST);
        let base = base.to_string_lossy();
        format!(
            "{}: the track number of {base} is {given} there and {named} in its name",
            manifest.display()
        )
    })
}

/// The cover of the folder, or of the album above it if the folder is one of its discs.
fn cover(folder: &Folder<'_>) -> Option<PathBuf> {
    if let Some(name) = cover::find(folder.names) {
        return Some(folder.path.join(name));
    }
    file_name::disc_number(folder.path)?;
    let name = cover::find(folder.names_above)?;
    Some(folder.path.parent()?.join(name))
}

fn refused(error: &anyhow::Error) -> Refused {
    Refused::from_error(error, "make it readable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &str, names: &[&str], above: &[&str]) -> BTreeMap<OsString, Result<Track, Refused>> {
        let set = |names: &[&str]| names.iter().map(OsString::from).collect::<BTreeSet<_>>();
        let collection = Path::new("/nowhere");
        let folder = Folder {
            collection,
            path: Path::new(path),
            names: &set(names),
            folders: &set(&["y.opus.d", "z.opus"]),
            names_above: &set(above),
            whole: true,
            raw: None,
        };
        tracks(&folder, "opus", &Naming::Exact)
    }

    #[test]
    fn two_sources_of_one_output_are_both_refused_naming_both() {
        let tracks = resolved("a", &["x.wav", "x.flac", "y.wav", "notes.txt"], &[]);
        assert_eq!(tracks.len(), 3);
        for name in ["x.wav", "x.flac"] {
            let refused = tracks[OsStr::new(name)].as_ref().unwrap_err();
            assert_eq!(refused.reason, "x.flac and x.wav would all become x.opus");
        }
        assert!(tracks[OsStr::new("y.wav")].is_ok());
    }

    #[test]
    fn a_source_gives_way_to_a_folder_that_its_output_would_have_the_name_of() {
        let tracks = resolved("a", &["y.wav", "z.wav"], &[]);
        assert!(tracks[OsStr::new("y.wav")].is_ok());
        let refused = tracks[OsStr::new("z.wav")].as_ref().unwrap_err();
        assert_eq!(
            refused.reason,
            "it would become z.opus, and there is a folder of that name"
        );
    }

    #[test]
    fn what_a_manifest_names_and_is_no_audio_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(MANIFEST), "1.raw:\n  metadata: {}\n").unwrap();
        let names: BTreeSet<_> = ["1.raw", "2.raw", MANIFEST].map(OsString::from).into();
        let mut folder = Folder {
            collection: root.path(),
            path: Path::new(""),
            names: &names,
            folders: &BTreeSet::new(),
            names_above: &BTreeSet::new(),
            whole: true,
            raw: None,
        };
        let found = tracks(&folder, "opus", &Naming::Exact);
        assert_eq!(found.len(), 1);
        let refused = found[OsStr::new("1.raw")].as_ref().unwrap_err();
        assert_eq!(refused.reason, "mustup-manifest.yaml names it, and it is no audio");
        assert!(refused.remedy.contains("CONFIG_RAW"), "{}", refused.remedy);
        folder.raw = Some("s16le 44100 2".parse().unwrap());
        assert!(tracks(&folder, "opus", &Naming::Exact)[OsStr::new("1.raw")].is_ok());
    }

    #[test]
    fn a_disc_has_the_cover_of_its_album() {
        let cover = |path, names: &[&str], above: &[&str]| {
            let tracks = resolved(path, names, above);
            tracks[OsStr::new("1.wav")].clone().unwrap().cover
        };
        assert_eq!(cover("a/b/1", &["1.wav"], &["Cover.jpg"]), Some("a/b/Cover.jpg".into()));
        assert_eq!(
            cover("a/b/1", &["1.wav", "front.png"], &["Cover.jpg"]),
            Some("a/b/1/front.png".into())
        );
        assert_eq!(cover("a/b", &["1.wav"], &["Cover.jpg"]), None);
    }
}
