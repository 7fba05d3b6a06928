//! The kinds of source audio: found by the file's extension, told by its first bytes.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use crate::refused::Refused;
use crate::regular;

/// How a source holds its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RIFF WAVE, or RF64, which is WAVE with 64-bit lengths.
    Wave,
    /// AIFF or AIFF-C.
    Aiff,
    /// FLAC.
    Flac,
    /// FLAC in Ogg.
    OggFlac,
    /// Samples without a header.
    Raw,
}

/// Every extension that is known, in lower case.
const EXTENSIONS: &[(&str, Kind)] = &[
    ("wave", Kind::Wave),
    ("wav", Kind::Wave),
    ("aiff", Kind::Aiff),
    ("aif", Kind::Aiff),
    ("flac", Kind::Flac),
    ("oga", Kind::OggFlac),
    ("raw", Kind::Raw),
];

impl Kind {
    /// What a file of this kind may begin with, and what stands at byte 8 then. A FLAC file may have an ID3 tag in front.
    fn beginnings(self) -> &'static [(&'static [u8], &'static [u8])] {
        match self {
            Kind::Wave => &[(b"RIFF", b"WAVE"), (b"RF64", b"WAVE")],
            Kind::Aiff => &[(b"FORM", b"AIFF"), (b"FORM", b"AIFC")],
            Kind::Flac => &[(b"fLaC", b""), (b"ID3", b"")],
            Kind::OggFlac => &[(b"OggS", b"")],
            Kind::Raw => &[],
        }
    }
}

/// The kind of a file by its first bytes, whatever its extension says: encoders would take what is no audio for samples.
///
/// # Errors
/// A [`Refused`], or the file cannot be read.
pub(crate) fn kind(path: &Path) -> Result<Kind> {
    let mut head = Vec::new();
    regular::open(path)
        .and_then(|file| file.take(12).read_to_end(&mut head))
        .with_context(|| format!("reading {}", path.display()))?;
    let begins = |(first, second): &(&[u8], &[u8])| {
        head.starts_with(first) && head.get(8..).is_some_and(|rest| rest.starts_with(second))
    };
    let known = EXTENSIONS.iter().map(|(_, kind)| *kind);
    let found = known.into_iter().find(|kind| kind.beginnings().iter().any(begins));
    found.ok_or_else(|| not_what_it_says().into())
}

/// The error of a file that is no audio.
pub(crate) fn not_what_it_says() -> Refused {
    let reason = "its content is not what its extension says";
    Refused::new(reason, "replace the file, or give it its right extension")
}

/// The base name and kind of a file that is source audio, or would be ([`Kind::Raw`]); none for anything else.
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
    fn what_is_audio_here_is_audio_for_whoever_distributes_it() {
        let extensions: Vec<_> = EXTENSIONS.iter().map(|(extension, _)| *extension).collect();
        assert_eq!(extensions, contract::shard::AUDIO_EXTENSIONS);
    }

    #[test]
    fn audio_is_known_by_its_extension_in_any_case() {
        assert_eq!(of(OsStr::new("01.x.WAVE")), Some((OsStr::new("01.x"), Kind::Wave)));
        assert_eq!(of(OsStr::new("a.Aif")), Some((OsStr::new("a"), Kind::Aiff)));
        for name in ["booklet.pdf", ".wav", "wav", "a.wav.bak"] {
            assert_eq!(of(OsStr::new(name)), None, "{name}");
        }
    }
}
