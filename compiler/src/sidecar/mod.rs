//! What lies beside the music and speaks of it, from the collection's root down to the track.
//!
//! One file per kind of sidecar. Each kind turns its file into a [`Sidecar`]; nearer ones win, setting by setting.

mod mustup_manifest;
mod mustup_metadata;
mod options;
#[cfg(test)]
mod properties;
mod tags_vc;
pub(crate) mod yaml;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::refused::Refused;
use crate::regular;
use crate::tags::Tags;
use crate::trim::Trim;
pub(crate) use mustup_manifest::{Manifest, NAME as MANIFEST};
pub(crate) use options::Membership;

/// The largest sidecar, in bytes: far more than a command can hold.
const LARGEST: u64 = 1 << 20;

/// The highest picture type of ID3. Source: ID3v2.4 frames, 4.14.
const LAST_PICTURE_TYPE: u8 = 20;

/// A picture that a sidecar asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PictureFile {
    /// ID3 picture type: 3 is the front cover.
    pub(crate) kind: u8,
    /// Path below the collection.
    pub(crate) path: PathBuf,
    /// What it shows, in words; may be empty.
    pub(crate) description: String,
}

/// The pictures that sidecars ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pictures {
    /// The nearest first.
    pub(crate) files: Vec<PictureFile>,
    /// These are all: what is said farther away does not count, and no cover is looked for.
    pub(crate) no_others: bool,
}

impl Pictures {
    /// Whether one of this type is asked for.
    pub(crate) fn has(&self, kind: u8) -> bool {
        self.files.iter().any(|file| file.kind == kind)
    }

    /// Takes over types that are not here.
    fn fill_from(&mut self, farther: &Pictures) {
        if !self.no_others {
            let others = farther.files.iter().filter(|file| !self.has(file.kind));
            self.files.extend(others.cloned().collect::<Vec<_>>());
            self.no_others = farther.no_others;
        }
    }
}

/// What sidecars say. None: nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// The tags.
    pub(crate) tags: Tags,
    /// Whether the track is to be encoded.
    pub(crate) encode: Option<bool>,
    /// The pictures.
    pub(crate) pictures: Pictures,
    /// The part of the source that is the track.
    pub(crate) trim: Option<Trim>,
    /// What a person should know about the sidecars themselves; each names its file.
    pub(crate) warnings: Vec<String>,
}

impl Sidecar {
    /// Takes over what is said farther away and not here.
    fn fill_from(&mut self, farther: &Sidecar) {
        self.tags.fill_from(&farther.tags);
        self.encode = self.encode.or(farther.encode);
        self.pictures.fill_from(&farther.pictures);
        self.trim = self.trim.or(farther.trim);
        self.warnings.extend(farther.warnings.iter().cloned());
    }
}

/// What the sidecars of a folder and of all folders above it say. `folder` is the path below `collection`.
///
/// # Errors
/// A sidecar that cannot be read or that says something without a meaning ([`Refused`]).
pub(crate) fn of_folder(collection: &Path, folder: &Path) -> Result<Sidecar> {
    let mut said = Sidecar::default();
    for folder in folder.ancestors() {
        let tags = folder.join("tags.vc");
        if let Some(text) = read(collection, &tags)? {
            said.fill_from(&tags_vc::parse(&text).map_err(|refused| within(&tags, refused))?);
        }
        let options = folder.join("vibes.txt");
        if let Some(text) = read(collection, &options)? {
            said.fill_from(&options::parse(&text, folder).map_err(|refused| within(&options, refused))?);
        }
        let metadata = folder.join(mustup_metadata::NAME);
        if let Some(text) = read(collection, &metadata)? {
            said.fill_from(&named(&metadata, mustup_metadata::parse(&text, folder))?);
        }
    }
    Ok(said)
}

/// What the manifest of a folder says about each of its files, by name; none if there is no manifest. `names` is what
/// lies in the folder.
///
/// # Errors
/// As [`of_folder`], if it is about the whole manifest; what is about one file stands in its place.
pub(crate) fn manifest(collection: &Path, folder: &Path, names: &BTreeSet<OsString>) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    if !names.contains(OsStr::new(MANIFEST)) {
        return Ok(None);
    }
    let Some(text) = read(collection, &path)? else {
        return Ok(None);
    };
    let manifest = mustup_manifest::parse(&text, folder).map_err(|refused| within(&path, refused))?;
    Ok(Some(
        manifest
            .into_iter()
            .map(|(name, said)| (name, named(&path, said)))
            .collect(),
    ))
}

