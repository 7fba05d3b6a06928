//! Programs joined by pipes: the decoder's samples are the encoder's input.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result};

use super::missing;
use crate::tup::PATH;

/// One program of a pipeline.
#[derive(Debug)]
pub(super) struct Stage {
    /// Its binary.
    pub(super) program: String,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
}

/// What a pipeline said.
#[derive(Debug)]
pub(super) struct Said {
    /// The words of the last stage on standard error.
    pub(super) words: String,
    /// The words of every stage that ended badly; none if all ended well.
    pub(super) failure: Option<String>,
}

/// Runs the stages side by side; the last one writes its own output file.
///
/// # Errors
/// A stage that cannot be started ([`crate::refused::Refused`]).
pub(super) fn run(stages: &[Stage]) -> Result<Said> {
    let mut running: Vec<Child> = Vec::with_capacity(stages.len());
    let started = start(stages, &mut running);
    if started.is_err() {
        for child in &mut running {
            // It may have ended by itself: its input or output is gone.
            let _ = child.kill();
        }
    }
    let mut words = String::new();
    let mut failed = Vec::new();
    let listeners: Vec<_> = running
        .iter_mut()
        .map(|child| child.stderr.take().map(listen))
        .collect();
    for ((stage, mut child), listener) in stages.iter().zip(running).zip(listeners) {
        let status = child.wait().with_context(|| format!("waiting for {}", stage.program))?;
        words = listener.and_then(|listener| listener.join().ok()).unwrap_or_default();
        if !status.success() {
            failed.push(format!("{}: {}", stage.program, ending(status, &words)));
        }
    }
    started?;
    Ok(Said {
        words,
        failure: (!failed.is_empty()).then(|| failed.join("; ")),
    })
}

fn start(stages: &[Stage], running: &mut Vec<Child>) -> Result<()> {
    for (index, stage) in stages.iter().enumerate() {
        let input = running
            .last_mut()
            .and_then(|before| before.stdout.take())
            .map_or_else(Stdio::null, Stdio::from);
        let last = index + 1 == stages.len();
        let output = if last { Stdio::null() } else { Stdio::piped() };
        running.push(spawn(stage, input, output)?);
    }
    Ok(())
}

/// Starts one stage.
///
/// # Errors
/// It cannot be started ([`crate::refused::Refused`]).
pub(super) fn spawn(stage: &Stage, input: Stdio, output: Stdio) -> Result<Child> {
    let child = Command::new(&stage.program)
        .args(&stage.arguments)
        // As below tup, so that trying flags tells what an encode will do: lame, for one, reads LAMEOPT.
        .env_clear()
        .env("PATH", PATH)
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| missing(&stage.program, &error))?;
    Ok(child)
}

/// Reads what a stage says while it runs, so that a full pipe never stops it.
pub(crate) fn listen(mut stderr: ChildStderr) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut words = Vec::new();
        // A stage that cannot be heard is judged by its exit status alone.
        let _ = stderr.read_to_end(&mut words);
        String::from_utf8_lossy(&words).into_owned()
    })
}

/// The first lines of what a stage said, or how it ended if it said nothing.
fn ending(status: ExitStatus, words: &str) -> String {
    const LINES: usize = 5;
    let said: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if said.is_empty() {
        return status.to_string();
    }
    said[..said.len().min(LINES)].join(" / ")
}
