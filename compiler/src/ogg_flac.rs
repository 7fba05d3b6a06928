//! FLAC in Ogg: its metadata as a FLAC file has it, out of the Ogg pages and back into them.
//!
//! lofty reads and writes FLAC and Ogg, and not the one in the other. Source: RFC 9639, 10.1.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ogg_pager::{CONTAINS_FIRST_PAGE_OF_BITSTREAM, Packets, Page, PageHeader, paginate};

use crate::layout::UNFINISHED_PREFIX;

/// What stands before the STREAMINFO block in the first packet: the mapping's name and version, how many packets of
/// metadata follow, and FLAC's own mark.
const BEGINNING: usize = 5 + 2 + 2 + 4;

/// The bit of a metadata block that says that it is the last one, and the type of the block with the comments.
pub(crate) const LAST: u8 = 0x80;
pub(crate) const COMMENTS: u8 = 4;

/// More packets of metadata than any file has.
const MOST_PACKETS: isize = 1000;

/// Bytes that are read to find the metadata: four of the largest blocks. A packet is kept in memory as long as it goes on.
const MOST_BYTES: u64 = 64 << 20;

/// The metadata: the beginning of the FLAC file that this would be.
///
/// # Errors
/// It is no FLAC in Ogg.
pub(crate) fn metadata(file: &mut (impl Read + Seek)) -> Result<Vec<u8>> {
    let packets = packets(file)?.0;
    let mut metadata = b"fLaC".to_vec();
    for (index, packet) in packets.iter().enumerate() {
        metadata.extend(if index == 0 { &packet[BEGINNING..] } else { packet });
    }
    Ok(metadata)
}

/// Replaces the metadata.
///
/// # Errors
/// The file is no FLAC in Ogg, cannot be written, or the metadata cannot be read.
pub(crate) fn set_metadata(path: &Path, metadata: &[u8]) -> Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let serial = PageHeader::read(&mut file)?.stream_serial;
    file.rewind()?;
    if packets(&mut file)?.1 {
        bail!("samples begin on a page of metadata");
    }
    let mut blocks = blocks(metadata)?;
    // The comments come first.
    blocks[1..].sort_by_key(|block| block[0] & !LAST != COMMENTS);
    let last = blocks.len() - 1;
    for (index, block) in blocks.iter_mut().enumerate() {
        block[0] = block[0] & !LAST | if index == last { LAST } else { 0 };
    }
    let mut first = b"\x7FFLAC\x01\x00".to_vec();
    first.extend(u16::try_from(last)?.to_be_bytes());
    first.extend(b"fLaC");
    first.append(&mut blocks[0]);
    blocks[0] = first;

    let pages = paginate(
        blocks.iter().map(Vec::as_slice),
        serial,
        0,
        CONTAINS_FIRST_PAGE_OF_BITSTREAM,
    )?;
    let folder = path.parent().context("a file needs a folder")?;
    let mut rewritten = tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .permissions(File::open(path)?.metadata()?.permissions())
        .tempfile_in(folder)?;
    let mut writer = BufWriter::new(&mut rewritten);
    let mut number = 0;
    let mut write = |mut page: Page| {
        page.header_mut().sequence_number = number;
        number += 1;
        page.gen_crc();
        writer.write_all(&page.as_bytes())
    };
    pages.into_iter().try_for_each(&mut write)?;
    let length = file.get_ref().metadata()?.len();
    while file.stream_position()? < length {
        write(Page::read(&mut file)?)?;
    }
    writer.flush()?;
    drop(writer);
    rewritten.persist(path)?;
    Ok(())
}

/// The packets of metadata, and whether anything else is on the last one's page. The file is left behind that page.
fn packets(file: &mut (impl Read + Seek)) -> Result<(Packets, bool)> {
    let mut file = Limited { file, left: MOST_BYTES };
    let found = find_packets(&mut file);
    // Whoever reads packets takes the limit for the end of the file.
    if file.left == 0 {
        bail!("its metadata does not end within {} MiB", MOST_BYTES >> 20);
    }
    found
}

fn find_packets(file: &mut (impl Read + Seek)) -> Result<(Packets, bool)> {
    file.rewind()?;
    let first = Packets::read_count(file, 1)?.0;
    let first = first.get(0).context("no first packet")?;
    if !first.starts_with(b"\x7FFLAC") || first.len() < BEGINNING {
        bail!("it is no FLAC in Ogg");
    }
    // How many follow may be left open there; the last one is marked.
    let following = u16::from_be_bytes([first[7], first[8]]).max(1);
    for count in 1 + isize::try_from(following)?..MOST_PACKETS {
        file.rewind()?;
        let (packets, rest) = Packets::read_count(file, count)?;
        let last = packets.iter().last().and_then(|packet| packet.first());
        if last.context("an empty packet")? & LAST != 0 {
            return Ok((packets, rest.is_some()));
        }
    }
    bail!("its metadata does not end")
}

/// A file of which only so many bytes are read.
struct Limited<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read> Read for Limited<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.by_ref().take(self.left).read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<F: Seek> Seek for Limited<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }
}

/// The metadata blocks of a FLAC file, with their headers.
fn blocks(metadata: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut reader = Cursor::new(metadata);
    reader.set_position(4);
    let mut blocks = Vec::new();
    loop {
        let mut block = vec![0; 4];
        reader.read_exact(&mut block)?;
        let length = u32::from_be_bytes([0, block[1], block[2], block[3]]) as usize;
        block.resize(4 + length, 0);
        reader.read_exact(&mut block[4..])?;
        let last = block[0] & LAST != 0;
        blocks.push(block);
        if last {
            return Ok(blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page with the first packet of a FLAC stream, and one that is all of a packet that does not end on it.
    fn pages() -> (Vec<u8>, Vec<u8>) {
        let page = |flags: u8, lacing: &[u8], content: &[u8]| {
            let header = [b"OggS\0".as_slice(), &[flags], &[0; 20], &[lacing.len() as u8], lacing];
            [header.concat(), content.to_vec()].concat()
        };
        let stream_info = [b"\x7FFLAC\x01\0\0\0fLaC\0\0\0\x22".as_slice(), &[1; 34]].concat();
        let first = page(CONTAINS_FIRST_PAGE_OF_BITSTREAM, &[51], &stream_info);
        (first, page(0, &[255; 255], &[0; 255 * 255]))
    }

    /// Pages without an end, and how many bytes of them were read.
    struct Endless {
        pages: (Vec<u8>, Vec<u8>),
        at: u64,
        read: u64,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(self.read < 100 << 20, "it reads on and on");
            let (first, next) = &self.pages;
            let at = self.at as usize;
            let rest = match at.checked_sub(first.len()) {
                None => &first[at..],
                Some(behind) => &next[behind % next.len()..],
            };
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            self.at += read as u64;
            self.read += read as u64;
            Ok(read)
        }
    }

    impl Seek for Endless {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            match to {
                SeekFrom::Start(at) => self.at = at,
                SeekFrom::Current(0) => {}
                _ => unreachable!("nobody seeks there"),
            }
            Ok(self.at)
        }
    }

    #[test]
    fn a_packet_that_never_ends_is_not_read_to_its_end() {
        let mut endless = Endless {
            pages: pages(),
            at: 0,
            read: 0,
        };
        let error = metadata(&mut endless).unwrap_err().to_string();
        assert_eq!(error, "its metadata does not end within 64 MiB");
    }
}
