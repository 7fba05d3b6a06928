//! The part of a source that becomes a track: a range of time, which a sample rate turns into a range of samples.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::refused::Refused;

/// A range of time in microseconds, which the second of a sidecar and any of its fractions have exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trim {
    /// Where the track begins.
    pub(crate) start: u64,
    /// Where it ends; none for the end of the source.
    pub(crate) end: Option<u64>,
}

/// A range of samples, counted per channel: what a trim is at a sample rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The first sample.
    pub(crate) start: u64,
    /// The first sample after it; none for the end of the source.
    pub(crate) end: Option<u64>,
}

impl Trim {
    /// The samples of a source with this rate and, if its header tells it, so many samples. A range that ends behind the
    /// source ends with it.
    ///
    /// # Errors
    /// No sample lies in the range.
    pub(crate) fn cut(self, rate: u32, frames: Option<u64>) -> Result<Cut, Refused> {
        let start = nearest(self.start, rate);
        let wanted = self.end.map(|end| nearest(end, rate));
        let end = match (wanted, frames) {
            (Some(wanted), Some(frames)) => Some(wanted.min(frames)),
            (wanted, frames) => wanted.or(frames),
        };
        if end.is_some_and(|end| end <= start) {
            let seconds = |samples: u64| samples as f64 / f64::from(rate);
            let mut reason = format!("nothing is left of it when it begins at {} s", seconds(start));
            if let Some(wanted) = wanted {
                reason += &format!(" and ends at {} s", seconds(wanted));
            }
            if let Some(frames) = frames {
                reason += &format!("; it is {} s long", seconds(frames));
            }
            return Err(Refused::new(reason, "correct the trim in its sidecar"));
        }
        Ok(Cut { start, end })
    }
}

/// The sample that is nearest to a time in microseconds.
fn nearest(time: u64, rate: u32) -> u64 {
    let samples = (u128::from(time) * u128::from(rate) + 500_000) / 1_000_000;
    u64::try_from(samples).unwrap_or(u64::MAX)
}

/// `START:END` in microseconds, or `START:` up to the end of the source.
impl fmt::Display for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.start)?;
        self.end.map_or(Ok(()), |end| write!(f, "{end}"))
    }
}

impl FromStr for Trim {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Trim> {
        let wrong = || format!("{text:?} is no range of time");
        let (start, end) = text.split_once(':').with_context(wrong)?;
        let end = Some(end).filter(|end| !end.is_empty());
        Ok(Trim {
            start: start.parse().with_context(wrong)?,
            end: end.map(str::parse).transpose().with_context(wrong)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, rate: u32, frames: Option<u64>) -> Option<(u64, Option<u64>)> {
        let cut = text.parse::<Trim>().unwrap().cut(rate, frames).ok()?;
        Some((cut.start, cut.end))
    }

    #[test]
    fn times_are_the_nearest_samples() {
        assert_eq!(
            cut("20000000:256500000", 44_100, None),
            Some((882_000, Some(11_311_650)))
        );
        assert_eq!(cut("11:34", 44_100, None), Some((0, Some(1))));
        assert_eq!(cut("0:", 48_000, None), Some((0, None)));
    }

    #[test]
    fn a_range_ends_with_the_source() {
        assert_eq!(cut("1000000:9000000", 100, Some(250)), Some((100, Some(250))));
        assert_eq!(cut("1000000:", 100, Some(250)), Some((100, Some(250))));
    }

    #[test]
    fn a_range_without_samples_is_refused() {
        for text in ["3000000:", "1000000:1000000", "2000000:1000000"] {
            assert_eq!(cut(text, 100, Some(250)), None, "{text}");
        }
        let refused = Trim {
            start: 3_000_000,
            end: None,
        };
        assert_eq!(
            refused.cut(100, Some(250)).unwrap_err().reason,
            "nothing is left of it when it begins at 3 s; it is 2.5 s long"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["0:", "5:10"] {
            assert_eq!(text.parse::<Trim>().unwrap().to_string(), text);
        }
        for text in ["", "5", ":", "a:b", "-1:2"] {
            assert!(text.parse::<Trim>().is_err(), "{text:?}");
        }
    }
}
