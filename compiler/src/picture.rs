//! Picture files that go into outputs.

use std::fs;
use std::path::Path;

use anyhow::Result;
use lofty::picture::{Picture, PictureType};

use crate::refused::Refused;

/// The ID3 picture type of a front cover.
pub(crate) const FRONT_COVER: u8 = 3;

/// Reads a picture of a given ID3 picture type. What it is (PNG, JPEG, ...) is read from its content.
///
/// # Errors
/// The file is missing, cannot be read, or is no picture.
pub(crate) fn read(collection: &Path, path: &Path, kind: u8) -> Result<Picture> {
    let bytes = fs::read(collection.join(path)).map_err(|error| {
        let reason = format!("the picture {} cannot be read: {error}", path.display());
        Refused::new(reason, "add it, or take it out of the sidecar")
    })?;
    let mut picture = Picture::from_reader(&mut bytes.as_slice()).map_err(|error| {
        let reason = format!("{} is no picture: {error}", path.display());
        Refused::new(reason, "replace it by a JPEG or PNG file")
    })?;
    picture.set_pic_type(PictureType::from_u8(kind));
    Ok(picture)
}