/// What the track's own sidecars say. `base` is the track's name without its extension, `number` the track number in
/// it, `names` what lies in the folder.
///
/// # Errors
/// As [`of_folder`].
pub(crate) fn of_track(
    collection: &Path,
    folder: &Path,
    base: &OsStr,
    number: Option<&str>,
    names: &BTreeSet<OsString>,
) -> Result<Sidecar> {
    let mut said = Sidecar::default();
    let file = |suffix: &str| {
        let mut name = base.to_owned();
        name.push(suffix);
        names.contains(&name).then(|| folder.join(name))
    };
    if let Some(path) = file(".tags.vc")
        && let Some(text) = read(collection, &path)?
    {
        said.fill_from(&tags_vc::parse(&text).map_err(|refused| within(&path, refused))?);
    }
    if let Some(path) = file(".tags-album.vc")
        && let Some(text) = read(collection, &path)?
    {
        let mut album = tags_vc::parse(&text).map_err(|refused| within(&path, refused))?;
        if let Some(number) = number {
            let mut numbered = Tags::default();
            numbered.add("TRACKNUMBER", number);
            album.tags.fill_from(&numbered);
        }
        said.fill_from(&album);
    }
    if let Some(path) = file(".vibes.txt")
        && let Some(text) = read(collection, &path)?
    {
        said.fill_from(&options::parse(&text, folder).map_err(|refused| within(&path, refused))?);
    }
    Ok(said)
}

/// The nearer one, completed by the farther one.
pub(crate) fn merge(mut nearer: Sidecar, farther: &Sidecar) -> Sidecar {
    nearer.fill_from(farther);
    nearer
}

/// Which playlists the options in a file put tracks into; none if they do not say. For the tracks of a folder nearer
/// options win, as for everything else.
///
/// # Errors
/// As [`of_folder`].
pub(crate) fn memberships(collection: &Path, path: &Path) -> Result<Option<Vec<Membership>>> {
    let text = read(collection, path)?.unwrap_or_default();
    Ok(options::memberships(&text)?)
}

/// The text of a sidecar; none if it does not exist.
///
/// # Errors
/// It cannot be read, or is larger than any sidecar.
pub(crate) fn read(collection: &Path, path: &Path) -> Result<Option<String>> {
    let reading = || format!("reading {}", path.display());
    let file = match regular::open(&collection.join(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() as u64 > LARGEST {
        let reason = format!("{} is larger than {} MiB", path.display(), LARGEST >> 20);
        return Err(Refused::new(reason, "shorten it").into());
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Refused::new(format!("{} is not UTF-8", path.display()), "save it as UTF-8"))?;
    // Editors of another system begin UTF-8 with a byte order mark.
    Ok(Some(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned)))
}

fn within(path: &Path, refused: Refused) -> Refused {
    Refused::new(format!("{}, {}", path.display(), refused.reason), refused.remedy)
}

/// What a sidecar says, with its name in whatever is said about itself.
fn named(path: &Path, said: Result<Sidecar, Refused>) -> Result<Sidecar, Refused> {
    let mut said = said.map_err(|refused| within(path, refused))?;
    for warning in &mut said.warnings {
        *warning = format!("{}, {warning}", path.display());
    }
    Ok(said)
}

/// The path without `.` and `..`; none if it leaves the collection.
fn below_root(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => clean.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn collection(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_chain_is_collected_from_the_root_and_the_nearest_wins() {
        let root = collection(&[
            ("tags.vc", "GENRE=Rock\nCOMMENT=root"),
            ("ccr/tags.vc", "ARTIST=CCR"),
            ("ccr/bayou/tags.vc", "ALBUM=Bayou\r\nCOMMENT=album\n"),
            ("ccr/bayou/1/vibes.txt", "apic=3:jpeg:..\n"),
        ]);
        let said = of_folder(root.path(), Path::new("ccr/bayou/1")).unwrap();
        assert_eq!(said.tags.get("GENRE"), ["Rock"]);
        assert_eq!(said.tags.get("ARTIST"), ["CCR"]);
        assert_eq!(said.tags.get("COMMENT"), ["album"]);
        let picture = PictureFile {
            kind: 3,
            path: "ccr/bayou/picture-03.jpeg".into(),
            description: String::new(),
        };
        assert_eq!(said.pictures.files, [picture]);
        assert!(said.pictures.no_others);
    }

    #[test]
    fn a_track_has_sidecars_of_its_own() {
        let files = [
            ("01-a.tags.vc", "TITLE=new"),
            ("01-a.tags-album.vc", "TITLE=old\nDATE=1969"),
            ("01-a.vibes.txt", "encode-"),
        ];
        let root = collection(&files);
        let names = files.iter().map(|(name, _)| OsString::from(name)).collect();
        let said = of_track(root.path(), Path::new(""), OsStr::new("01-a"), Some("1"), &names).unwrap();
        assert_eq!(said.tags.get("TITLE"), ["new"]);
        assert_eq!(said.tags.get("DATE"), ["1969"]);
        assert_eq!(said.tags.get("TRACKNUMBER"), ["1"]);
        assert_eq!(said.encode, Some(false));
    }

    #[test]
    fn a_wrong_line_names_file_line_and_remedy() {
        let root = collection(&[("a/tags.vc", "TITLE=x\nnonsense\n")]);
        let error = of_folder(root.path(), Path::new("a")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a/tags.vc, line 2: \"nonsense\" has no '='; write NAME=value"
        );
    }
}
