//! The commands that tup runs, from their arguments to their exit codes. They tell failures in a way that [`crate::build()`] reads.

use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::command::{self, Job};
use crate::layout::Place;
use crate::refused::Refused;
use crate::rules::{self, Settings};
use crate::tup::{FINISHED_BEFORE, failure_line};
use crate::{encode, encoder};

/// `vibes-compile rules`: the rules of the folder for which tup started this process.
///
/// # Errors
/// A wrong argument, or the folder cannot be listed.
pub fn rules(argument: &str) -> Result<String> {
    rules::of_this_folder(&Settings::from_argument(argument)?)
}

/// `vibes-compile encode`: encodes one track.
pub fn encode(arguments: &[String]) -> ExitCode {
    let run = || {
        // Whatever an encoder starts and leaves behind becomes a child of this process, which ends it.
        set_child_subreaper(true).context("adopting what encoders leave behind")?;
        limit_memory()?;
        encode::run(&Place::of_this_process()?, &Job::from_arguments(arguments)?)
    };
    told(run().map(|finished| {
        if finished {
            println!("{FINISHED_BEFORE}");
        }
    }))
}

/// What is read of a source, before any encoder runs, has the limit that encoders have.
fn limit_memory() -> Result<()> {
    let maximum = getrlimit(Resource::Data).maximum;
    let current = Some(maximum.map_or(encoder::MEMORY, |maximum| maximum.min(encoder::MEMORY)));
    setrlimit(Resource::Data, Rlimit { current, maximum }).context("limiting memory")
}

/// `vibes-compile refuse`: fails with the reason that the rules found.
pub fn refuse(arguments: &[String]) -> ExitCode {
    let refused = || {
        let (mut reason, mut remedy) = (String::new(), String::new());
        for argument in arguments {
            let (key, value) = command::argument(argument)?;
            match key {
                "reason" => reason = value.to_string_lossy().into_owned(),
                "remedy" => remedy = value.to_string_lossy().into_owned(),
                _ => {}
            }
        }
        Err(Refused::new(reason, remedy).into())
    };
    told(refused())
}

/// The exit code of a job; a failure is told on standard error.
fn told(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let remedy = "see whether the source plays; if it does, report this";
            eprintln!("{}", failure_line(&Refused::from_error(&error, remedy)));
            ExitCode::FAILURE
        }
    }
}
