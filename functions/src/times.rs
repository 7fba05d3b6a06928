//! Moments, as the state machines and AWS write them: RFC 3339 text in, seconds since 1970 out.

use anyhow::{Context, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds since 1970 of an RFC 3339 text.
pub(crate) fn seconds(text: &str) -> Result<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("{text:?} is not an RFC 3339 time"))?;
    Ok(moment.unix_timestamp())
}

/// The moment as part of an execution's name: `20261121T030000`.
pub(crate) fn compact(text: &str) -> Result<String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("{text:?} is not an RFC 3339 time"))?;
    let (hour, minute, second) = moment.to_hms();
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    Ok(format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_offsets_are_understood() {
        assert_eq!(seconds("1970-01-01T00:01:00.5Z").unwrap(), 60);
        assert_eq!(seconds("1970-01-01T01:00:00+01:00").unwrap(), 0);
        assert!(seconds("yesterday").is_err());
    }

    #[test]
    fn a_moment_can_be_part_of_a_name() {
        assert_eq!(compact("2026-11-21T03:04:05.678Z").unwrap(), "20261121T030405");
    }
}
