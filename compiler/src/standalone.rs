//! `vibes-compile build`: a build on one's own machine, with progress and a summary on the terminal.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::report::{Outcome, Progress, Report};
use crate::{Build, build, view};

/// What the command line says.
#[derive(Debug)]
pub struct Standalone {
    /// The collection.
    pub sources: PathBuf,
    /// A folder with one file `NAME.config` per profile.
    pub profiles: PathBuf,
    /// The builds folder.
    pub builds: PathBuf,
    /// Another folder for the outputs.
    pub out: Option<PathBuf>,
    /// Who runs tup.
    pub user: Option<String>,
    /// Tracks encoded at once.
    pub jobs: Option<usize>,
    /// Print the report as JSON.
    pub json: bool,
}

impl Standalone {
    /// Builds, follows and reports. The exit code tells whether everything was built.
    ///
    /// # Errors
    /// As [`build()`].
    pub fn run(&self) -> Result<ExitCode> {
        let profiles = read_profiles(&self.profiles)?;
        let hidden = view::enter(&self.sources, &self.builds, self.out.as_deref())?;
        let stop = stop_on_signals()?;
        let wanted = Build {
            collection: self.sources.clone(),
            builds: self.builds.clone(),
            profiles,
            user: self.user.clone(),
            jobs: self.jobs,
        };
        let mut report = build(&wanted, &mut show, &stop)?;
        let hidden = hidden
            .iter()
            .map(|path| format!("{} was hidden: tup would obey it; rename it", path.display()));
        report.warnings.extend(hidden);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("{}", summary(&report));
        }
        let whole = report.outcome == Outcome::Done && report.failed.is_empty();
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// All `NAME.config` of a folder.
fn read_profiles(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut profiles = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing profiles in {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("listing profiles in {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "config")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            profiles.insert(name.to_owned(), text);
        }
    }
    if profiles.is_empty() {
        bail!(
            "{} holds no NAME.config; add one, such as CONFIG_ENCODER=flac",
            folder.display()
        );
    }
    Ok(profiles)
}

/// A flag that SIGINT and SIGTERM raise.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&stop)).context("listening for signals")?;
    }
    Ok(stop)
}

/// One line of progress, rewritten on a terminal; elsewhere only its beginning and end.
fn show(progress: &Progress) {
    let profiles = progress.profiles.iter().map(|(name, counts)| {
        let failed = if counts.failed == 0 {
            String::new()
        } else {
            format!(" ({} failed)", counts.failed)
        };
        format!("{name} {}/{}{failed}", counts.done, counts.total)
    });
    let line = profiles.collect::<Vec<_>>().join(", ");
    let running = |counts: &crate::Counts| counts.done + counts.failed < counts.total;
    let over = !progress.profiles.values().any(running);
    let mut terminal = stderr();
    // Progress that nobody can see is no reason to fail.
    let _ = match (terminal.is_terminal(), over) {
        (true, false) => write!(terminal, "\r\x1b[K{line}").and_then(|()| terminal.flush()),
        (true, true) => writeln!(terminal, "\r\x1b[K{line}"),
        (false, true) => writeln!(terminal, "{line}"),
        (false, false) => Ok(()),
    };
}

/// The report for people.
fn summary(report: &Report) -> String {
    let mut lines = Vec::new();
    for failure in &report.failed {
        lines.push(format!(
            "failed: {} ({}): {}; {}",
            failure.source, failure.profile, failure.reason, failure.remedy
        ));
    }
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(report.reason.iter().cloned());
    let outputs: u64 = report.outputs.values().sum();
    let state = match report.outcome {
        Outcome::Done => format!("done, {outputs} outputs in all"),
        Outcome::Failed => format!("failed, {outputs} outputs in all"),
        Outcome::Interrupted => "interrupted, build again to continue".to_owned(),
    };
    lines.push(format!(
        "{state}: {} built, {} removed, {} failed",
        report.built.len(),
        report.removed.len(),
        report.failed.len()
    ));
    lines.join("\n")
}
