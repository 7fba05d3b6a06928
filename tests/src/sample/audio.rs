//! Sound made by arithmetic, and the files that hold it. Only additions and products: the same bits on every machine.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// What a track sounds like.
pub(super) struct Sound {
    /// Decides pitch, chord and noise: two seeds never sound alike.
    pub(super) seed: u32,
    /// Samples a second.
    pub(super) rate: u32,
    /// Bits of a sample: 16 or 24.
    pub(super) bits: u16,
    /// Number of channels.
    pub(super) channels: u16,
    /// Length.
    pub(super) milliseconds: u32,
}

/// The kinds of source files that the sample has.
pub(super) enum Container {
    /// `.wav`, `.wave`
    Wav,
    /// `.aiff`
    Aiff,
    /// `.flac`
    Flac,
}

impl Container {
    /// The kind that a file's name asks for.
    pub(super) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wav" | "wave") => Ok(Self::Wav),
            Some("aiff") => Ok(Self::Aiff),
            Some("flac") => Ok(Self::Flac),
            _ => bail!("{}: the sample has no such kind of file", path.display()),
        }
    }
}

/// One period of something close to a sine, for a phase of -1 to 1.
fn wave(phase: f64) -> f64 {
    4.0 * phase * (1.0 - phase.abs())
}

/// The samples, channel by channel within each moment, as signed integers of `bits` bits.
fn samples(sound: &Sound) -> Vec<i32> {
    let moments = sound.rate as u64 * u64::from(sound.milliseconds) / 1000;
    let loudest = f64::from((1_i32 << (sound.bits - 1)) - 1);
    let base = 110.0 + f64::from(sound.seed * 31 % 440);
    // Every third track is a tone, every third a chord, every third has noise below.
    let (chord, hiss) = match sound.seed % 3 {
        0 => (&[1.0][..], 0.0),
        1 => (&[1.0, 1.25, 1.5][..], 0.0),
        _ => (&[1.0, 2.0][..], 0.1),
    };
    let mut noise = u64::from(sound.seed) * 2 + 1;
    let mut phases = vec![0.0_f64; chord.len() * usize::from(sound.channels)];
    let mut all = Vec::with_capacity(moments as usize * usize::from(sound.channels));
    for moment in 0..moments {
        // It swells and fades, so that gaps and cuts are audible.
        let loudness = 0.7 * wave(moment as f64 / moments as f64);
        for (channel, phases) in phases.chunks_mut(chord.len()).enumerate() {
            let mut value = 0.0;
            for (phase, factor) in phases.iter_mut().zip(chord) {
                value += wave(*phase) / chord.len() as f64;
                *phase += 2.0 * base * factor * (1.0 + 0.01 * channel as f64) / f64::from(sound.rate);
                if *phase >= 1.0 {
                    *phase -= 2.0;
                }
            }
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let hiss = hiss * ((noise >> 40) as f64 / f64::from(1 << 23) - 1.0);
            all.push(((value + hiss) / 1.1 * loudness * loudest) as i32);
        }
    }
    all
}

/// A RIFF WAVE file of plain PCM.
pub(super) fn wav(sound: &Sound) -> Vec<u8> {
    let bytes = usize::from(sound.bits / 8);
    let frame = sound.channels * sound.bits / 8;
    let data: Vec<u8> = samples(sound)
        .iter()
        .flat_map(|sample| sample.to_le_bytes().into_iter().take(bytes))
        .collect();
    let mut format = Vec::new();
    // More than 16 bits are to be announced in the extensible way.
    format.extend(if sound.bits > 16 { 0xfffe_u16 } else { 1 }.to_le_bytes());
    format.extend(sound.channels.to_le_bytes());
    format.extend(sound.rate.to_le_bytes());
    format.extend((sound.rate * u32::from(frame)).to_le_bytes());
    format.extend(frame.to_le_bytes());
    format.extend(sound.bits.to_le_bytes());
    if sound.bits > 16 {
        format.extend(22_u16.to_le_bytes());
        format.extend(sound.bits.to_le_bytes());
        format.extend(if sound.channels == 1 { 4_u32 } else { 3 }.to_le_bytes());
        // KSDATAFORMAT_SUBTYPE_PCM
        format.extend([1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    }
    let mut file = Vec::with_capacity(data.len() + 68);
    file.extend(b"RIFF");
    file.extend((data.len() as u32 + format.len() as u32 + 20 + (data.len() as u32 & 1)).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend((format.len() as u32).to_le_bytes());
    file.extend(format);
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    pad(file)
}

/// An AIFF file.
pub(super) fn aiff(sound: &Sound) -> Vec<u8> {
    let skip = 4 - usize::from(sound.bits / 8);
    let samples = samples(sound);
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_be_bytes().into_iter().skip(skip))
        .collect();
    let mut file = Vec::with_capacity(data.len() + 54);
    file.extend(b"FORM");
    file.extend((data.len() as u32 + 46 + (data.len() as u32 & 1)).to_be_bytes());
    file.extend(b"AIFFCOMM");
    file.extend(18_u32.to_be_bytes());
    file.extend(sound.channels.to_be_bytes());
    file.extend((samples.len() as u32 / u32::from(sound.channels)).to_be_bytes());
    file.extend(sound.bits.to_be_bytes());
    file.extend(extended(sound.rate));
    file.extend(b"SSND");
    file.extend((data.len() as u32 + 8).to_be_bytes());
    file.extend([0; 8]);
    file.extend(data);
    pad(file)
}

/// Writes a FLAC file, made by the program `flac`.
pub(super) fn flac(sound: &Sound, path: &Path) -> Result<()> {
    let mut source = tempfile::NamedTempFile::new().context("making a temporary file")?;
    source.write_all(&wav(sound)).context("writing a temporary file")?;
    let status = Command::new("flac")
        .args(["--silent", "--output-name"])
        .args([path, source.path()])
        .status()
        .context("starting flac: is the Debian package flac installed (make setup)?")?;
    ensure!(status.success(), "flac ended with {status} for {}", path.display());
    Ok(())
}

/// Chunks have an even length.
fn pad(mut file: Vec<u8>) -> Vec<u8> {
    if file.len() % 2 == 1 {
        file.push(0);
    }
    file
}

/// A whole number as an 80-bit IEEE 754 float, which is how AIFF spells a sample rate.
fn extended(number: u32) -> [u8; 10] {
    let shift = number.leading_zeros();
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&(16_383 + 31 - shift as u16).to_be_bytes());
    bytes[2..6].copy_from_slice(&(number << shift).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_rate_is_spelt_as_aiff_does() {
        assert_eq!(extended(44_100), [0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_wav_says_how_long_it_is() {
        let sound = Sound {
            seed: 5,
            rate: 8_000,
            bits: 16,
            channels: 1,
            milliseconds: 100,
        };
        let file = wav(&sound);
        assert_eq!(file.len(), 44 + 800 * 2);
        assert_eq!(file[40..44], 1_600_u32.to_le_bytes());
        assert!(samples(&sound).iter().all(|sample| sample.abs() < 1 << 15));
    }
}
