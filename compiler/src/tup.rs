//! Running tup and reading what it says.
//!
//! Facts of tup 0.7.11 that are used: it prints a line ` ~25% 3) [0.02s] FOLDER: NAME` after each job, with a `*` in
//! front if the job failed, and then the job's own words; a partial update of a folder that nothing is built into reads the
//! whole tree and runs nothing; `todo` lists what would run; on SIGINT it ends its jobs and keeps its database whole.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use crate::refused::Refused;
use crate::rules::NAME_PREFIX;

/// The path of every process below tup. Fixed, because tup runs every command again when it changes.
pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What stands before the JSON of a [`Refused`] in the words of a job that failed.
const FAILURE_PREFIX: &str = "vibes-failure: ";

/// The only word of a job whose output an earlier build had finished.
pub(crate) const FINISHED_BEFORE: &str = "vibes-finished-before";

/// tup in one tree.
#[derive(Debug)]
pub(crate) struct Tup {
    /// The tree.
    pub(crate) work: PathBuf,
    /// Who runs it; none for the current user.
    pub(crate) user: Option<User>,
    /// How many jobs at once.
    pub(crate) jobs: usize,
}

/// A job that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its name, without [`NAME_PREFIX`].
    pub(crate) name: String,
    /// Why it failed; none if it did not.
    pub(crate) failure: Option<Refused>,
    /// There was nothing to encode: an earlier build had finished it before it was cut off.
    pub(crate) finished_before: bool,
}

/// The line by which a job tells [`Ended::failure`].
pub(crate) fn failure_line(refused: &Refused) -> String {
    let line = serde_json::json!({"reason": refused.reason, "remedy": refused.remedy});
    format!("{FAILURE_PREFIX}{line}")
}

impl Tup {
    /// Makes the tree a tup tree, if it is not one yet.
    pub(crate) fn init(&self) -> Result<()> {
        let state = self.work.join(".tup");
        if !state.join("db").exists() {
            let output = self
                .command(&["init"])
                .stderr(Stdio::piped())
                .output()
                .context(MISSING)?;
            if !output.status.success() {
                bail!("tup init: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
        }
        // Only what is below the tree is watched; the database survives a power cut; the log has no bars and colours.
        let options =
            "[updater]\nfull_deps = 0\nwarnings = 0\n[db]\nsync = 1\n[display]\ncolor = never\nprogress = 0\n";
        fs::write(state.join("options"), options).context("writing tup's options")
    }

    /// Reads the whole tree: what is new, changed or gone, and the rules of the folders that are affected. `folders` is
    /// told how many of them are read, of how many.
    ///
    /// # Errors
    /// tup gave up, with its words; a wrong rule is a bug of ours.
    pub(crate) fn parse(&self, stop: &AtomicBool, folders: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let mut said = Vec::new();
        let (mut done, mut left) = (0, 0);
        let success = self.run(&["collection"], stop, |line| {
            if let Some(remaining) = remaining(&line) {
                // tup counts from anew for settings, folders and files that go.
                done = if remaining < left { done + 1 } else { 1 };
                left = remaining;
                folders(done, done + left);
            }
            said.push(line);
        })?;
        if !success && !stop.load(Ordering::Relaxed) {
            let first = said.iter().position(|line| line.starts_with(['*', 't'])).unwrap_or(0);
            bail!("tup could not read the tree: {}", said[first..].join(" / "));
        }
        Ok(())
    }

    /// The names of the jobs that have to run.
    pub(crate) fn todo(&self, stop: &AtomicBool) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        let success = self.run(&["todo", "--no-scan"], stop, |line| names.extend(name_in(&line)))?;
        if !success && !stop.load(Ordering::Relaxed) {
            bail!(
                "tup todo failed; build again, and if it stays, remove {} before: finished outputs stay",
                self.work.display()
            );
        }
        Ok(names)
    }

    /// Runs the jobs that have to run, past failing ones. Returns whether tup was content.
    pub(crate) fn update(&self, stop: &AtomicBool, ended: &mut dyn FnMut(Ended)) -> Result<bool> {
        let jobs = format!("-j{}", self.jobs);
        let arguments = ["--keep-going", "--no-scan", &jobs];
        let mut log = Log::default();
        let success = self.run(&arguments, stop, |line| log.line(line, ended))?;
        log.flush(ended);
        Ok(success)
    }

    /// Runs tup, line by line, and interrupts it when told to stop.
    fn run(&self, arguments: &[&str], stop: &AtomicBool, mut line: impl FnMut(String)) -> Result<bool> {
        let (reader, writer) = std::io::pipe().context("making a pipe for tup")?;
        let mut child = {
            let mut command = self.command(arguments);
            command
                .stdout(writer.try_clone().context("making a pipe for tup")?)
                .stderr(writer);
            command.spawn().context(MISSING)?
        };
        let pid = Pid::from_raw(child.id().cast_signed());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| interrupt_when_told(pid, stop, &over));
            let success = follow(&mut child, reader, &mut line);
            over.store(true, Ordering::Relaxed);
            watch.thread().unpark();
            success
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tup");
        command
            .args(arguments)
            .current_dir(&self.work)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.work)
            .stdin(Stdio::null())
            // A Ctrl-C in the terminal is for us; tup is told by us, once.
            .process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

const MISSING: &str = "starting tup: install the package tup";

/// Passes on every line until tup ends. Names may hold bytes that are not UTF-8: those are replaced.
fn follow(child: &mut Child, reader: PipeReader, line: &mut dyn FnMut(String)) -> Result<bool> {
    for bytes in BufReader::new(reader).split(b'\n') {
        line(String::from_utf8_lossy(&bytes.context("reading what tup says")?).into_owned());
    }
    Ok(child.wait().context("waiting for tup")?.success())
}

fn interrupt_when_told(pid: Pid, stop: &AtomicBool, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) {
            // It may have ended by itself in this very moment.
            let _ = kill(pid, Signal::SIGINT);
            return;
        }
        thread::park_timeout(Duration::from_millis(100));
    }
}

