//! What `vibes-compile check` found, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::Path;

use contract::printable::printable;
use serde::Serialize;

/// How many places of a finding the text names.
const SHOWN: usize = 10;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Severity {
    /// A build would fail, in part or as a whole.
    Failure,
    /// The outputs would lack something.
    Warning,
    /// Good to know.
    Hint,
}

/// What a finding is about. In the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum About {
    /// A profile that cannot be built.
    Profile,
    /// A folder that cannot be listed.
    Folder,
    /// A track that would fail.
    Track,
    /// A name that a build leaves out.
    LeftOut,
    /// What a build would say about sidecars.
    Sidecar,
    /// What a build would say about playlists.
    Playlist,
    /// What a build would say about a source.
    Source,
    /// Tags that nobody gives.
    Tags,
    /// Tracks without any picture.
    Cover,
    /// Tags that are taken from names.
    Guesses,
}

impl About {
    fn severity(self) -> Severity {
        match self {
            About::Profile | About::Folder | About::Track => Severity::Failure,
            About::LeftOut | About::Sidecar | About::Playlist => Severity::Warning,
            About::Source | About::Tags | About::Cover => Severity::Warning,
            About::Guesses => Severity::Hint,
        }
    }

    fn title(self) -> &'static str {
        match self {
            About::Profile => "Profiles that cannot be built",
            About::Folder => "Folders that cannot be read",
            About::Track => "Tracks that would fail",
            About::LeftOut => "Left out",
            About::Sidecar => "Sidecars that say something odd",
            About::Playlist => "Playlists with something odd inside",
            About::Source => "Sources with something odd inside",
            About::Tags => "Tags that nobody gives",
            About::Cover => "Without a picture",
            About::Guesses => "Tags taken from the names of files and folders",
        }
    }
}

/// A problem and where it is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Problem {
    about: About,
    reason: String,
    remedy: String,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Sources that a build would take, by extension.
    pub(crate) sources: BTreeMap<String, u64>,
    /// Outputs that a build would have, by profile.
    pub(crate) outputs: BTreeMap<String, u64>,
    places: BTreeMap<Problem, BTreeSet<String>>,
}

impl Findings {
    /// Adds a problem of a place: a path below the collection, or a profile's name.
    pub(crate) fn add(&mut self, about: About, reason: impl Into<String>, remedy: impl Into<String>, place: String) {
        let (reason, remedy) = (reason.into(), remedy.into());
        let problem = Problem { about, reason, remedy };
        self.places.entry(problem).or_default().insert(place);
    }

    /// Takes over what another part of the collection has.
    pub(crate) fn extend(&mut self, other: Findings) {
        for (kind, number) in other.sources {
            *self.sources.entry(kind).or_default() += number;
        }
        for (profile, number) in other.outputs {
            *self.outputs.entry(profile).or_default() += number;
        }
        for (problem, places) in other.places {
            self.places.entry(problem).or_default().extend(places);
        }
    }

    /// How many problems have this severity.
    pub(crate) fn number(&self, severity: Severity) -> usize {
        let of_severity = |problem: &&Problem| problem.about.severity() == severity;
        self.places.keys().filter(of_severity).count()
    }

    /// All of it for programs.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let problems: Vec<_> = self
            .places
            .iter()
            .map(|(problem, places)| {
                serde_json::json!({
                    "severity": problem.about.severity(),
                    "about": problem.about,
                    "reason": problem.reason,
                    "remedy": problem.remedy,
                    "places": places,
                })
            })
            .collect();
        serde_json::json!({"sources": self.sources, "outputs": self.outputs, "problems": problems})
    }
}

/// The text for people.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Sources: {}", counted(&self.sources))?;
        if !self.outputs.is_empty() {
            writeln!(f, "Would be built: {}", counted(&self.outputs))?;
        }
        let mut title = None;
        for (problem, places) in &self.places {
            if title != Some(problem.about) {
                writeln!(f, "\n{}", problem.about.title())?;
                title = Some(problem.about);
            }
            writeln!(f, "- {}; {}", printable(&problem.reason), printable(&problem.remedy))?;
            let lines = by_folder(places);
            for line in lines.iter().take(SHOWN) {
                writeln!(f, "    {}", printable(line))?;
            }
            if lines.len() > SHOWN {
                writeln!(f, "    and {} more; --json names all", lines.len() - SHOWN)?;
            }
        }
        write!(
            f,
            "\nFailures: {}, warnings: {}, hints: {}",
            self.number(Severity::Failure),
            self.number(Severity::Warning),
            self.number(Severity::Hint)
        )
    }
}

fn counted(numbers: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (name, number) in numbers {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{number} {name}").expect("writing to a string cannot fail");
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

/// Places one a line; many in one folder as that folder.
fn by_folder(places: &BTreeSet<String>) -> Vec<String> {
    const MANY: usize = 3;
    let mut folders: BTreeMap<&Path, Vec<&String>> = BTreeMap::new();
    for place in places {
        let folder = Path::new(place).parent().unwrap_or(Path::new(""));
        folders.entry(folder).or_default().push(place);
    }
    let mut lines = Vec::new();
    for (folder, places) in folders {
        if places.len() > MANY && folder != Path::new("") {
            lines.push(format!("{}/ ({} of it)", folder.display(), places.len()));
        } else {
            lines.extend(places.into_iter().cloned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_groups_by_problem_and_folder() {
        let mut findings = Findings::default();
        findings.sources.insert("wav".to_owned(), 5);
        for number in 0..5 {
            findings.add(About::Tags, "no ALBUM", "add it", format!("a/{number}.wav"));
        }
        findings.add(About::Track, "broken", "mend it", "b.wav".to_owned());
        assert_eq!(
            findings.to_string(),
            "Sources: 5 wav\n\nTracks that would fail\n- broken; mend it\n    b.wav\n\nTags that nobody gives\n\
             - no ALBUM; add it\n    a/ (5 of it)\n\nFailures: 1, warnings: 1, hints: 0"
        );
    }
}
