//! Shows how a build is doing: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use contract::status::{Bytes, Tracks};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::units;

/// A line that differs only in numbers comes at most this often.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// A line that does not differ comes again after this time, so that nobody thinks it hangs.
const SAME_AGAIN: Duration = Duration::from_secs(60);

/// What there is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// The build.
    pub(crate) build: String,
    /// What it does.
    pub(crate) step: String,
    /// Tracks, by profile, over all shards.
    pub(crate) profiles: BTreeMap<String, Tracks>,
    /// Bytes of the sync, over all shards.
    pub(crate) bytes: Bytes,
    /// Seconds left in the step of the slowest shard.
    pub(crate) eta_seconds: Option<u64>,
}

/// Where it is shown.
pub(crate) enum Display {
    /// A terminal.
    Bars {
        /// The bars together.
        all: MultiProgress,
        /// What the build does.
        step: ProgressBar,
        /// One bar a profile.
        profiles: BTreeMap<String, ProgressBar>,
    },
    /// Anything else.
    Lines {
        /// The last view, and when its line came.
        last: Option<(View, Instant)>,
    },
}

impl Display {
    /// For where standard output leads to.
    pub(crate) fn new() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::Lines { last: None };
        }
        let all = MultiProgress::new();
        let step = all.add(ProgressBar::new_spinner());
        step.enable_steady_tick(Duration::from_millis(200));
        Self::Bars {
            all,
            step,
            profiles: BTreeMap::new(),
        }
    }

    /// Shows how it is now.
    pub(crate) fn show(&mut self, view: &View) {
        match self {
            Self::Bars { all, step, profiles } => {
                step.set_message(headline(view));
                for (name, tracks) in counted(view) {
                    let bar = profiles.entry(name.clone()).or_insert_with(|| {
                        let style = ProgressStyle::with_template("  {prefix:12} {bar:30} {pos}/{len} {msg}");
                        all.add(ProgressBar::new(0))
                            .with_style(style.expect("the template is fixed"))
                            .with_prefix(name.clone())
                    });
                    bar.set_length(tracks.total);
                    bar.set_position(tracks.done);
                    bar.set_message(failures(tracks));
                }
            }
            Self::Lines { last } => {
                let due = last.as_ref().is_none_or(|(before, at)| {
                    let pause = match (&before.build, &before.step) == (&view.build, &view.step) {
                        false => Duration::ZERO,
                        true if before == view => SAME_AGAIN,
                        true => LINES_EVERY,
                    };
                    at.elapsed() >= pause
                });
                if due {
                    println!("{}", line(view));
                    *last = Some((view.clone(), Instant::now()));
                }
            }
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(self) {
        if let Self::Bars { all, .. } = self {
            // A terminal that cannot be cleared keeps the last bars.
            let _ = all.clear();
        }
    }
}

fn headline(view: &View) -> String {
    let mut text = format!("{}: {}", view.build, view.step);
    if view.bytes.total > 0 {
        text += &format!(
            ", {} of {} fetched",
            units::bytes(view.bytes.done),
            units::bytes(view.bytes.total)
        );
    }
    if let Some(seconds) = view.eta_seconds {
        text += &format!(", {} left", units::time(Duration::from_secs(seconds)));
    }
    text
}

/// The profiles whose tracks are known: nothing of nothing would look like all of it.
fn counted(view: &View) -> impl Iterator<Item = (&String, &Tracks)> {
    view.profiles.iter().filter(|(_, tracks)| tracks.total > 0)
}

fn line(view: &View) -> String {
    let profiles =
        counted(view).map(|(name, tracks)| format!("; {name} {}/{}{}", tracks.done, tracks.total, failures(tracks)));
    headline(view) + &profiles.collect::<String>()
}

fn failures(tracks: &Tracks) -> String {
    if tracks.failed == 0 {
        String::new()
    } else {
        format!(" ({} failed)", tracks.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_it_all() {
        let view = View {
            build: "b-00001".to_owned(),
            step: "build".to_owned(),
            profiles: BTreeMap::from([(
                "home".to_owned(),
                Tracks {
                    done: 3,
                    total: 60,
                    failed: 1,
                },
            )]),
            bytes: Bytes {
                done: 30_000_000,
                total: 30_000_000,
            },
            eta_seconds: Some(12),
        };
        let expected = "b-00001: build, 30.0 MB of 30.0 MB fetched, 12 s left; home 3/60 (1 failed)";
        assert_eq!(line(&view), expected);
    }

    #[test]
    fn tracks_that_are_not_counted_yet_are_not_shown() {
        let profiles = BTreeMap::from([("home".to_owned(), Tracks::default())]);
        let view = View {
            profiles,
            ..View::default()
        };
        assert_eq!(counted(&view).count(), 0);
    }
}
