//! Names that players and computers with FAT or exFAT accept, as close to the given ones as possible.
//!
//! A name becomes Unicode in NFC. What may not stand in a name becomes what looks like it: `"*/:<>?\|` their full-width
//! twins, a control character its picture (`␀`), a space at the beginning or the end of a name `␠`, a dot at the end `．`. `_`
//! goes before a name that DOS keeps for a device. A name that is portable already stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::LONGEST_NAME;

/// The portable name of a folder; with a mark if it has to be kept apart from another.
pub(super) fn folder(name: &OsStr, apart: bool) -> String {
    let mut portable = start_of(name);
    let end = match portable.chars().next_back() {
        Some('.') => Some('．'),
        Some(' ') => Some('␠'),
        _ => None,
    };
    if let Some(end) = end {
        portable.pop();
        portable.push(end);
    }
    fitted(portable, name, apart, LONGEST_NAME)
}

/// The portable name of a file, from its name without extension; with a mark if it has to be kept apart from another.
pub(super) fn file(base: &OsStr, extension: &str, apart: bool) -> String {
    let ending = format!(".{extension}");
    fitted(start_of(base), base, apart, LONGEST_NAME - ending.len()) + &ending
}

/// What names are compared by: two names that a file system without case or normalisation takes for one have the same.
pub(super) fn folded(name: &str) -> String {
    let upper = name.nfd().flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfd().collect()
}

/// Which of these siblings have to be marked so that no two of them become the same.
///
/// Who keeps its name: whoever has its mark already, then whoever is portable as it is, then the first. So a name depends on
/// nothing but those that it would collide with.
pub(super) fn apart(names: &BTreeSet<OsString>, portable: fn(&OsStr, bool) -> String) -> BTreeSet<OsString> {
    let mut apart = BTreeSet::new();
    loop {
        let mut rivals: BTreeMap<String, Vec<&OsString>> = BTreeMap::new();
        for name in names {
            let portable = portable(name, apart.contains(name));
            rivals.entry(folded(&portable)).or_default().push(name);
        }
        let mut marked = Vec::new();
        for rivals in rivals.values().filter(|rivals| rivals.len() > 1) {
            let rank = |name: &&&OsString| (!apart.contains(**name), *portable(name, false) != ***name);
            let keeps = rivals.iter().min_by_key(rank).copied();
            marked.extend(rivals.iter().filter(|name| Some(**name) != keeps).copied().cloned());
        }
        let before = apart.len();
        apart.extend(marked);
        if apart.len() == before {
            return apart;
        }
    }
}

/// Everything but the rule about the end.
fn start_of(name: &OsStr) -> String {
    let mut portable: String = name.to_string_lossy().nfc().map(twin).collect();
    if portable.starts_with(' ') {
        portable.replace_range(..1, "␠");
    }
    if is_device(&portable) {
        portable.insert(0, '_');
    }
    portable
}

/// What stands for a character that may not stand in a name.
fn twin(character: char) -> char {
    const TO_FULL_WIDTH: u32 = 0xFEE0;
    const TO_PICTURE: u32 = 0x2400;
    let moved = |by: u32| char::from_u32(u32::from(character) + by);
    let twin = match character {
        '"' | '*' | '/' | ':' | '<' | '>' | '?' | '\\' | '|' => moved(TO_FULL_WIDTH),
        '\0'..='\x1F' => moved(TO_PICTURE),
        '\x7F' => Some('␡'),
        // Control characters without a picture, and two that are none: FAT pads names with the second.
        '\u{80}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}' => None,
        _ => Some(character),
    };
    twin.unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// DOS keeps the name for a device, whatever extension follows.
///
/// Source: <https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let numbered = |device| {
        let number = stem.strip_prefix(device);
        number.is_some_and(|number| {
            let mut characters = number.chars();
            characters
                .next()
                .is_some_and(|c| c.is_ascii_digit() || "¹²³".contains(c))
                && characters.next().is_none()
        })
    };
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

/// The name with a mark if it needs one: it has to be kept apart, or it is too long and is cut. The mark is made from the
/// given name alone, so that it never changes.
fn fitted(mut portable: String, given: &OsStr, apart: bool, longest: usize) -> String {
    if !apart && portable.len() <= longest {
        return portable;
    }
    let digest = Sha256::digest(given.as_bytes());
    let mark = format!(" ~{}", hex::encode(&digest[..4]));
    portable.truncate(portable.floor_char_boundary(longest - mark.len()));
    portable + &mark
}
