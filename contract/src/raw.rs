//! What `.raw` files hold: samples without a header, of which only a profile can tell.
//!
//! ```text
//! CONFIG_RAW=s16le 44100 2
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How samples without a header are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Raw {
    /// How one is written.
    pub sample: &'static Sample,
    /// Samples per second.
    pub rate: u32,
    /// Channels, which take turns.
    pub channels: u16,
}

/// How one sample is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its name, which is also what ffmpeg calls it.
    pub name: &'static str,
    /// Bits.
    pub bits: u16,
    /// It is a floating point number.
    pub float: bool,
}

/// Every way to write a sample: unsigned, signed or float, bits, and the lowest or the highest byte first.
pub const SAMPLES: &[Sample] = &[
    whole("u8", 8),
    whole("s8", 8),
    whole("s16le", 16),
    whole("s16be", 16),
    whole("s24le", 24),
    whole("s24be", 24),
    whole("s32le", 32),
    whole("s32be", 32),
    float("f32le", 32),
    float("f32be", 32),
    float("f64le", 64),
    float("f64be", 64),
];

const fn whole(name: &'static str, bits: u16) -> Sample {
    let float = false;
    Sample { name, bits, float }
}

const fn float(name: &'static str, bits: u16) -> Sample {
    let float = true;
    Sample { name, bits, float }
}

/// The rates and channels of what is music.
const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;
const CHANNELS: std::ops::RangeInclusive<u16> = 1..=8;

impl FromStr for Raw {
    type Err = String;

    /// Reads `SAMPLE RATE CHANNELS`. The error is a remedy.
    fn from_str(text: &str) -> Result<Raw, String> {
        let names = || SAMPLES.iter().map(|sample| sample.name).collect::<Vec<_>>().join("|");
        let remedy = || {
            format!(
                "write SAMPLE RATE CHANNELS, such as s16le 44100 2, with one of {}, a rate from {} to {} and {} to {} channels",
                names(),
                RATES.start(),
                RATES.end(),
                CHANNELS.start(),
                CHANNELS.end()
            )
        };
        let words: Vec<_> = text.split_whitespace().collect();
        let [sample, rate, channels] = words[..] else {
            return Err(remedy());
        };
        let sample = SAMPLES.iter().find(|known| known.name == sample);
        let rate = rate.parse().ok().filter(|rate| RATES.contains(rate));
        let channels = channels.parse().ok().filter(|channels| CHANNELS.contains(channels));
        match (sample, rate, channels) {
            (Some(sample), Some(rate), Some(channels)) => Ok(Raw { sample, rate, channels }),
            _ => Err(remedy()),
        }
    }
}

impl TryFrom<String> for Raw {
    type Error = String;

    fn try_from(text: String) -> Result<Raw, String> {
        text.parse()
    }
}

impl From<Raw> for String {
    fn from(raw: Raw) -> String {
        raw.to_string()
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.sample.name, self.rate, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for sample in SAMPLES {
            let raw = Raw {
                sample,
                rate: 96_000,
                channels: 6,
            };
            assert_eq!(raw.to_string().parse(), Ok(raw));
        }
        assert_eq!(" s16le\t44100  2 ".parse::<Raw>().unwrap().to_string(), "s16le 44100 2");
    }

    #[test]
    fn what_no_music_has_is_refused() {
        for text in [
            "",
            "s16le",
            "s16le 44100",
            "s17le 44100 2",
            "s16le 1 2",
            "s16le 44100 9",
            "s16le x 2",
            "u8 8000 1 1",
        ] {
            let remedy = text.parse::<Raw>().unwrap_err();
            assert!(remedy.contains("s16le|s16be"), "{text}: {remedy}");
        }
    }
}
