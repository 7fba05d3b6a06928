//! What the header of a source says of its samples, read before any program is trusted with them.
//!
//! Encoders differ in what they read, and all of them take what is left of a truncated file for the whole.

use std::io::{BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use contract::raw::{Raw, Sample};

use crate::ogg_flac::{self, COMMENTS, LAST};
use crate::refused::Refused;
use crate::regular;
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
    /// A chunk of odd length stands before the samples, and the byte that fills it up.
    pub(crate) odd: bool,
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
    /// FLAC.
    Flac {
        /// In Ogg.
        ogg: bool,
    },
    /// Samples and nothing else, written so.
    Raw(&'static Sample),
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

/// Finds out what kind of file a source is, whatever its extension says, and reads its header; of one that has none it
/// takes what a profile says.
///
/// # Errors
/// A [`Refused`]: it makes no sense, or the file ends before the samples that it announces.
pub(crate) fn read(path: &Path, raw: Option<Raw>) -> Result<(Kind, Header)> {
    let kind = match raw {
        Some(_) => Kind::Raw,
        None => source::kind(path)?,
    };
    Ok((kind, of_kind(path, kind, raw)?))
}

fn of_kind(path: &Path, kind: Kind, raw: Option<Raw>) -> Result<Header> {
    let reading = || format!("reading {}", path.display());
    let file = regular::open(path).with_context(reading)?;
    let length = file.metadata().with_context(reading)?.len();
    let mut file = BufReader::new(file);
    let header = match kind {
        Kind::Wave => wave(&mut file, length),
        Kind::Aiff => aiff(&mut file, length),
        Kind::Flac => flac(&mut file),
        Kind::OggFlac => flac_in_ogg(&mut file),
        Kind::Raw => return without_header(length, raw.context("nothing tells what is in it")?),
    };
    let header = match header {
        Ok(header) => header,
        Err(Wrong::Metadata(error)) => return Err(refused(format!("its header makes no sense: {error:#}")).into()),
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
    if header.channels == 0 || header.rate == 0 || matches!(header.coding, Coding::Integer(0 | 65..)) {
        return Err(refused("its header makes no sense").into());
    }
    if header.frames == Some(0) && !matches!(header.form, Form::Flac { .. }) {
        return Err(refused("there is no sample in it").into());
    }
    Ok(header)
}

/// Why a header is of no use.
enum Wrong {
    /// It says nothing that could be.
    Header,
    /// The metadata of FLAC in Ogg cannot be taken out of it.
    Metadata(anyhow::Error),
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

/// What programs write that cannot know the length: 2 or 4 GiB, or somewhat less.
fn is_placeholder(length: u64) -> bool {
    (0x7FFF_0000..=0x8000_0000).contains(&length) || (0xFFFF_0000..=0xFFFF_FFFF).contains(&length)
}

fn wave(file: &mut (impl Read + Seek), length: u64) -> Result<Header, Wrong> {
    let rf64 = &bytes::<12>(file)?[..4] == b"RF64";
    let (mut long, mut format, mut odd) = (None, None, false);
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
                let streamed =
                    announced == 0 || announced > there && (is_placeholder(announced) || announced <= length);
                if announced > there && !streamed {
                    return Err(Wrong::Truncated { announced, there });
                }
                header.form = match (streamed, rf64) {
                    (true, _) => Form::Streamed,
                    (false, true) => Form::Rf64,
                    (false, false) => Form::Wave,
                };
                header.odd = odd;
                if header.coding != Coding::Other {
                    header.frames = Some(if streamed { there } else { announced } / u64::from(block));
                }
                return Ok(*header);
            }
            _ => skip(file, size)?,
        }
        if size % 2 == 1 {
            odd = true;
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
        odd: false,
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
        odd: false,
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
    let last = bytes::<4>(file)?[0] & LAST != 0;
    let mut header = stream_info(&bytes(file)?);
    if !last {
        header.speakers = flac_speakers(file)?;
    }
    Ok(header)
}

/// The speakers in the comments of a FLAC file, if they are not those that its number of channels means.
fn flac_speakers(file: &mut (impl Read + Seek)) -> Result<Option<u32>, Wrong> {
    const NAME: &[u8] = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x";
    loop {
        let [kind, length @ ..] = bytes::<4>(file)?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        if kind & !LAST == COMMENTS {
            let mut comments = vec![0; length as usize];
            file.read_exact(&mut comments)?;
            let at = comments
                .windows(NAME.len())
                .position(|window| window.eq_ignore_ascii_case(NAME));
            let digits = at.map(|at| &comments[at + NAME.len()..]).unwrap_or_default();
            let digits = digits.iter().take_while(|digit| digit.is_ascii_hexdigit());
            let digits: String = digits.map(|digit| char::from(*digit)).collect();
            return Ok(u32::from_str_radix(&digits, 16).ok());
        }
        if kind & LAST != 0 {
            return Ok(None);
        }
        skip(file, length.into())?;
    }
}

fn flac_in_ogg(file: &mut (impl Read + Seek)) -> Result<Header, Wrong> {
    // The first page holds nothing but the first packet: 27 bytes, and the packet's length in one.
    let page = bytes::<28>(file)?;
    let packet = bytes::<17>(file)?;
    if page[26] != 1 || &packet[..5] != b"\x7FFLAC" || &packet[9..13] != b"fLaC" {
        return Err(Wrong::Content);
    }
    let metadata = ogg_flac::metadata(file).map_err(Wrong::Metadata)?;
    Ok(Header {
        form: Form::Flac { ogg: true },
        ..flac(&mut Cursor::new(metadata))?
    })
}

/// What a profile says of a file that has no header.
fn without_header(length: u64, raw: Raw) -> Result<Header> {
    let block = u64::from(raw.sample.bits / 8 * raw.channels);
    if length == 0 || !length.is_multiple_of(block) {
        let reason = format!("its {length} bytes are not samples of {raw}, which take {block} bytes each time");
        return Err(Refused::new(reason, "replace the file, or correct CONFIG_RAW of the profile").into());
    }
    Ok(Header {
        form: Form::Raw(raw.sample),
        coding: if raw.sample.float {
            Coding::Float(raw.sample.bits)
        } else {
            Coding::Integer(raw.sample.bits)
        },
        channels: raw.channels,
        speakers: None,
        rate: raw.rate,
        frames: Some(length / block),
        odd: false,
    })
}

/// FLAC's STREAMINFO. Source: RFC 9639, 8.2.
fn stream_info(block: &[u8; 34]) -> Header {
    let packed = u64::from_be_bytes(part(&block[10..18]));
    let bits = |from: u32, count: u32| packed >> (64 - from - count) & ((1 << count) - 1);
    let frames = bits(28, 36);
    Header {
        form: Form::Flac { ogg: false },
        coding: Coding::Integer(bits(23, 5) as u16 + 1),
        channels: bits(20, 3) as u16 + 1,
        speakers: None,
        rate: bits(0, 20) as u32,
        // Zero is how it says that it does not know.
        frames: Some(frames).filter(|frames| *frames > 0),
        odd: false,
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The header of a file with this beginning and, up to its length, nothing but zeros, which take no space.
    fn header(beginning: &[u8], length: u64, kind: Kind) -> Result<Header, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(beginning).unwrap();
        file.as_file().set_len(length).unwrap();
        of_kind(file.path(), kind, None).map_err(|error| error.to_string())
    }

    #[test]
    fn lengths_beyond_four_gigabytes_are_read() {
        let bytes: u64 = 5 << 30;
        let mut rf64 = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
        rf64.extend((bytes + 72).to_le_bytes());
        rf64.extend(bytes.to_le_bytes());
        rf64.extend([0; 12]);
        rf64.extend(b"fmt \x10\0\0\0\x01\0\x02\0\0\x77\x01\0\0\xca\x08\0\x06\0\x18\0data\xff\xff\xff\xff");
        let length = rf64.len() as u64 + bytes;
        let read = header(&rf64, length, Kind::Wave).unwrap();
        assert_eq!(
            (read.form, read.coding, read.rate),
            (Form::Rf64, Coding::Integer(24), 96_000)
        );
        assert_eq!(read.frames, Some(bytes / 6));
        let error = header(&rf64, length - 100, Kind::Wave).unwrap_err();
        assert!(error.starts_with("it is cut off: 5368709120 bytes"), "{error}");
    }

    #[test]
    fn samples_of_more_bits_than_there_are_make_no_sense() {
        for bits in [0_u16, 65, u16::MAX] {
            let mut wave = b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\0\0\0\0\x02\0".to_vec();
            wave.extend(bits.to_le_bytes());
            wave.extend(b"data\x04\0\0\0\0\0\0\0");
            let error = header(&wave, wave.len() as u64, Kind::Wave).unwrap_err();
            assert!(error.starts_with("its header makes no sense"), "{bits}: {error}");
        }
    }

    #[test]
    fn an_aiff_may_say_what_its_samples_are_behind_them() {
        let common = b"COMM\0\0\0\x16\0\x01\0\0\0\x02\0\x10\x40\x0e\xac\x44\0\0\0\0\0\0sowt";
        let samples = b"SSND\0\0\0\x0c\0\0\0\0\0\0\0\0\x01\x02\x03\x04";
        let aiff = [b"FORM\0\0\0\x3aAIFC".as_slice(), samples, common].concat();
        let read = header(&aiff, aiff.len() as u64, Kind::Aiff).unwrap();
        assert_eq!((read.rate, read.channels, read.frames), (44_100, 1, Some(2)));
        assert_eq!(read.coding, Coding::Integer(16));
    }

    #[test]
    fn no_header_ends_in_a_panic() {
        for kind in [Kind::Wave, Kind::Aiff, Kind::Flac, Kind::OggFlac] {
            for length in 0..200 {
                for byte in [0, 0xFF] {
                    let mut bytes = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
                    bytes.extend(vec![byte; length]);
                    assert!(header(&bytes, bytes.len() as u64, kind).is_err());
                }
            }
        }
    }
}
