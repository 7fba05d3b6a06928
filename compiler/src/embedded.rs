//! Tags and pictures that a source brings with it.

use std::io::{BufReader, Cursor};
use std::path::Path;

use anyhow::{Context, Result};
use lofty::config::ParseOptions;
use lofty::file::AudioFile;
use lofty::flac::FlacFile;
use lofty::id3::v2::{Frame, Id3v2Tag};
use lofty::iff::aiff::AiffFile;
use lofty::iff::wav::WavFile;
use lofty::ogg::OggPictureStorage;
use lofty::ogg::tag::VorbisComments;
use lofty::picture::Picture;
use lofty::tag::{SplitTag, Tag};

use crate::header::{Form, Header};
use crate::source::Kind;
use crate::tags::{Tags, is_name};
use crate::{ogg_flac, regular};

/// What a source brings with it.
#[derive(Debug, Default)]
pub(crate) struct Embedded {
    /// Its tags, as Vorbis comments.
    pub(crate) tags: Tags,
    /// Its pictures, in their order.
    pub(crate) pictures: Vec<Picture>,
}

/// Reads the tags and pictures inside a source: Vorbis comments of FLAC; ID3 of WAVE and AIFF, then their text chunks.
///
/// # Errors
/// The file cannot be opened, or its tags make no sense.
pub(crate) fn read(source: &Path, kind: Kind, header: &Header) -> Result<Embedded> {
    let file = regular::open(source).with_context(|| format!("opening {}", source.display()))?;
    let mut reader = BufReader::new(file);
    let options = ParseOptions::new().read_properties(false);
    let mut embedded = Embedded::default();
    match kind {
        Kind::Flac => embedded.add_flac(&FlacFile::read_from(&mut reader, options)?),
        Kind::OggFlac => {
            let mut metadata = Cursor::new(ogg_flac::metadata(&mut reader)?);
            embedded.add_flac(&FlacFile::read_from(&mut metadata, options)?);
        }
        Kind::Raw => {}
        // Nothing writes tags into WAVE of such lengths.
        Kind::Wave if header.form == Form::Rf64 => {}
        Kind::Wave => {
            let mut file = WavFile::read_from(&mut reader, options)?;
            embedded.add_id3(file.remove_id3v2());
            embedded.add_tag(file.remove_riff_info().map(Tag::from));
        }
        Kind::Aiff => {
            let mut file = AiffFile::read_from(&mut reader, options)?;
            embedded.add_id3(file.remove_id3v2());
            embedded.add_tag(file.remove_text_chunks().map(Tag::from));
        }
    }
    Ok(embedded)
}

impl Embedded {
    fn add_flac(&mut self, file: &FlacFile) {
        if let Some(comments) = file.vorbis_comments() {
            self.add_comments(comments);
        }
        self.pictures
            .extend(file.pictures().iter().map(|(picture, _)| picture.clone()));
    }

    /// Takes over comments whose names are not here yet.
    fn add_comments(&mut self, comments: &VorbisComments) {
        let mut tags = Tags::default();
        for (name, value) in comments.items().filter(|(name, _)| is_name(name)) {
            tags.add(name, value);
        }
        self.tags.fill_from(&tags);
        self.pictures
            .extend(comments.pictures().iter().map(|(picture, _)| picture.clone()));
    }

    fn add_tag(&mut self, tag: Option<Tag>) {
        if let Some(tag) = tag {
            self.add_comments(&VorbisComments::from(tag));
        }
    }

    fn add_id3(&mut self, tag: Option<Id3v2Tag>) {
        let Some(tag) = tag else { return };
        let (rest, known) = tag.split_tag();
        self.add_tag(Some(known));
        // Names of other programs travel in TXXX frames; several values are separated by zero.
        let mut tags = Tags::default();
        for frame in Id3v2Tag::from(rest) {
            if let Frame::UserText(text) = frame
                && is_name(&text.description)
            {
                for value in text.content.split('\0') {
                    tags.add(&text.description, value);
                }
            }
        }
        self.tags.fill_from(&tags);
    }
}
