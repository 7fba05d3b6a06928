//! The kinds of source audio, by their file name's extension.

use std::ffi::OsStr;
use std::path::Path;

/// How a source holds its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RIFF WAVE: what every encoder reads.
    Wave,
    /// AIFF or uncompressed AIFF-C.
    Aiff,
    /// FLAC.
    Flac,
    /// FLAC in Ogg, which is known and not compiled yet.
    OggFlac,
}

/// Every extension that is known, in lower case.
const EXTENSIONS: &[(&str, Kind)] = &[
    ("wave", Kind::Wave),
    ("wav", Kind::Wave),
    ("aiff", Kind::Aiff),
    ("aif", Kind::Aiff),
    ("flac", Kind::Flac),
    ("oga", Kind::OggFlac),
];

/// The base name and kind of a file that is source audio; none for anything else.
pub(crate) fn of(name: &OsStr) -> Option<(&OsStr, Kind)> {
    let path = Path::new(name);
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let (_, kind) = EXTENSIONS.iter().find(|(known, _)| *known == extension)?;
    Some((path.file_stem()?, *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_known_by_its_extension_in_any_case() {
        assert_eq!(of(OsStr::new("01.x.WAVE")), Some((OsStr::new("01.x"), Kind::Wave)));
        assert_eq!(of(OsStr::new("a.Aif")), Some((OsStr::new("a"), Kind::Aiff)));
        for name in ["booklet.pdf", ".wav", "wav", "a.wav.bak"] {
            assert_eq!(of(OsStr::new(name)), None, "{name}");
        }
    }
}
