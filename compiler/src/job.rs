//! The commands that tup runs, from their arguments to their exit codes. They tell failures in a way that [`crate::build()`] reads.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;

use crate::command::Job;
use crate::encode;
use crate::layout::Place;
use crate::names::decode;
use crate::refused::Refused;
use crate::rules::{self, Settings};
use crate::tup::{FINISHED_BEFORE, failure_line};

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
        encode::run(&Place::of_this_process()?, &Job::from_arguments(arguments)?)
    };
    told(run().map(|finished| {
        if finished {
            println!("{FINISHED_BEFORE}");
        }
    }))
}

/// `vibes-compile refuse`: fails with the reason that the rules found.
pub fn refuse(arguments: &[String]) -> ExitCode {
    told(values(arguments).and_then(|values| {
        let value = |key: &str| values.get(key).cloned().unwrap_or_default();
        Err(Refused::new(value("reason"), value("remedy")).into())
    }))
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

/// `KEY=VALUE` arguments with encoded values.
fn values(arguments: &[String]) -> Result<BTreeMap<&str, String>> {
    arguments
        .iter()
        .map(|argument| {
            let (key, value) = argument
                .split_once('=')
                .with_context(|| format!("{argument:?} is no argument"))?;
            let value = decode(value)?
                .into_string()
                .ok()
                .with_context(|| format!("{argument:?} is not UTF-8"))?;
            Ok((key, value))
        })
        .collect()
}
