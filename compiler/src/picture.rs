//! Picture files that go into outputs.

use std::io::Read;
use std::path::Path;

use anyhow::Result;
use lofty::picture::{Picture, PictureType};

use crate::refused::Refused;
use crate::regular;

/// The ID3 picture type of a front cover.
pub(crate) const FRONT_COVER: u8 = 3;

/// The largest picture, in bytes: more than fits into FLAC, so that what fits is that format's to say.
const LARGEST: u64 = 32 << 20;

/// Reads a picture of a given ID3 picture type. What it is (PNG, JPEG, ...) is read from its content.
///
/// # Errors
/// The file is missing, cannot be read, or is no picture.
pub(crate) fn read(collection: &Path, path: &Path, kind: u8) -> Result<Picture> {
    let mut bytes = Vec::new();
    regular::open(&collection.join(path))
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            let reason = format!("the picture {} cannot be read: {error}", path.display());
            Refused::new(reason, "add it, or take it out of the sidecar")
        })?;
    if bytes.len() as u64 > LARGEST {
        let reason = format!("the picture {} is larger than {} MiB", path.display(), LARGEST >> 20);
        return Err(Refused::new(reason, "make it smaller").into());
    }
    let mut picture = Picture::from_reader(&mut bytes.as_slice()).map_err(|error| {
        let reason = format!("{} is no picture: {error}", path.display());
        Refused::new(reason, "replace it by a JPEG or PNG file")
    })?;
    picture.set_pic_type(PictureType::from_u8(kind));
    Ok(picture)
}
