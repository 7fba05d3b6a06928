//! `mustup-metadata.yaml`: tags and pictures of everything below a folder.
//!
//! ```yaml
//! tags:
//!   common: {artist: Björk, album: Post}
//!   Vorbis: {DATE: 1995, COMPOSER: [Björk, Graham Massey]}
//! pictures:
//!   APIC:
//!     3: {path: cover-front.jpeg, description: The front}
//! ```
//!
//! Values mean their text as written. A value of nothing takes the tag away. Keys that are not known mean nothing, as for
//! mustup, and are warned of.

use std::path::Path;

use super::yaml::{self, Entry, Node, at};
use super::{LAST_PICTURE_TYPE, PictureFile, Sidecar, below_root};
use crate::refused::Refused;
use crate::tags::{Tags, is_name};

/// The file's name.
pub(super) const NAME: &str = "mustup-metadata.yaml";

/// The common keys and the Vorbis comments that they are.
const COMMON: &[(&str, &str)] = &[
    ("title", "TITLE"),
    ("artist", "ARTIST"),
    ("album", "ALBUM"),
    ("disc number", "DISCNUMBER"),
    ("track number", "TRACKNUMBER"),
];

/// More warnings about one sidecar tell nothing new: they travel in commands.
const MOST_WARNINGS: usize = 4;

/// Reads the text of a `mustup-metadata.yaml` that lies in `folder` (below the collection).
pub(super) fn parse(text: &str, folder: &Path) -> Result<Sidecar, Refused> {
    let mut unknown = Unknown::default();
    let mut said = metadata(&*yaml::read(text)?, folder, &mut unknown)?;
    said.warnings = unknown.warnings();
    Ok(said)
}

/// Reads what stands in such a file, or under `metadata` in a manifest.
pub(super) fn metadata(node: &Node, folder: &Path, unknown: &mut Unknown) -> Result<Sidecar, Refused> {
    let mut said = Sidecar::default();
    for entry in map(node, "the metadata")? {
        match entry.key.as_str() {
            "tags" => said.tags = tags(&entry.value, unknown)?,
            "pictures" => said.pictures.files = pictures(&entry.value, folder, unknown)?,
            _ => unknown.key(entry, "tags and pictures"),
        }
    }
    Ok(said)
}

fn tags(node: &Node, unknown: &mut Unknown) -> Result<Tags, Refused> {
    let (mut common, mut vorbis) = (Tags::default(), Tags::default());
    for entry in map(node, "\"tags\"")? {
        match entry.key.as_str() {
            "common" => {
                for entry in map(&entry.value, "\"common\"")? {
                    match COMMON.iter().find(|(key, _)| *key == entry.key) {
                        Some((_, name)) => add(&mut common, name, entry)?,
                        None => unknown.key(entry, "title, artist, album, disc number and track number"),
                    }
                }
            }
            "Vorbis" => {
                for entry in map(&entry.value, "\"Vorbis\"")? {
                    if !is_name(&entry.key) {
                        let reason = format!("{:?} cannot be the name of a tag", entry.key);
                        return Err(at(entry.line, reason, "use letters, digits and spaces"));
                    }
                    add(&mut vorbis, &entry.key, entry)?;
                }
            }
            _ => unknown.key(entry, "common and Vorbis"),
        }
    }
    // The name of a tag says more exactly what is meant than a common key.
    vorbis.fill_from(&common);
    Ok(vorbis)
}

/// Adds a value, or each of a list.
fn add(tags: &mut Tags, name: &str, entry: &Entry) -> Result<(), Refused> {
    let wrong = |node: &Node| {
        let reason = format!("{:?} is neither a value nor a list of values", entry.key);
        node.refused(&reason, "write a value or [a value, another]")
    };
    if let Some(text) = entry.value.text() {
        tags.add(name, text);
        return Ok(());
    }
    tags.add(name, "");
    for item in entry.value.list().ok_or_else(|| wrong(&entry.value))? {
        tags.add(name, item.text().ok_or_else(|| wrong(item))?);
    }
    Ok(())
}

fn pictures(node: &Node, folder: &Path, unknown: &mut Unknown) -> Result<Vec<PictureFile>, Refused> {
    let mut files = Vec::new();
    for entry in map(node, "\"pictures\"")? {
        match entry.key.as_str() {
            "APIC" => {
                for entry in map(&entry.value, "\"APIC\"")? {
                    files.push(picture(entry, folder, unknown)?);
                }
            }
            _ => unknown.key(entry, "APIC"),
        }
    }
    Ok(files)
}

fn picture(entry: &Entry, folder: &Path, unknown: &mut Unknown) -> Result<PictureFile, Refused> {
    let kind = entry.key.parse().ok().filter(|kind| *kind <= LAST_PICTURE_TYPE);
    let kind = kind.ok_or_else(|| {
        let reason = format!("{:?} is no picture type", entry.key);
        let remedy = format!("write a number from 0 to {LAST_PICTURE_TYPE}, such as 3 for the front cover");
        at(entry.line, reason, remedy)
    })?;
    let (mut path, mut description) = (None, String::new());
    for entry in map(&entry.value, "a picture")? {
        let text = || {
            let reason = format!("{:?} is no text", entry.key);
            entry
                .value
                .text()
                .ok_or_else(|| entry.value.refused(&reason, "write a text"))
        };
        match entry.key.as_str() {
            "path" => path = Some(text()?).filter(|path| !path.is_empty()),
            "description" => description = text()?.to_owned(),
            _ => unknown.key(entry, "path and description"),
        }
    }
    let path = path.ok_or_else(|| {
        at(
            entry.line,
            "the picture has no path",
            "write path: and the name of its file",
        )
    })?;
    let path = below_root(&folder.join(path)).ok_or_else(|| {
        let reason = format!("the picture's path {path:?} leads out of the collection");
        at(entry.line, reason, "name a file within it")
    })?;
    Ok(PictureFile {
        kind,
        path,
        description,
    })
}

