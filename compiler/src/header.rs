//! What the header of a source says of its samples, read before any program is trusted with them.
//!
//! Encoders differ in what they read, and all of them take what is left of a truncated file for the whole.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};

use crate::refused::Refused;
use crate::source::{self, Kind};

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// How the file is built.
    pub(crate) form: Form,
    /// How a sample is written.
    pub(crate) coding: Coding,
    /// Channels.
    pub(crate) channels: u16,
    /// The speakers of the channels, one bit each as in WAVE; none if it says nothing about them.
    pub(crate) speakers: Option<u32>,
    /// Samples per second.
    pub(crate) rate: u32,
    /// Samples per channel; none if it does not say so.
    pub(crate) frames: Option<u64>,
}

/// How a file is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// RIFF WAVE whose header is right about the length of the samples.
    Wave,
    /// WAVE with 64-bit lengths.
    Rf64,
    /// WAVE that was written into a pipe: the samples are whatever follows the header.
    Streamed,
    /// AIFF or AIFF-C.
    Aiff,
    /// FLAC, in Ogg or not.
    Flac,
}

/// How a sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// A whole number of so many bits.
    Integer(u16),
    /// A floating point number of so many bits.
    Float(u16),
    /// Something else, such as A-law.
    Other,
}

/// Reads the header of a source.
///
/// # Errors
/// A [`Refused`]: it makes no sense, or the file ends before the samples that it announces.
pub(crate) fn read(path: &Path, kind: Kind) -> Result<Header> {
    let reading = || format!("reading {}", path.display());
    let file = File::open(path).with_context(reading)?;
    let length = file.metadata().with_context(reading)?.len();
    let mut file = BufReader::new(file);
    let header = match kind {
        Kind::Wave => wave(&mut file, length),
        Kind::Aiff => aiff(&mut file, length),
        Kind::Flac => flac(&mut file),
        Kind::OggFlac => ogg_flac(&mut file),
    };
    let header = match header {
        Ok(header) => header,
        Err(Wrong::Header) => return Err(refused("its header makes no sense").into()),
        Err(Wrong::Content) => return Err(source::not_what_it_says().into()),
        Err(Wrong::Truncated { announced, there }) => {
            let reason = format!("it is cut off: {announced} bytes of samples are announced, and {there} are there");
            return Err(refused(reason).into());
        }
        Err(Wrong::Unreadable(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(refused("it is cut off within its header").into());
        }
        Err(Wrong::Unreadable(error)) => return Err(error).with_context(reading),
    };
    if header.channels == 0 || header.rate == 0 || header.coding == Coding::Integer(0) {
        return Err(refused("its header makes no sense").into());
    }
    if header.frames == Some(0) && header.form != Form::Flac {
        return Err(refused("there is no sample in it").into());
    }
    Ok(header)
}

/// Why a header is of no use.
enum Wrong {
    /// It says nothing that could be.
    Header,
    /// The file is something else.
    Content,
    /// The samples end too early.
    Truncated { announced: u64, there: u64 },
    /// It cannot be read.
    Unreadable(std::io::Error),
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Wrong {
        Wrong::Unreadable(error)
    }
}

fn refused(reason: impl Into<String>) -> Refused {
    Refused::new(reason, "replace the file by a whole one")
}

/// Lengths from here on are what programs write that cannot know the length: 2 GiB less a block, or more.
const STREAMED: u64 = 0x7FFF_0000;

fn wave(file: &mut (impl Read + Seek), length: u64) -> Result<Header, Wrong> {
    let rf64 = &bytes::<12>(file)?[..4] == b"RF64";
    let (mut long, mut format) = (None, None);
    loop {
        let chunk = bytes::<8>(file)?;
        let size = u64::from(u32_le(&chunk[4..]));
        match &chunk[..4] {
            b"ds64" => {
                let sizes = bytes::<16>(file)?;
                long = Some(u64::from_le_bytes(part(&sizes[8..])));
                skip(file, size.saturating_sub(16))?;
            }
            b"fmt " => {
                let mut content = vec![0; usize::try_from(size.min(40)).unwrap_or(40)];
                file.read_exact(&mut content)?;
                format = Some(wave_format(&content)?);
                skip(file, size - content.len() as u64)?;
            }
            b"data" => {
                let mut header = format.ok_or(Wrong::Header)?;
                let (header, block) = (&mut header.0, header.1);
                let announced = long.filter(|_| size == u64::from(u32::MAX)).unwrap_or(size);
                let begin = file.stream_position()?;
                let there = length.saturating_sub(begin);
                // Who takes the whole file's length for that of the samples has not lost any.
                let streamed = announced == 0 || announced > there && (announced >= STREAMED || announced <= length);
                if announced > there && !streamed {
                    return Err(Wrong::Truncated { announced, there });
                }
                header.form = match (streamed, rf64) {
                    (true, _) => Form::Streamed,
                    (false, true) => Form::Rf64,
                    (false, false) => Form::Wave,
                };
                if header.coding != Coding::Other {
                    header.frames = Some(if streamed { there } else { announced } / u64::from(block));
                }
                return Ok(*header);
            }
            _ => skip(file, size)?,
        }
        if size % 2 == 1 {
            skip(file, 1)?;
        }
    }
}

/// The content of a `fmt ` chunk: a header without a length, and the bytes of a sample of all channels.
fn wave_format(content: &[u8]) -> Result<(Header, u16), Wrong> {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const EXTENSIBLE: u16 = 0xFFFE;
    let short = |at: usize| content.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let (Some(mut tag), Some(channels), Some(block), Some(bits)) = (short(0), short(2), short(12), short(14)) else {
        return Err(Wrong::Header);
    };
    let mut speakers = None;
    if tag == EXTENSIBLE {
        tag = short(24).ok_or(Wrong::Header)?;
        speakers = content.get(20..24).map(u32_le);
    }
    let header = Header {
        form: Form::Wave,
        coding: match tag {
            PCM => Coding::Integer(bits),
            FLOAT => Coding::Float(bits),
            _ => Coding::Other,
        },
        channels,
        speakers,
        rate: u32_le(&content[4..8]),
        frames: None,
    };
    if block == 0 {
        return Err(Wrong::Header);
    }
    Ok((header, block))
}

fn aiff(file: &mut (impl Read + Seek), length: u64) -> Result<Header, Wrong> {
    skip(file, 12)?;
    let mut found: Option<Header> = None;
    // The samples may stand before what is said of them.
    let mut samples = false;
    loop {
        if let Some(header) = found.filter(|_| samples) {
            return Ok(header);
        }
        let chunk = bytes::<8>(file)?;
        let size = u64::from(u32::from_be_bytes(part(&chunk[4..])));
        match &chunk[..4] {
            b"COMM" => {
                let mut content = vec![0; usize::try_from(size.min(22)).unwrap_or(22)];
                file.read_exact(&mut content)?;
                found = Some(aiff_format(&content)?);
                skip(file, size - content.len() as u64)?;
            }
            b"SSND" => {
                let there = length.saturating_sub(file.stream_position()?);
                if size > there {
                    return Err(Wrong::Truncated { announced: size, there });
                }
                samples = true;
                skip(file, size)?;
            }
            _ => skip(file, size)?,
        }
        if size % 2 == 1 {
            skip(file, 1)?;
        }
    }
}

/// The content of a `COMM` chunk.
fn aiff_format(content: &[u8]) -> Result<Header, Wrong> {
    if content.len() < 18 {
        return Err(Wrong::Header);
    }
    let bits = u16::from_be_bytes(part(&content[6..8]));
    // The rate is a floating point number of 80 bits: 1 of sign, 15 of exponent, 64 with the point behind the first.
    let exponent = u16::from_be_bytes(part(&content[8..10]));
    let shift = (16383_u16 + 63).checked_sub(exponent).ok_or(Wrong::Header)?;
    let mantissa = u64::from_be_bytes(part(&content[10..18]));
    let rate = mantissa.checked_shr(shift.into()).unwrap_or(0);
    Ok(Header {
        form: Form::Aiff,
        coding: match content.get(18..22) {
            None | Some(b"NONE" | b"sowt" | b"twos" | b"in24" | b"in32") => Coding::Integer(bits),
            Some(b"fl32" | b"FL32") => Coding::Float(32),
            Some(b"fl64" | b"FL64") => Coding::Float(64),
            Some(_) => Coding::Other,
        },
        channels: u16::from_be_bytes(part(&content[..2])),
        speakers: None,
        rate: u32::try_from(rate).map_err(|_| Wrong::Header)?,
        frames: Some(u32::from_be_bytes(part(&content[2..6])).into()),
    })
}

fn flac(file: &mut (impl Read + Seek)) -> Result<Header, Wrong> {
    let mut beginning = bytes::<4>(file)?;
    if beginning.starts_with(b"ID3") {
        // An ID3 tag before the FLAC: its length is written in bytes of seven bits.
        let rest = bytes::<6>(file)?;
        skip(file, rest[2..].iter().fold(0, |sum, byte| sum << 7 | u64::from(*byte)))?;
        beginning = bytes(file)?;
    }
    if &beginning != b"fLaC" {
        return Err(Wrong::Content);
    }
    skip(file, 4)?;
    Ok(stream_info(&bytes(file)?))
}

fn ogg_flac(file: &mut impl Read) -> Result<Header, Wrong> {
    // The first page holds nothing but the first packet: 27 bytes, and the packet's length in one.
    let page = bytes::<28>(file)?;
    let packet = bytes::<17>(file)?;
    if page[26] != 1 || &packet[..5] != b"\x7FFLAC" || &packet[9..13] != b"fLaC" {
        return Err(Wrong::Content);
    }
    Ok(stream_info(&bytes(file)?))
}

/// FLAC's STREAMINFO. Source: RFC 9639, 8.2.
fn stream_info(block: &[u8; 34]) -> Header {
    let packed = u64::from_be_bytes(part(&block[10..18]));
    let bits = |from: u32, count: u32| packed >> (64 - from - count) & ((1 << count) - 1);
    let frames = bits(28, 36);
    Header {
        form: Form::Flac,
        coding: Coding::Integer(bits(23, 5) as u16 + 1),
        channels: bits(20, 3) as u16 + 1,
        speakers: None,
        rate: bits(0, 20) as u32,
        // Zero is how it says that it does not know.
        frames: Some(frames).filter(|frames| *frames > 0),
    }
}

fn bytes<const LENGTH: usize>(file: &mut impl Read) -> std::io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The first bytes of a slice that has them.
fn part<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut part = [0; LENGTH];
    part.copy_from_slice(&bytes[..LENGTH]);
    part
}

fn u32_le(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(part(bytes))
}

fn skip(file: &mut (impl Read + Seek), bytes: u64) -> std::io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(|_| std::io::Error::from(ErrorKind::UnexpectedEof))?;
    file.seek(SeekFrom::Current(bytes)).map(drop)
}
