//! `mustup-manifest.yaml`: which files of its folder are tracks, and what is to be known and done about each.
//!
//! ```yaml
//! 01-clogger.wave:
//!   metadata:
//!     tags: {common: {title: Clogger}, Vorbis: {ISRC: [A, B]}}
//!   transformations:
//!     trim: {start: {seconds: 20}, end: {minutes: 4, seconds: 16, second_fractions: 5}}
//! 02-next.wave:
//! ```
//!
//! The metadata are as in `mustup-metadata.yaml`. A trim has a start, the beginning if it is not given, and an end or a
//! duration, or neither. Second fractions are what stands behind the point: 16 and 5 are 16.5 s.

use std::collections::BTreeMap;
use std::path::Path;

use super::Sidecar;
use super::mustup_metadata::{Unknown, map, metadata};
use super::yaml::{self, Entry, Node, at};
use crate::names::LONGEST_NAME;
use crate::refused::Refused;
use crate::trim::Trim;

/// The file's name.
pub(crate) const NAME: &str = "mustup-manifest.yaml";

/// The digits of a number in a time; more second fractions than a microsecond has would be none.
const MOST_DIGITS: usize = 6;

/// What is said about each file, or why that makes no sense.
pub(crate) type Manifest = BTreeMap<String, Result<Sidecar, Refused>>;

/// Reads the text of a `mustup-manifest.yaml` that lies in `folder` (below the collection).
pub(super) fn parse(text: &str, folder: &Path) -> Result<Manifest, Refused> {
    let node = yaml::read(text)?;
    let mut manifest = Manifest::new();
    for entry in map(&node, "the manifest")? {
        let name = &entry.key;
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['/', '\0']) || [".", ".."].contains(&&**name)
        {
            let shown: String = name.chars().take(100).collect();
            let reason = format!("{shown:?} cannot be the name of a file in this folder");
            let remedy = "name files of this folder; another folder has a manifest of its own";
            return Err(at(entry.line, reason, remedy));
        }
        manifest.insert(name.clone(), track(&entry.value, folder));
    }
    Ok(manifest)
}

fn track(instructions: &Node, folder: &Path) -> Result<Sidecar, Refused> {
    let mut unknown = Unknown::default();
    let (mut said, mut trim) = (Sidecar::default(), None);
    for entry in map(instructions, "a track's part")? {
        match entry.key.as_str() {
            "metadata" => said = metadata(&entry.value, folder, &mut unknown)?,
            "transformations" => trim = transformations(&entry.value)?,
            _ => unknown.key(entry, "metadata and transformations"),
        }
    }
    said.trim = trim;
    said.warnings = unknown.warnings();
    Ok(said)
}

/// Unlike a tag that is not known, a transformation that is not known would give other music than was asked for.
fn transformations(node: &Node) -> Result<Option<Trim>, Refused> {
    let mut trim = None;
    for entry in map(node, "\"transformations\"")? {
        match entry.key.as_str() {
            "trim" => trim = self::trim(&entry.value)?,
            _ => return Err(no_meaning(entry, "the transformation is trim")),
        }
    }
    Ok(trim)
}

fn trim(node: &Node) -> Result<Option<Trim>, Refused> {
    let (mut start, mut end, mut duration) = (None, None, None);
    for entry in map(node, "\"trim\"")? {
        let time = Some(time(&entry.value)?);
        match entry.key.as_str() {
            "start" => start = time,
            "end" => end = time,
            "duration" => duration = time,
            _ => return Err(no_meaning(entry, "a trim has a start, and an end or a duration")),
        }
    }
    if end.is_some() && duration.is_some() {
        return Err(node.refused("the trim has both an end and a duration", "keep one of the two"));
    }
    let begins = start.unwrap_or(0);
    let end = end.or(duration.map(|duration| begins + duration));
    Ok((start.is_some() || end.is_some()).then_some(Trim { start: begins, end }))
}

