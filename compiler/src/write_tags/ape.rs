//! Tags of WavPack: APEv2 at the end of the file.

use std::path::Path;

use anyhow::{Context, Result};
use lofty::ape::{ApeItem, ApeTag};
use lofty::picture::Picture;
use lofty::tag::{ItemKey, ItemValue, TagExt, TagType};

use super::{TOTALS, in_order, of_total, options};
use crate::tags::Tags;

pub(super) fn write(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut tag = ApeTag::new();
    for (name, values) in in_order(tags) {
        // Several values are separated by zero.
        let mut value = values.join("\0");
        if let Some((_, totals)) = TOTALS.iter().find(|(number, _)| *number == name) {
            value = of_total(&value, tags, totals);
        }
        let total_of = TOTALS.iter().find(|(_, totals)| totals.contains(&name));
        if total_of.is_some_and(|(number, _)| !tags.get(number).is_empty()) {
            continue;
        }
        let known = ItemKey::from_key(TagType::VorbisComments, name).and_then(|key| key.map_key(TagType::Ape));
        let key = match known.filter(|known| tag.get(known).is_none()) {
            Some(known) => known.to_owned(),
            None => free(&tag, &allowed(name)),
        };
        tag.insert(ApeItem::new(key, ItemValue::Text(value)).with_context(|| format!("the tag {name}"))?);
    }
    for picture in pictures {
        let kind = picture.pic_type();
        let name = kind.as_ape_key().unwrap_or("Cover Art (Other)");
        tag.insert(ApeItem::new(
            free(&tag, name),
            ItemValue::Binary(picture.as_ape_bytes()),
        )?);
    }
    tag.save_to_path(path, options())?;
    Ok(())
}

/// This key, with a number if it is taken.
fn free(tag: &ApeTag, key: &str) -> String {
    let numbered = (2..).map(|number| format!("{key} {number}"));
    std::iter::once(key.to_owned())
        .chain(numbered)
        .find(|key| tag.get(key).is_none())
        .unwrap_or_default()
}

/// The name itself as a key, changed where APEv2 forbids it.
fn allowed(name: &str) -> String {
    if name.len() < 2 || ["ID3", "TAG", "OGGS", "MP+"].contains(&name) {
        format!("TAG {name}")
    } else {
        name.to_owned()
    }
}
