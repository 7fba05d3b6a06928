//! Tags and pictures into outputs, in the way of each format. The samples stay untouched.

mod ape;
mod mp4;

use std::fs::{File, OpenOptions};
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lofty::TextEncoding;
use lofty::config::{GlobalOptions, ParseOptions, WriteOptions, apply_global_options};
use lofty::file::AudioFile;
use lofty::flac::FlacFile;
use lofty::id3::v2::{
    AttachedPictureFrame, CommentFrame, ExtendedTextFrame, Frame, FrameId, Id3v2Tag, TextInformationFrame,
    UniqueFileIdentifierFrame, UnsynchronizedTextFrame,
};
use lofty::io::FileLike;
use lofty::ogg::tag::VorbisComments;
use lofty::ogg::{OggPictureStorage, OpusFile, VorbisFile};
use lofty::picture::{Picture, PictureInformation};
use lofty::tag::{ItemKey, TagExt, TagType};

use crate::ogg_flac;
use crate::tags::Tags;

/// The largest tag that is read back: more than any picture that a format can hold.
const LARGEST: usize = 512 << 20;

/// Numbers, and the names that their totals have.
const TOTALS: [(&str, &[&str]); 2] = [
    ("TRACKNUMBER", &["TRACKTOTAL", "TOTALTRACKS"]),
    ("DISCNUMBER", &["DISCTOTAL", "TOTALDISCS"]),
];

const CHANNEL_MASK: &str = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK";

/// Without room for later edits: outputs are made anew instead, and lofty would fill up a whole Ogg page (8 KB).
fn options() -> WriteOptions {
    WriteOptions::new().preferred_padding(0)
}

/// Writes tags and pictures into an encoded file. What the encoder wrote of itself stays.
///
/// # Errors
/// The file is not of this format, or the format cannot hold a picture of this size.
pub(crate) fn write(format: &str, path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    apply_global_options(GlobalOptions::new().allocation_limit(LARGEST));
    match format {
        "flac" => {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            flac(&mut file, tags, pictures)
        }
        "oggflac" => ogg_flac(path, tags, pictures),
        "vorbis" => vorbis(path, tags, pictures),
        "opus" => opus(path, tags, pictures),
        "mp3" => mp3(path, tags, pictures),
        "aac" | "alac" => mp4::write(path, tags, pictures),
        "wavpack" => ape::write(path, tags, pictures),
        _ => bail!("nobody knows how to tag {format}"),
    }
    .with_context(|| format!("writing tags as {format}"))
}

fn flac(file: &mut impl FileLike, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut flac = FlacFile::read_from(file, ParseOptions::new())?;
    let mut comments = flac.remove_vorbis_comments().unwrap_or_default();
    // flac notes the speaker position of mono that it got through a pipe; it is what mono means anyway.
    if comments.get(CHANNEL_MASK) == Some("0x0004") {
        comments.remove(CHANNEL_MASK).for_each(drop);
    }
    add_comments(&mut comments, tags);
    flac.set_vorbis_comments(comments);
    for picture in pictures {
        flac.insert_picture(picture.clone(), Some(information(picture)))?;
    }
    file.rewind()?;
    flac.save_to(file, options())?;
    Ok(())
}

fn ogg_flac(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut metadata = Cursor::new(ogg_flac::metadata(&mut File::open(path)?)?);
    flac(&mut metadata, tags, pictures)?;
    ogg_flac::set_metadata(path, metadata.get_ref())
}

fn vorbis(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut file = OpenOptions::new().read(true).open(path)?;
    let file = VorbisFile::read_from(&mut file, ParseOptions::new())?;
    ogg(path, file.vorbis_comments().clone(), tags, pictures)
}

fn opus(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut file = OpenOptions::new().read(true).open(path)?;
    let file = OpusFile::read_from(&mut file, ParseOptions::new())?;
    ogg(path, file.vorbis_comments().clone(), tags, pictures)
}

/// Completes the comments that an Ogg file has.
fn ogg(path: &Path, mut comments: VorbisComments, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    add_comments(&mut comments, tags);
    add_pictures(&mut comments, pictures)?;
    comments.save_to_path(path, options())?;
    Ok(())
}