/// A time in microseconds.
fn time(node: &Node) -> Result<u64, Refused> {
    let mut time = 0;
    for entry in map(node, "a time")? {
        let digits = entry
            .value
            .text()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let digits = digits.filter(|digits| (1..=MOST_DIGITS).contains(&digits.len()));
        let unit = match entry.key.as_str() {
            "hours" => 3_600_000_000,
            "minutes" => 60_000_000,
            "seconds" => 1_000_000,
            "second_fractions" => 10_u64.pow(6_u32.saturating_sub(digits.map_or(0, str::len) as u32)),
            _ => {
                return Err(no_meaning(
                    entry,
                    "a time has hours, minutes, seconds and second_fractions",
                ));
            }
        };
        let number = digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or_else(|| {
            let reason = format!("{:?} is no whole number of at most {MOST_DIGITS} digits", entry.key);
            entry.value.refused(
                &reason,
                "write such a number; 16.5 s are seconds: 16, second_fractions: 5",
            )
        })?;
        time += number * unit;
    }
    Ok(time)
}

fn no_meaning(entry: &Entry, remedy: &str) -> Refused {
    at(
        entry.line,
        format!("the key {:?} means nothing here", entry.key),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_its_part() {
        let text = "1.wave:\n  metadata: {tags: {common: {title: One}}}\n2.wave:\n3.wave: text\n";
        let manifest = parse(text, Path::new("")).unwrap();
        let title = |name: &str| manifest[name].clone().unwrap().tags.get("TITLE").to_vec();
        assert_eq!(title("1.wave"), ["One"]);
        assert_eq!(title("2.wave"), [""; 0]);
        assert_eq!(
            manifest["3.wave"].as_ref().unwrap_err().reason,
            "line 4: a track's part is no map"
        );
    }

    #[test]
    fn what_is_no_name_of_a_file_is_refused() {
        for name in ["a/b.wave", "..", "\"\"", &"x".repeat(256), "\"\\0\""] {
            let refused = parse(&format!("a.wave:\n{name}:\n"), Path::new("")).unwrap_err();
            assert!(refused.reason.starts_with("line 2: "), "{name}: {refused}");
        }
    }

    #[test]
    fn a_trim_is_a_range_of_time() {
        let trim = |trim: &str| {
            let text = format!("a.wave:\n  transformations:\n    trim: {trim}\n");
            let said = parse(&text, Path::new("")).unwrap().remove("a.wave").unwrap();
            said.map(|said| said.trim.map(|trim| trim.to_string()))
                .map_err(|refused| refused.reason)
        };
        for (text, expected) in [
            (
                "{start: {minutes: 0, seconds: 20}, end: {minutes: 4, seconds: 16, second_fractions: 5}}",
                "20000000:256500000",
            ),
            ("{end: {hours: 1, second_fractions: 05}}", "0:3600050000"),
            ("{start: {seconds: 90, second_fractions: 123456}}", "90123456:"),
            ("{start: {seconds: 1}, duration: {seconds: 2}}", "1000000:3000000"),
        ] {
            assert_eq!(trim(text), Ok(Some(expected.to_owned())));
        }
        assert_eq!(trim(""), Ok(None));
        for (text, reason) in [
            (
                "{end: {seconds: 1}, duration: {seconds: 1}}",
                "the trim has both an end and a duration",
            ),
            ("{begin: {seconds: 1}}", "the key \"begin\" means nothing here"),
            (
                "{start: {milliseconds: 1}}",
                "the key \"milliseconds\" means nothing here",
            ),
            (
                "{start: {seconds: 1.5}}",
                "\"seconds\" is no whole number of at most 6 digits",
            ),
            (
                "{start: {seconds: 1234567}}",
                "\"seconds\" is no whole number of at most 6 digits",
            ),
            ("{start: 20}", "a time is no map"),
        ] {
            assert_eq!(trim(text), Err(format!("line 3: {reason}")));
        }
        let fade = parse("a.wave: {transformations: {fade: 5}}", Path::new(""))
            .unwrap()
            .remove("a.wave")
            .unwrap();
        assert_eq!(fade.unwrap_err().reason, "line 1: the key \"fade\" means nothing here");
    }
}
