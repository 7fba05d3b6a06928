//! Tags of MP4, as iTunes has them: atoms of four letters, and free names for the rest.

use std::path::Path;

use anyhow::Result;
use lofty::mp4::{Atom, AtomData, AtomIdent, DataType, Ilst};
use lofty::picture::{Picture, PictureType};
use lofty::tag::{ItemKey, TagExt, TagType};

use super::{TOTALS, of_total, options};
use crate::tags::Tags;

/// Who names the free names that everybody reads.
const ITUNES: &str = "com.apple.iTunes";

pub(super) fn write(path: &Path, tags: &Tags, pictures: &[Picture]) -> Result<()> {
    let mut ilst = Ilst::new();
    let mut paired = Vec::new();
    for (number, totals, atom, length) in [
        (TOTALS[0].0, TOTALS[0].1, *b"trkn", 8),
        (TOTALS[1].0, TOTALS[1].1, *b"disk", 6),
    ] {
        if let Some(data) = pair(tags, number, totals, length) {
            ilst.insert(Atom::new(AtomIdent::Fourcc(atom), data));
            paired.push(number);
            paired.extend(totals);
        }
    }
    for (name, values) in tags.iter().filter(|(name, _)| !paired.contains(name)) {
        let (ident, data) = match (name, values) {
            ("BPM", [bpm]) if bpm.parse::<u16>().is_ok() => (
                AtomIdent::Fourcc(*b"tmpo"),
                vec![integer(bpm.parse::<u16>()?.to_be_bytes())],
            ),
            ("COMPILATION", [flag]) if flag == "1" => (AtomIdent::Fourcc(*b"cpil"), vec![integer([1])]),
            _ => (ident(name), values.iter().cloned().map(AtomData::UTF8).collect()),
        };
        if let Some(atom) = Atom::from_collection(ident, data) {
            ilst.insert(atom);
        }
    }
    // The first one is the cover: neither types nor descriptions are kept.
    let (front, others): (Vec<_>, Vec<_>) = pictures
        .iter()
        .partition(|picture| picture.pic_type() == PictureType::CoverFront);
    for picture in front.into_iter().chain(others) {
        ilst.insert_picture(picture.clone());
    }
    ilst.save_to_path(path, options())?;
    Ok(())
}

/// A number and its total in one atom; none if there is no number, or one that is no number.
fn pair(tags: &Tags, number: &str, totals: &[&str], length: usize) -> Option<AtomData> {
    let [number] = tags.get(number) else { return None };
    let both = of_total(number, tags, totals);
    let (number, total) = both.split_once('/').unwrap_or((&both, "0"));
    let mut data = vec![0, 0];
    data.extend(number.parse::<u16>().ok()?.to_be_bytes());
    data.extend(total.parse::<u16>().ok()?.to_be_bytes());
    data.resize(length, 0);
    let code = DataType::Reserved;
    Some(AtomData::Unknown { code, data })
}

fn integer(bytes: impl Into<Vec<u8>>) -> AtomData {
    AtomData::Unknown {
        code: DataType::BeSignedInteger,
        data: bytes.into(),
    }
}

/// The atom of a Vorbis comment: what lofty maps it to if text may stand there, or its own name.
fn ident(name: &str) -> AtomIdent<'static> {
    const TEXT: &[&str] = &["aART", "soaa", "soal", "soar", "soco", "sonm", "cprt", "desc"];
    const NUMBERS: &[&str] = &["\u{a9}mvi", "\u{a9}mvc"];
    let mapped = ItemKey::from_key(TagType::VorbisComments, name).and_then(|key| key.map_key(TagType::Mp4Ilst));
    let free = |name: String| AtomIdent::Freeform {
        mean: ITUNES.into(),
        name: name.into(),
    };
    match mapped {
        Some(mapped) if mapped.starts_with("----:") => match mapped.rsplit_once(':') {
            Some((_, known)) => free(known.to_owned()),
            None => free(name.to_owned()),
        },
        Some(mapped) if TEXT.contains(&mapped) || mapped.starts_with('\u{a9}') && !NUMBERS.contains(&mapped) => {
            // Its first character is the byte of the same number.
            let letters: Vec<u8> = mapped.chars().filter_map(|letter| u8::try_from(letter).ok()).collect();
            letters
                .try_into()
                .map_or_else(|_| free(name.to_owned()), AtomIdent::Fourcc)
        }
        _ => free(name.to_owned()),
    }
}
