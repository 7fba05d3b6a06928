//! ReplayGain 2.0: tags that tell a player how much louder or quieter to play a track or an album.
//!
//! Sources: <https://wiki.hydrogenaudio.org/index.php?title=ReplayGain_2.0_specification>; for Opus, RFC 7845, 5.2.1.

use crate::loudness::Loudness;
use crate::tags::Tags;

/// The loudness that ReplayGain 2.0 aims at, in LUFS.
const REFERENCE: f64 = -18.0;
/// The loudness that the tags of Opus aim at, in LUFS.
const OPUS_REFERENCE: f64 = -23.0;

/// Every tag that tells a gain: those of a source do not speak of what is made of it.
pub(crate) const NAMES: &[&str] = &[
    "REPLAYGAIN_TRACK_GAIN",
    "REPLAYGAIN_TRACK_PEAK",
    "REPLAYGAIN_ALBUM_GAIN",
    "REPLAYGAIN_ALBUM_PEAK",
    "REPLAYGAIN_REFERENCE_LOUDNESS",
    "R128_TRACK_GAIN",
    "R128_ALBUM_GAIN",
];

/// Sets the tags of a track in a format, and hides those that a source brings. Silence has no gain.
pub(crate) fn set(tags: &mut Tags, format: &str, track: Option<Loudness>, album: Option<Loudness>) {
    for name in NAMES {
        tags.remove(name);
        tags.add(name, "");
    }
    for (of, loudness) in [("TRACK", track), ("ALBUM", album)] {
        let Some(Loudness { lufs: Some(lufs), peak }) = loudness else {
            continue;
        };
        if format == "opus" {
            // Steps of 1/256 dB, as far as 16 bits go.
            let gain = ((OPUS_REFERENCE - lufs) * 256.0).round().clamp(-32768.0, 32767.0);
            tags.add(&format!("R128_{of}_GAIN"), format!("{gain:.0}"));
        } else {
            tags.add(&format!("REPLAYGAIN_{of}_GAIN"), format!("{:.2} dB", REFERENCE - lufs));
            tags.add(&format!("REPLAYGAIN_{of}_PEAK"), format!("{peak:.6}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tags;

    const LOUD: Option<Loudness> = Some(Loudness {
        lufs: Some(-11.5),
        peak: 1.0,
    });

    #[test]
    fn the_gain_leads_to_the_reference_of_each_format() {
        let mut given = tags(&[("REPLAYGAIN_TRACK_GAIN", "-1 dB"), ("TITLE", "x")]);
        set(&mut given, "flac", LOUD, LOUD);
        assert_eq!(given.get("REPLAYGAIN_TRACK_GAIN"), ["-6.50 dB"]);
        assert_eq!(given.get("REPLAYGAIN_ALBUM_PEAK"), ["1.000000"]);
        assert_eq!(given.get("TITLE"), ["x"]);
        set(&mut given, "opus", LOUD, None);
        assert_eq!(given.get("R128_TRACK_GAIN"), ["-2944"]);
        assert_eq!(given.get("R128_ALBUM_GAIN"), [""; 0]);
        assert_eq!(given.get("REPLAYGAIN_TRACK_GAIN"), [""; 0]);
    }

    #[test]
    fn silence_has_no_gain() {
        let mut given = Tags::default();
        let silence = Loudness { lufs: None, peak: 0.0 };
        set(&mut given, "mp3", Some(silence), Some(silence));
        assert!(given.iter().all(|(_, values)| values.is_empty()));
    }
}
