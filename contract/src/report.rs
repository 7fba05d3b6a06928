//! What a build did, in full: for functions as JSON, for people as text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::printable::printable;

/// `builds/BUILD/shard-N/report.json`: what a build did, in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Outputs that were made, as `PROFILE/path`.
    pub built: Vec<String>,
    /// Outputs that are gone, as `PROFILE/path`.
    pub removed: Vec<String>,
    /// Tracks that could not be built.
    pub failed: Vec<Failure>,
    /// Objects that were not fetched as listed: refused names, or changed meanwhile.
    pub refused: Vec<Refusal>,
    /// What a person should know and nobody failed of.
    pub warnings: Vec<String>,
    /// The release is whole: nothing failed, and nothing changed while it was fetched.
    pub complete: bool,
}

/// A track that could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Path of the source below the collection's root.
    pub source: String,
    /// The profile.
    pub profile: String,
    /// What happened.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

/// An object that did not become a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Its key.
    pub key: String,
    /// Why, and what to do.
    pub reason: String,
}

/// The longest [`Report::summary`], in characters.
const LONGEST_SUMMARY: usize = 1000;

impl Report {
    /// The report of a build from those of its shards, which share refusals and warnings about what all of them see.
    pub fn of_shards(shards: impl IntoIterator<Item = Report>) -> Report {
        let mut whole = Report {
            complete: true,
            ..Report::default()
        };
        for shard in shards {
            whole.built.extend(shard.built);
            whole.removed.extend(shard.removed);
            whole.failed.extend(shard.failed);
            whole.refused.extend(shard.refused);
            whole.warnings.extend(shard.warnings);
            whole.complete &= shard.complete;
        }
        whole.refused.sort();
        whole.refused.dedup();
        whole.warnings.sort();
        whole.warnings.dedup();
        whole
    }

    /// One line: the numbers, and the first thing that went wrong.
    pub fn summary(&self) -> String {
        let numbers = format!(
            "{} built, {} removed, {} failed, {} not taken, {} warnings",
            self.built.len(),
            self.removed.len(),
            self.failed.len(),
            self.refused.len(),
            self.warnings.len()
        );
        let failed = self.failed.first().map(|first| format!("; first failure: {first}"));
        let refused = || self.refused.first().map(|first| format!("; first not taken: {first}"));
        let first = failed.or_else(refused).unwrap_or_default();
        // The output of an execution holds 256 KiB, and a reason may quote anything.
        printable(&format!("{numbers}{first}"))
            .chars()
            .take(LONGEST_SUMMARY)
            .collect()
    }

    /// Everything, what asks for attention first.
    pub fn text(&self, build: &str) -> String {
        let mut text = format!("{build}: {}\n", self.summary());
        let mut section = |title: &str, lines: &mut dyn ExactSizeIterator<Item = String>| {
            if lines.len() > 0 {
                writeln!(text, "\n{title} ({}):", lines.len()).expect("writing to a string cannot fail");
                for line in lines {
                    writeln!(text, "  {}", printable(&line)).expect("writing to a string cannot fail");
                }
            }
        };
        section(
            "Failed; an older output of such a track stays",
            &mut self.failed.iter().map(Failure::to_string),
        );
        section(
            "Not taken from the bucket",
            &mut self.refused.iter().map(Refusal::to_string),
        );
        section("Warnings", &mut self.warnings.iter().cloned());
        section("Removed", &mut self.removed.iter().cloned());
        section("Built", &mut self.built.iter().cloned());
        text
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} for {}: {}; {}",
            self.source, self.profile, self.reason, self.remedy
        )
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32) -> Report {
        Report {
            built: vec![format!("home/{number}/01.flac")],
            failed: vec![Failure {
                source: format!("{number}/02.wav"),
                profile: "home".to_owned(),
                reason: "it is cut off".to_owned(),
                remedy: "replace it".to_owned(),
            }],
            refused: vec![Refusal {
                key: "a//b".to_owned(),
                reason: "a part of the name is empty".to_owned(),
            }],
            complete: number == 0,
            ..Report::default()
        }
    }

    #[test]
    fn shards_are_added_up_and_what_all_say_is_said_once() {
        let whole = Report::of_shards([shard(0), shard(1)]);
        assert_eq!(whole.built, ["home/0/01.flac", "home/1/01.flac"]);
        assert_eq!((whole.failed.len(), whole.refused.len()), (2, 1));
        assert!(!whole.complete);
    }

    #[test]
    fn nothing_in_a_report_steers_a_terminal() {
        let mut report = shard(0);
        report.failed[0].reason = "\u{1b}[2J".to_owned();
        report.refused[0].key = "a\n  b\u{202e}".to_owned();
        report.warnings = vec!["\u{1b}]52;c;AAAA\u{7}".to_owned()];
        report.built = vec!["home/\r.flac".to_owned()];
        let text = report.text("b-00001") + &report.summary();
        assert!(
            text.contains(r"\u{1b}[2J") && text.contains(r"a\n  b\u{202e}"),
            "{text}"
        );
        let steers = |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
        assert!(!text.contains(steers), "{text:?}");
    }

    #[test]
    fn the_text_says_everything_and_the_summary_the_first_failure() {
        let report = shard(0);
        let summary = "1 built, 0 removed, 1 failed, 1 not taken, 0 warnings; \
            first failure: 0/02.wav for home: it is cut off; replace it";
        assert_eq!(report.summary(), summary);
        let expected = format!(
            "b-00001: {summary}\n\n\
            Failed; an older output of such a track stays (1):\n  0/02.wav for home: it is cut off; replace it\n\n\
            Not taken from the bucket (1):\n  a//b: a part of the name is empty\n\n\
            Built (1):\n  home/0/01.flac\n"
        );
        assert_eq!(report.text("b-00001"), expected);
    }
}
