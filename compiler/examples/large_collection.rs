//! Makes a large collection to measure with: `large_collection DIR TRACKS [SECONDS-SHORTEST SECONDS-LONGEST]`.
//!
//! Albums of 10 to 20 tracks, three of an artist, with `tags.vc` of the artist and the album, one of each track and a
//! cover. Without lengths a track lasts a tenth of a second, so that one hundred thousand of them fit anywhere. The same
//! arguments make the same bytes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    ensure!(
        matches!(arguments.len(), 2 | 4),
        "usage: large_collection DIR TRACKS [SECONDS-SHORTEST SECONDS-LONGEST]"
    );
    let number = |index: usize| arguments[index].parse::<u32>().context("reading a number");
    let mut random = Random(1);
    let lengths = match arguments.len() {
        4 => Some(number(2)?..=number(3)?),
        _ => None,
    };
    let mut left = number(1)?;
    for album in 0.. {
        if left == 0 {
            return Ok(());
        }
        let tracks = random.between(10, 20).min(left);
        left -= tracks;
        let folder = make_album(Path::new(&arguments[0]), album)?;
        for track in 1..=tracks {
            let path = folder.join(format!("{track:02}-song {album} & {track}.wav"));
            let sound = match &lengths {
                None => Sound::short(),
                Some(lengths) => Sound::music(random.between(*lengths.start(), *lengths.end())),
            };
            sound.write(&path, &mut random)?;
            write(
                &path.with_extension("tags.vc"),
                format!("TITLE=Song {track} of album {album}\nISRC=XX{album:06}{track:04}\n"),
            )?;
        }
    }
    Ok(())
}

/// The folder of an album, its sidecars and its cover.
fn make_album(root: &Path, album: u32) -> Result<PathBuf> {
    let artist = root.join(format!("artist {:05}", album / 3));
    let folder = artist.join(format!("album {}", album % 3 + 1));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    if album.is_multiple_of(3) {
        write(&artist.join("tags.vc"), format!("ARTIST=Artist {}\n", album / 3))?;
    }
    write(
        &folder.join("tags.vc"),
        format!("ALBUM=Album {album}\nDATE={}\nGENRE=Generated\n", 1950 + album % 70),
    )?;
    write(&folder.join("cover.png"), PIXEL)?;
    Ok(folder)
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

/// A PNG of one pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xDE\
    \0\0\0\x0CIDATx\x9Cc\xF8\xDF\xC0\0\0\x04\x01\x01\x80\xC5*\x18]\0\0\0\0IEND\xAEB`\x82";

/// What a track sounds like: 16 bit, a chord with noise.
struct Sound {
    rate: u32,
    channels: u16,
    frames: u32,
}

impl Sound {
    fn short() -> Sound {
        Sound {
            rate: 8000,
            channels: 1,
            frames: 800,
        }
    }

    fn music(seconds: u32) -> Sound {
        Sound {
            rate: 44_100,
            channels: 2,
            frames: 44_100 * seconds,
        }
    }

    fn write(&self, path: &Path, random: &mut Random) -> Result<()> {
        let writing = || format!("writing {}", path.display());
        let block = self.channels * 2;
        let length = self.frames * u32::from(block);
        let mut file = BufWriter::new(File::create(path).with_context(writing)?);
        let mut head = Vec::new();
        head.extend(b"RIFF");
        head.extend((36 + length).to_le_bytes());
        head.extend(b"WAVEfmt \x10\0\0\0\x01\0");
        head.extend(self.channels.to_le_bytes());
        head.extend(self.rate.to_le_bytes());
        head.extend((self.rate * u32::from(block)).to_le_bytes());
        head.extend(block.to_le_bytes());
        head.extend(b"\x10\0data");
        head.extend(length.to_le_bytes());
        file.write_all(&head).with_context(writing)?;
        let pitch = f64::from(random.between(110, 880)) / f64::from(self.rate);
        for frame in 0..self.frames {
            for channel in 0..self.channels {
                let tone = |factor: f64| wave((f64::from(frame) * pitch * factor).fract());
                let noise = f64::from(random.between(0, 2000)) - 1000.0;
                let sample = (tone(1.0) + tone(1.25) + tone(1.5 + 0.01 * f64::from(channel))) * 8000.0 + noise;
                file.write_all(&(sample as i16).to_le_bytes()).with_context(writing)?;
            }
        }
        file.flush().with_context(writing)
    }
}

/// One period of something close to a sine, for a phase of 0 to 1.
fn wave(phase: f64) -> f64 {
    let phase = 2.0 * phase - 1.0;
    4.0 * phase * (1.0 - phase.abs())
}

/// A linear congruential generator. Source: Knuth, MMIX.
struct Random(u64);

impl Random {
    fn between(&mut self, least: u32, most: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        least + (self.0 >> 33) as u32 % (most - least + 1)
    }
}
