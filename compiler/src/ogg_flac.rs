//! FLAC in Ogg: its metadata as a FLAC file has it, out of the Ogg pages and back into them.
//!
//! lofty reads and writes FLAC and Ogg, and not the one in the other. Source: RFC 9639, 10.1.

use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ogg_pager::{CONTAINS_FIRST_PAGE_OF_BITSTREAM, Packets, Page, PageHeader, paginate};

use crate::layout::UNFINISHED_PREFIX;

/// What stands before the STREAMINFO block in the first packet: the mapping's name and version, how many packets of
/// metadata follow, and FLAC's own mark.
const BEGINNING: usize = 5 + 2 + 2 + 4;

/// The bit of a metadata block that says that it is the last one, and the type of the block with the comments.
const LAST: u8 = 0x80;
const COMMENTS: u8 = 4;

/// More packets of metadata than any file has.
const MOST_PACKETS: isize = 1000;

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
    // How many there are may be left open in the first; the last one is marked.
    for count in 2..MOST_PACKETS {
        file.rewind()?;
        let (packets, rest) = Packets::read_count(file, count)?;
        let first = packets.get(0).context("no first packet")?;
        if !first.starts_with(b"\x7FFLAC") || first.len() < BEGINNING {
            bail!("it is no FLAC in Ogg");
        }
        let last = packets.iter().last().and_then(|packet| packet.first());
        if last.context("an empty packet")? & LAST != 0 {
            return Ok((packets, rest.is_some()));
        }
    }
    bail!("its metadata does not end")
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
