//! What the names of a track's file and folders say, for when nothing else does.

use std::ffi::OsStr;
use std::path::Path;

use crate::tags::Tags;

/// What a file name says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Disc number.
    pub(crate) disc: Option<String>,
    /// Track number, without leading zeros.
    pub(crate) number: Option<String>,
    /// Title.
    pub(crate) title: Option<String>,
}

/// Reads a file name without its extension: `01`, `01-title`, `01 - Title`, `1-01 Title`, or just a title.
pub(crate) fn read(base: &OsStr) -> Named {
    let base = base.to_string_lossy();
    let title = |text: &str| Some(text.trim().to_owned()).filter(|title| !title.is_empty());
    let (number, rest) = split_number(&base);
    if number.is_empty() {
        return Named {
            title: title(&base),
            ..Named::default()
        };
    }
    if rest.is_empty() {
        return Named {
            number: Some(plain(number)),
            ..Named::default()
        };
    }
    if let Some((disc, number, rest)) = disc_and_number(&base) {
        return Named {
            disc: Some(disc.to_owned()),
            number: Some(plain(number)),
            title: title(rest),
        };
    }
    match rest.trim_start().strip_prefix('-') {
        Some(rest) => Named {
            number: Some(plain(number)),
            title: title(rest),
            ..Named::default()
        },
        None => Named {
            title: title(&base),
            ..Named::default()
        },
    }
}

/// The tags that file and folder names give: `ARTIST/ALBUM/DISC/01-title.wav`.
pub(crate) fn tags(named: &Named, folder: &Path) -> Tags {
    let mut folders: Vec<_> = folder.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let disc = disc_number(folder);
    if disc.is_some() {
        folders.pop();
    }
    let mut tags = Tags::default();
    let said = [
        ("TITLE", named.title.clone()),
        ("TRACKNUMBER", named.number.clone()),
        ("DISCNUMBER", named.disc.clone().or(disc)),
        ("ALBUM", folders.pop()),
        ("ARTIST", folders.pop()),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            tags.add(name, value);
        }
    }
    tags
}

/// The disc number of a folder that holds one disc of an album: `CD 2`, `disc-02`, or below an artist's album just `2`.
///
/// A bare number has one digit that counts: two-digit albums exist.
pub(crate) fn disc_number(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?.to_ascii_lowercase();
    let digits = DISC_WORDS.iter().find_map(|word| name.strip_prefix(word));
    let digits = match digits {
        Some(rest) => rest.trim_start_matches([' ', '-', '_', '.']),
        None if folder.iter().count() > 2 => &name,
        None => return None,
    };
    let longest = if digits.len() == name.len() && !name.starts_with('0') {
        1
    } else {
        2
    };
    let is_number = (1..=longest).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| plain(digits))
}

/// What the name of a disc's folder may begin with.
const DISC_WORDS: &[&str] = &["disc", "disk", "cd", "dvd", "lp"];

/// `D-NN Title`: one digit for the disc, two for the track, white space before the title.
fn disc_and_number(base: &str) -> Option<(&str, &str, &str)> {
    let (disc, rest) = split_number(base);
    let (number, rest) = split_number(rest.strip_prefix('-')?);
    (disc.len() == 1 && disc != "0" && number.len() == 2 && rest.starts_with(char::is_whitespace))
        .then_some((disc, number, rest))
}

/// The leading digits and the rest.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The number without leading zeros.
fn plain(number: &str) -> String {
    match number.trim_start_matches('0') {
        "" => "0".to_owned(),
        plain => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tags as tags_of;

    #[test]
    fn track_numbers_are_read_from_file_names() {
        let cases = [
            ("01", None, Some("1"), None),
            ("010-title", None, Some("10"), Some("title")),
            ("01 - Title", None, Some("1"), Some("Title")),
            ("1-01 Title", Some("1"), Some("1"), Some("Title")),
            ("1-title", None, Some("1"), Some("title")),
            ("01-99 problems", None, Some("1"), Some("99 problems")),
            ("99 Luftballons", None, None, Some("99 Luftballons")),
            ("intro", None, None, Some("intro")),
            ("01-", None, Some("1"), None),
            ("00", None, Some("0"), None),
        ];
        for (base, disc, number, title) in cases {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let expected = Named {
                disc: owned(disc),
                number: owned(number),
                title: owned(title),
            };
            assert_eq!(read(OsStr::new(base)), expected, "{base}");
        }
    }

    #[test]
    fn folders_give_album_and_artist() {
        let named = read(OsStr::new("01-title"));
        let given = tags(&named, Path::new("label/Artist/Album/CD2"));
        let pairs = [
            ("TITLE", "title"),
            ("TRACKNUMBER", "1"),
            ("DISCNUMBER", "2"),
            ("ALBUM", "Album"),
            ("ARTIST", "Artist"),
        ];
        assert_eq!(given, tags_of(&pairs));
        assert_eq!(tags(&named, Path::new("")), tags_of(&pairs[..2]));
    }

    #[test]
    fn disc_folders_are_known_by_their_name() {
        for (folder, number) in [
            ("a/b/1", "1"),
            ("a/b/02", "2"),
            ("b/CD 1", "1"),
            ("Disc-10", "10"),
            ("disk_3", "3"),
        ] {
            assert_eq!(disc_number(Path::new(folder)).as_deref(), Some(number), "{folder}");
        }
        for folder in [
            "",
            "1",
            "a/1",
            "a/b/1969",
            "a/b/25",
            "a/Album",
            "cd",
            "a/b/-1",
            "disc 100",
            "a/b/2 tone",
        ] {
            assert_eq!(disc_number(Path::new(folder)), None, "{folder}");
        }
    }
}
