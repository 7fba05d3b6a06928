//! The progress of a build, as a bar on a terminal and as a line now and then elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::{Counts, Phase, Progress};

/// How often a line is written where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How often a bar moves that shows no numbers.
const TICK: Duration = Duration::from_millis(100);

/// Where progress is shown.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// None if standard error is no terminal.
    bar: Option<ProgressBar>,
    /// What was last shown.
    shown: Option<(Phase, Instant)>,
}

impl Terminal {
    /// Standard error.
    pub(crate) fn new() -> Terminal {
        Terminal {
            bar: stderr().is_terminal().then(ProgressBar::no_length),
            shown: None,
        }
    }

    /// Shows how far a build is.
    pub(crate) fn show(&mut self, progress: &Progress) {
        let new = self.shown.is_none_or(|(phase, _)| !same(phase, progress.phase));
        match &self.bar {
            Some(bar) => {
                if new {
                    begin(bar, progress.phase);
                }
                let (done, total) = numbers(progress);
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(words(progress));
            }
            None => {
                let over = progress.phase == Phase::Encoding && all_ended(progress);
                if !new && !over && self.shown.is_some_and(|(_, when)| when.elapsed() < LINE_EVERY) {
                    return;
                }
                eprintln!("{}", words(progress));
            }
        }
        self.shown = Some((progress.phase, Instant::now()));
    }

    /// Leaves the terminal as it was.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The bar of a phase: with time left where that can be known.
fn begin(bar: &ProgressBar, phase: Phase) {
    let template = match phase {
        Phase::Looking | Phase::Comparing => "{spinner} {msg} {elapsed}",
        Phase::Reading { .. } => "{spinner} {bar:30} {pos}/{len} {msg}, {eta} left",
        Phase::Encoding => "{spinner} {bar:30} {pos}/{len}, {per_sec}, {eta} left: {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates are constants");
    bar.set_style(style);
    bar.reset();
    bar.enable_steady_tick(TICK);
}

fn same(one: Phase, other: Phase) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

fn words(progress: &Progress) -> String {
    match progress.phase {
        Phase::Looking => "looking at the collection".to_owned(),
        Phase::Reading { .. } => "reading folders".to_owned(),
        Phase::Encoding => {
            let profiles = progress.profiles.iter().map(|(name, counts)| of_profile(name, counts));
            profiles.collect::<Vec<_>>().join(", ")
        }
        Phase::Comparing => "comparing outputs and sources".to_owned(),
    }
}

fn of_profile(name: &str, counts: &Counts) -> String {
    let failed = if counts.failed == 0 {
        String::new()
    } else {
        format!(" ({} failed)", counts.failed)
    };
    format!("{name} {}/{}{failed}", counts.done, counts.total)
}

/// Done, and to be done.
fn numbers(progress: &Progress) -> (u64, u64) {
    match progress.phase {
        Phase::Reading { done, total } => (done, total),
        Phase::Encoding => progress.profiles.values().fold((0, 0), |(done, total), counts| {
            (done + counts.done + counts.failed, total + counts.total)
        }),
        Phase::Looking | Phase::Comparing => (0, 0),
    }
}

fn all_ended(progress: &Progress) -> bool {
    let (done, total) = numbers(progress);
    done == total
}