/// tup's words about jobs, taken apart.
#[derive(Debug, Default)]
struct Log {
    failed: bool,
    name: Option<String>,
    words: Vec<String>,
}

impl Log {
    fn line(&mut self, line: String, ended: &mut dyn FnMut(Ended)) {
        if remaining(&line).is_some() {
            self.flush(ended);
            self.failed = line.starts_with('*');
            self.name = name_in(&line);
        } else if self.name.is_none() {
            // A folder's name may hold line breaks: the job's name stands in the head's last line.
            self.name = name_in(&line);
        } else {
            self.words.push(line);
        }
    }

    fn flush(&mut self, ended: &mut dyn FnMut(Ended)) {
        let words = std::mem::take(&mut self.words);
        if let Some(name) = self.name.take() {
            ended(Ended {
                name,
                failure: self.failed.then(|| failure(&words)),
                finished_before: words.iter().any(|word| word == FINISHED_BEFORE),
            });
        }
    }
}

/// The job's own account of its failure, or its last words.
fn failure(words: &[String]) -> Refused {
    let told = words.iter().find_map(|line| {
        let told: serde_json::Value = serde_json::from_str(line.strip_prefix(FAILURE_PREFIX)?).ok()?;
        Some(Refused::new(told["reason"].as_str()?, told["remedy"].as_str()?))
    });
    let words = words
        .iter()
        .map(|line| line.trim().trim_start_matches("*** "))
        .filter(|line| *line != "tup messages ***");
    told.unwrap_or_else(|| {
        let words: Vec<_> = words.collect();
        Refused::new(
            format!("the encode broke off: {}", words.join(" / ")),
            "build again; if it stays, report it",
        )
    })
}

/// How many jobs remain, if the line is the first of a job: `* ~25% 3) ...`.
fn remaining(line: &str) -> Option<u64> {
    let (percent, rest) = line.trim_start_matches(['*', ' ', '~']).split_once('%')?;
    let (remaining, _) = rest.split_once(')')?;
    percent.parse::<u64>().ok()?;
    remaining.trim().parse().ok()
}

/// The job's name at the end of a line.
fn name_in(line: &str) -> Option<String> {
    let (_, name) = line.rsplit_once(": ")?;
    name.strip_prefix(NAME_PREFIX).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_read_from_the_log() {
        let refused = Refused::new("it is\nbroken", "mend it");
        let told = failure_line(&refused);
        let log = [
            "[ tup ] [0.1s] Executing Commands...",
            " ~25%  9) [0.026s] build-home/collection/a & b: vibes/home/a=20b/1.wav",
            FINISHED_BEFORE,
            "* ~ 9% 10) build-home/collection/new",
            "line: 5) x: vibes/home/new=0Aline/1.wav",
            &told,
            " *** tup messages ***",
            " *** Command ID=59 failed with return value 1",
            "* 100% 0) build-car/collection: vibes/car/2.wav",
            " *** tup messages ***",
            " *** Command ID=61 killed by signal 9 (Kill signal)",
        ];
        let (mut ended, mut jobs) = (Log::default(), Vec::new());
        for line in log {
            ended.line(line.to_owned(), &mut |job| jobs.push(job));
        }
        ended.flush(&mut |job| jobs.push(job));
        assert_eq!(jobs.len(), 3);
        assert_eq!(
            jobs[0],
            Ended {
                name: "home/a=20b/1.wav".to_owned(),
                failure: None,
                finished_before: true,
            }
        );
        assert_eq!(
            jobs[1],
            Ended {
                name: "home/new=0Aline/1.wav".to_owned(),
                failure: Some(refused),
                finished_before: false,
            }
        );
        let broken = jobs[2].failure.as_ref().unwrap();
        assert_eq!(
            broken.reason,
            "the encode broke off: Command ID=61 killed by signal 9 (Kill signal)"
        );
    }
}