/// The entries of what has to be a map.
pub(super) fn map<'a>(node: &'a Node, what: &str) -> Result<&'a [Entry], Refused> {
    let reason = format!("{what} is no map");
    node.map()
        .ok_or_else(|| node.refused(&reason, "write KEY: VALUE, each on a line of its own"))
}

/// Keys that mean nothing.
#[derive(Debug, Default)]
pub(super) struct Unknown(Vec<String>);

impl Unknown {
    /// Notes a key; `known` are those that mean something there.
    pub(super) fn key(&mut self, entry: &Entry, known: &str) {
        let key: String = entry.key.chars().take(40).collect();
        self.0.push(format!(
            "line {}: the key {key:?} means nothing here; known are {known}",
            entry.line
        ));
    }

    /// The warnings of a file, few enough to be read.
    pub(super) fn warnings(mut self) -> Vec<String> {
        if self.0.len() > MOST_WARNINGS {
            let more = self.0.len() - MOST_WARNINGS;
            self.0.truncate(MOST_WARNINGS);
            self.0.push(format!("{more} more keys mean nothing"));
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Sidecar {
        parse(text, Path::new("a/b")).unwrap()
    }

    #[test]
    fn common_keys_and_vorbis_comments_are_tags() {
        let said = said(
            "tags:\n  common:\n    title: 1999\n    artist: [A, B]\n    disc number: 02\n  Vorbis:\n    date: 1969\n    \
             PERFORMER: [x, 1.10]\n    TITLE: Exact\n    ISRC: []\n    COMMENT:\n",
        );
        let tags: Vec<_> = said
            .tags
            .iter()
            .map(|(name, values)| (name, values.join("|")))
            .collect();
        let expected = [
            ("ARTIST", "A|B"),
            ("COMMENT", ""),
            ("DATE", "1969"),
            ("DISCNUMBER", "02"),
            ("ISRC", ""),
            ("PERFORMER", "x|1.10"),
            ("TITLE", "Exact"),
        ];
        assert_eq!(tags, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(said.warnings, [""; 0]);
    }

    #[test]
    fn pictures_are_found_relative_to_their_sidecar() {
        let said =
            said("pictures:\n  APIC:\n    3: {path: ../cover.jpeg, description: Äpfel}\n    04: {path: back.png}\n");
        let pictures: Vec<_> = said
            .pictures
            .files
            .iter()
            .map(|p| (p.kind, p.path.to_str().unwrap(), &*p.description))
            .collect();
        assert_eq!(pictures, [(3, "a/cover.jpeg", "Äpfel"), (4, "a/b/back.png", "")]);
        assert!(!said.pictures.no_others);
    }

    #[test]
    fn keys_that_are_not_known_are_warned_of() {
        let said = said("tags: {common: {tittle: x}, ID3: {TIT2: y}}\ncomment: z\n");
        assert_eq!(
            said.warnings,
            [
                "line 1: the key \"tittle\" means nothing here; known are title, artist, album, disc number and track number",
                "line 1: the key \"ID3\" means nothing here; known are common and Vorbis",
                "line 2: the key \"comment\" means nothing here; known are tags and pictures",
            ]
        );
        let many: String = (0..10_000).map(|number| format!("k{number}: x\n")).collect();
        let warnings = parse(&many, Path::new("")).unwrap().warnings;
        assert_eq!(warnings.len(), MOST_WARNINGS + 1);
        assert_eq!(warnings[MOST_WARNINGS], "9996 more keys mean nothing");
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_its_line() {
        for (text, reason) in [
            ("- a", "line 1: the metadata is no map"),
            ("tags: x", "line 1: \"tags\" is no map"),
            (
                "tags:\n  common:\n    title: {a: b}",
                "line 3: \"title\" is neither a value nor a list of values",
            ),
            (
                "tags:\n  Vorbis:\n    A: [[b]]",
                "line 3: \"A\" is neither a value nor a list of values",
            ),
            (
                "tags:\n  Vorbis:\n    Ä: b",
                "line 3: \"Ä\" cannot be the name of a tag",
            ),
            (
                "pictures:\n  APIC:\n    front: {path: x}",
                "line 3: \"front\" is no picture type",
            ),
            ("pictures:\n  APIC:\n    3: {}", "line 3: the picture has no path"),
            (
                "pictures: {APIC: {3: {path: ../../../x}}}",
                "line 1: the picture's path \"../../../x\" leads out of the collection",
            ),
            (
                "pictures: {APIC: {3: {path: /etc/x}}}",
                "line 1: the picture's path \"/etc/x\" leads out of the collection",
            ),
        ] {
            assert_eq!(parse(text, Path::new("a/b")).unwrap_err().reason, reason);
        }
    }
}
