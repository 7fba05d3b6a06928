//! `tags.vc`: one Vorbis comment a line, `NAME=value`; a repeated name has several values.
//!
//! Empty lines and lines that begin with `#` mean nothing. `NAME=` without a value takes the tag away.

use super::Sidecar;
use crate::refused::Refused;
use crate::tags::is_name;

/// Reads the text of a `tags.vc`.
pub(super) fn parse(text: &str) -> Result<Sidecar, Refused> {
    let mut said = Sidecar::default();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let line_number = index + 1;
        let Some((name, value)) = line.split_once('=') else {
            let reason = format!("line {line_number}: {line:?} has no '='");
            return Err(Refused::new(reason, "write NAME=value"));
        };
        if !is_name(name) {
            let reason = format!("line {line_number}: {name:?} cannot be the name of a tag");
            return Err(Refused::new(reason, "use letters, digits and spaces"));
        }
        said.tags.add(name, value);
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_anything_and_repeat() {
        let said = parse("artist=Björk\nARTIST=久石 譲\n\n# note\nFORMULA=a=b \"c\" $d\n").unwrap();
        assert_eq!(said.tags.get("ARTIST"), ["Björk", "久石 譲"]);
        assert_eq!(said.tags.get("FORMULA"), ["a=b \"c\" $d"]);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        assert!(parse("=value").is_err());
        assert!(parse("NÄME=value").is_err());
        assert!(parse("name").unwrap_err().reason.starts_with("line 1"));
    }
}
