//! `vibes.txt`: one option a line, `name+` on, `name-` off, `name=value`.
//!
//! Known are `encode`, `apic` and `playlists`. Options of other tools may stand beside them and mean nothing here.

use std::path::Path;

use super::{LAST_PICTURE_TYPE, PictureFile, Pictures, Sidecar, below_root};
use crate::refused::Refused;

/// Reads the text of a `vibes.txt` that lies in `folder` (below the collection).
pub(super) fn parse(text: &str, folder: &Path) -> Result<Sidecar, Refused> {
    let mut said = Sidecar::default();
    for (index, line) in text.lines().enumerate() {
        let at = |reason: String, remedy: &str| Refused::new(format!("line {}: {reason}", index + 1), remedy);
        let line = line.trim();
        match line {
            "encode+" => said.encode = Some(true),
            "encode-" => said.encode = Some(false),
            _ => {
                if let Some(value) = line.strip_prefix("apic=") {
                    let pictures = pictures(value, folder);
                    said.pictures = Pictures {
                        files: pictures.map_err(|(reason, remedy)| at(reason, remedy))?,
                        no_others: true,
                    };
                } else if line.starts_with("encode=") {
                    return Err(at(format!("{line:?} has no meaning"), "write encode+ or encode-"));
                }
            }
        }
    }
    Ok(said)
}

/// A place in a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The playlist.
    pub(crate) name: String,
    /// Tracks are in the order of this.
    pub(crate) position: i64,
}

/// The places in playlists: `playlists=NAME:POSITION,...`; none if nothing is said.
pub(super) fn memberships(text: &str) -> Result<Option<Vec<Membership>>, Refused> {
    let mut said = None;
    for (index, line) in text.lines().enumerate() {
        let Some(value) = line.trim().strip_prefix("playlists=") else {
            continue;
        };
        let places = value.split(',').map(str::trim).filter(|one| !one.is_empty());
        let places = places.map(|one| {
            let (name, position) = one.rsplit_once(':')?;
            Some(Membership {
                name: name.trim().to_owned(),
                position: position.trim().parse().ok()?,
            })
        });
        said = Some(places.collect::<Option<_>>().ok_or_else(|| {
            let reason = format!("line {}: {value:?} is no list of playlists and positions", index + 1);
            Refused::new(reason, "write NAME:POSITION,..., such as road:3")
        })?);
    }
    Ok(said)
}

/// `TYPE:FORMAT:DIR;...`: the files `DIR/picture-TT.FORMAT`.
fn pictures(value: &str, folder: &Path) -> Result<Vec<PictureFile>, (String, &'static str)> {
    value
        .split(';')
        .filter(|one| !one.trim().is_empty())
        .map(|one| picture(one.trim(), folder))
        .collect()
}

fn picture(one: &str, folder: &Path) -> Result<PictureFile, (String, &'static str)> {
    const REMEDY: &str = "write TYPE:FORMAT:DIR, such as 3:jpeg:..";
    let mut parts = one.splitn(3, ':');
    let (kind, format) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let directory = parts.next().filter(|directory| !directory.is_empty()).unwrap_or(".");
    let kind = kind
        .parse::<u8>()
        .ok()
        .filter(|kind| *kind <= LAST_PICTURE_TYPE)
        .ok_or_else(|| {
            (
                format!("{one:?} does not begin with a picture type from 0 to {LAST_PICTURE_TYPE}"),
                REMEDY,
            )
        })?;
    if format.is_empty() || format.contains('/') {
        return Err((format!("{one:?} names no picture format"), REMEDY));
    }
    let path = folder.join(directory).join(format!("picture-{kind:02}.{format}"));
    let path = below_root(&path).ok_or_else(|| {
        (
            format!("{one:?} leads out of the collection"),
            "name a folder within it",
        )
    })?;
    Ok(PictureFile {
        kind,
        path,
        description: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn pictures_are_found_relative_to_their_sidecar() {
        let said = parse("apic=3:jpeg:..;4:png;6:jpg:scans\nother=5\n", Path::new("a/b")).unwrap();
        let paths: Vec<_> = said.pictures.files.into_iter().map(|p| (p.kind, p.path)).collect();
        let expected = [
            (3, "a/picture-03.jpeg"),
            (4, "a/b/picture-04.png"),
            (6, "a/b/scans/picture-06.jpg"),
        ];
        assert_eq!(paths, expected.map(|(kind, path)| (kind, PathBuf::from(path))));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for wrong in [
            "apic=x:jpeg",
            "apic=21:jpeg",
            "apic=3",
            "apic=3:jpeg:../..",
            "apic=3:jpeg:/etc",
            "encode=no",
        ] {
            let refused = parse(wrong, Path::new("a")).unwrap_err();
            assert!(refused.reason.starts_with("line 1: "), "{refused}");
        }
    }

    #[test]
    fn places_in_playlists_are_read() {
        let place = |name: &str, position| Membership {
            name: name.to_owned(),
            position,
        };
        let said = memberships("encode+\nplaylists=road:10, a:b c:-1\n").unwrap();
        assert_eq!(said, Some(vec![place("road", 10), place("a:b c", -1)]));
        assert_eq!(memberships("encode+").unwrap(), None);
        assert_eq!(memberships("playlists=").unwrap(), Some(Vec::new()));
        let refused = memberships("\nplaylists=road").unwrap_err();
        assert_eq!(refused.reason, "line 2: \"road\" is no list of playlists and positions");
    }
}
