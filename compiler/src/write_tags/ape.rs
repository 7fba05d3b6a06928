//! Tags of WavPack: APEv2 at the end of the file.

use std::path::Path;

use anyhow::{Context, Result};
use lofty::ape::{ApeItem, ApeTag};
use lofty::picture::Picture;
use lofty::tag::{ItemKey, ItemValue, TagExt, TagType};

use super::{TOTALS, of_total, options};
use crate::tags::Tags;

pub(super) fn write(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut tag = ApeTag::new();
    for (name, values) in tags.iter().filter(|(_, values)| !values.is_empty()) {
        // Several values are separated by zero.
        let mut value = values.join("\0");
        if let Some((_, totals)) = TOTALS.iter().find(|(number, _)| *number == name) {
            value = of_total(&value, tags, totals);
        }
        let total_of = TOTALS.iter().find(|(_, totals)| totals.contains(&name));
        if total_of.is_some_and(|(number, _)| !tags.get(number).is_empty()) {
            continue;
        }
        tag.insert(ApeItem::new(key(name), ItemValue::Text(value)).with_context(|| format!("the tag {name}"))?);
    }
    for picture in pictures {
        let kind = picture.pic_type();
        let name = kind.as_ape_key().unwrap_or("Cover Art (Other)");
        let key = (1..)
            .map(|number| match number {
                1 => name.to_owned(),
                _ => format!("{name} {number}"),
            })
            .find(|key| tag.get(key).is_none())
            .unwrap_or_default();
        tag.insert(ApeItem::new(key, ItemValue::Binary(picture.as_ape_bytes()))?);
    }
    tag.save_to_path(path, options())?;
    Ok(())
}

/// The key of a Vorbis comment: what lofty maps it to, or its own name, changed where APEv2 forbids it.
fn key(name: &str) -> String {
    let known = ItemKey::from_key(TagType::VorbisComments, name).and_then(|key| key.map_key(TagType::Ape));
    match known {
        Some(known) => known.to_owned(),
        None if name.len() < 2 || ["ID3", "TAG", "OGGS", "MP+"].contains(&name) => format!("TAG {name}"),
        None => name.to_owned(),
    }
}