fn mp3(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut tag = Id3v2Tag::new();
    for (name, values) in in_order(tags) {
        // Who finds its frame taken has one of its own name.
        if let Some(frame) = frame(name, values, tags)
            && let Some(taken) = tag.insert(frame)
        {
            tag.insert(taken);
            tag.insert(user_text(name.to_owned(), values.join("\0")));
        }
    }
    for picture in pictures {
        tag.insert(Frame::Picture(AttachedPictureFrame::new(
            TextEncoding::UTF8,
            picture.clone(),
        )));
    }
    tag.save_to_path(path, options())?;
    Ok(())
}

/// Tags with values. Several names may share a place in a format: first comes the one that lofty would read from there.
fn in_order(tags: &Tags) -> Vec<(&str, &[String])> {
    let is_first = |name: &str| {
        let key = ItemKey::from_key(TagType::VorbisComments, name);
        key.and_then(|key| key.map_key(TagType::VorbisComments)) == Some(name)
    };
    let mut tags: Vec<_> = tags.iter().filter(|(_, values)| !values.is_empty()).collect();
    tags.sort_by_key(|(name, _)| !is_first(name));
    tags
}

/// Replaces the comments of the names that are given.
fn add_comments(comments: &mut VorbisComments, tags: &Tags) {
    for (name, values) in tags.iter() {
        comments.remove(name).for_each(drop);
        for value in values {
            comments.push(name.to_owned(), value.clone());
        }
    }
}

fn add_pictures(comments: &mut VorbisComments, pictures: &[Picture]) -> Result<()> {
    for picture in pictures {
        comments.insert_picture(picture.clone(), Some(information(picture)))?;
    }
    Ok(())
}

/// Width, height and depth; zero means unknown, as for formats that are neither PNG nor JPEG.
fn information(picture: &Picture) -> PictureInformation {
    PictureInformation::from_picture(picture).unwrap_or_default()
}

/// The ID3v2.4 frame of a Vorbis comment: what lofty maps it to, or a `TXXX` of its own name. None for a total that
/// goes into the frame of its number.
fn frame(name: &str, values: &[String], tags: &Tags) -> Option<Frame<'static>> {
    let utf8 = TextEncoding::UTF8;
    let joined = values.join("\0");
    match name {
        "TRACKNUMBER" => return Some(text("TRCK", of_total(&joined, tags, TOTALS[0].1))),
        "DISCNUMBER" => return Some(text("TPOS", of_total(&joined, tags, TOTALS[1].1))),
        "TRACKTOTAL" | "TOTALTRACKS" if !tags.get("TRACKNUMBER").is_empty() => return None,
        "DISCTOTAL" | "TOTALDISCS" if !tags.get("DISCNUMBER").is_empty() => return None,
        _ => {}
    }
    let known = match name {
        "BPM" => Some("TBPM"),
        "LYRICS" => Some("USLT"),
        _ => None,
    };
    let mapped = known.or_else(|| lofty_frame(name));
    Some(match mapped {
        Some("COMM") => Frame::Comment(CommentFrame::new(utf8, *b"XXX", "", joined)),
        Some("USLT") => Frame::UnsynchronizedText(UnsynchronizedTextFrame::new(utf8, *b"XXX", "", joined)),
        Some("UFID") if values[0].is_ascii() => Frame::UniqueFileIdentifier(UniqueFileIdentifierFrame::new(
            "http://musicbrainz.org",
            values[0].clone().into_bytes(),
        )),
        // Lists of people and their roles are no plain text.
        Some(id) if id.len() == 4 && id.starts_with('T') && !["TIPL", "TMCL"].contains(&id) => text(id, joined),
        Some(description) if description.len() != 4 => user_text(description.to_owned(), joined),
        _ => user_text(name.to_owned(), joined),
    })
}

fn user_text(description: String, value: String) -> Frame<'static> {
    Frame::UserText(ExtendedTextFrame::new(TextEncoding::UTF8, description, value))
}

/// The ID3v2.4 frame, or the description of a `TXXX` frame, that lofty knows for a Vorbis comment.
fn lofty_frame(name: &str) -> Option<&'static str> {
    ItemKey::from_key(TagType::VorbisComments, name)?.map_key(TagType::Id3v2)
}

fn text(id: &'static str, value: String) -> Frame<'static> {
    Frame::Text(TextInformationFrame::new(
        FrameId::Valid(id.into()),
        TextEncoding::UTF8,
        value,
    ))
}

/// `NUMBER/TOTAL`, if a total is given and not already in the number.
fn of_total(number: &str, tags: &Tags, names: &[&str]) -> String {
    match names.iter().find_map(|name| tags.get(name).first()) {
        Some(total) if !number.contains('/') => format!("{number}/{total}"),
        _ => number.to_owned(),
    }
}
