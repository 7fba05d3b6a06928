//! `vibes-compile build`: a build on one's own machine, with progress and a summary on the terminal.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use contract::printable::printable;
use contract::profile::LONGEST_TEXT;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::report::{Outcome, Report};
use crate::terminal::Terminal;
use crate::{Build, build, machine, program, regular, view};

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
        self.check()?;
        let program = program()?;
        let hidden = view::enter(&self.sources, &self.builds, self.out.as_deref())?;
        let stop = stop_on_signals()?;
        let wanted = Build {
            collection: self.sources.clone(),
            builds: self.builds.clone(),
            profiles,
            user: self.user.clone(),
            jobs: self.jobs,
            shard: None,
            program,
        };
        let mut terminal = Terminal::new();
        let report = build(&wanted, &mut |progress| terminal.show(progress), &stop);
        terminal.clear();
        let mut report = report?;
        let hidden = hidden
            .iter()
            .map(|(path, meaning)| format!("{} was left out: {meaning}; rename it", path.display()));
        report.warnings.extend(hidden);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("{}", summary(&report));
        }
        let whole = report.outcome == Outcome::Done && report.failed.is_empty();
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What would fail later with words that nobody understands.
    fn check(&self) -> Result<()> {
        machine::check_readable(&self.sources, "--sources")?;
        let outputs = self.out.iter().map(|out| (out, "--out"));
        for (folder, option) in std::iter::once((&self.builds, "--builds")).chain(outputs) {
            machine::check_outside(folder, &self.sources, option)?;
            machine::check_writable(folder, option)?;
        }
        machine::check_tup(self.user.is_some())?;
        Ok(())
    }
}

/// All `NAME.config` of a folder.
pub(crate) fn read_profiles(folder: &Path) -> Result<BTreeMap<String, String>> {
    machine::check_readable(folder, "--profiles")?;
    let mut profiles = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing profiles in {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("listing profiles in {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "config")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            let reading = || format!("reading {}", path.display());
            let mut text = String::new();
            let file = regular::open(&path).with_context(reading)?;
            // One that is longer is refused for its length.
            let beginning = file.take(LONGEST_TEXT as u64 + 1);
            io::BufReader::new(beginning)
                .read_to_string(&mut text)
                .with_context(reading)?;
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
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}
