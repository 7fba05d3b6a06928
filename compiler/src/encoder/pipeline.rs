//! Programs joined by pipes: the decoder's samples are the encoder's input.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::User;

use super::confine::{Confined, Limits, MEMORY};
use super::{missing, watch};
use crate::refused::Refused;

/// Programs that do nothing at all for so long have hung: no disk is that slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// One program of a pipeline.
#[derive(Debug)]
pub(super) struct Stage {
    /// Its binary.
    pub(super) program: String,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// The only folder that it writes in.
    pub(super) writes_in: Option<PathBuf>,
}

/// Programs that run side by side; the last one writes its own output file.
#[derive(Debug)]
pub(super) struct Pipeline<'a> {
    /// Each reads what the one before it says.
    pub(super) stages: Vec<Stage>,
    /// What each of them may use.
    pub(super) limits: Limits,
    /// Who runs them; none for the current user.
    pub(super) user: Option<&'a User>,
}

/// What a pipeline said.
#[derive(Debug)]
pub(super) struct Said {
    /// The words of the last stage on standard error.
    pub(super) words: String,
    /// The words of every stage that ended badly; none if all ended well.
    pub(super) failure: Option<Refused>,
}

impl Pipeline<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// A stage that cannot be started ([`Refused`]).
    pub(super) fn run(&self) -> Result<Said> {
        self.run_within(PATIENCE)
    }

    fn run_within(&self, patience: Duration) -> Result<Said> {
        let mut running: Vec<Child> = Vec::with_capacity(self.stages.len());
        let started = self.start(&mut running);
        let listeners: Vec<_> = running
            .iter_mut()
            .map(|child| child.stderr.take().map(listen))
            .collect();
        let ended = match &started {
            Ok(()) => watch::until_ended(&running, patience)?,
            Err(_) => false,
        };
        if !ended {
            for child in &mut running {
                // It may have ended by itself: its input or output is gone.
                let _ = child.kill();
            }
        }
        let mut statuses = Vec::new();
        for (stage, child) in self.stages.iter().zip(&mut running) {
            statuses.push(child.wait().with_context(|| format!("waiting for {}", stage.program))?);
        }
        // What they have left behind would keep their standard error open.
        watch::end_what_is_left(&running)?;
        let words: Vec<String> = listeners
            .into_iter()
            .map(|listener| listener.and_then(|listener| listener.join().ok()).unwrap_or_default())
            .collect();
        started?;
        let failed = self.stages.iter().zip(statuses).zip(&words);
        let failed = failed.filter(|((_, status), _)| !status.success());
        let failed: Vec<_> = failed
            .map(|((stage, status), words)| self.ending(&stage.program, status, words))
            .collect();
        let failure = match ended {
            false => {
                let programs: Vec<_> = self.stages.iter().map(|stage| stage.program.as_str()).collect();
                Some(hung(&programs, patience))
            }
            // Who reads from a program that was ended fails too; the limit is the reason.
            true => match failed.iter().find(|(_, of_limit)| *of_limit) {
                Some((limit, _)) => Some(limit.clone()),
                None => failed
                    .into_iter()
                    .map(|(refused, _)| refused)
                    .reduce(|first, next| Refused::new(format!("{}; {}", first.reason, next.reason), first.remedy)),
            },
        };
        Ok(Said {
            words: words.into_iter().next_back().unwrap_or_default(),
            failure,
        })
    }

    fn start(&self, running: &mut Vec<Child>) -> Result<()> {
        for (index, stage) in self.stages.iter().enumerate() {
            let input = running
                .last_mut()
                .and_then(|before| before.stdout.take())
                .map_or_else(Stdio::null, Stdio::from);
            let last = index + 1 == self.stages.len();
            let output = if last { Stdio::null() } else { Stdio::piped() };
            running.push(self.spawn(stage, input, output)?);
        }
        Ok(())
    }

    /// Starts one stage.
    ///
    /// # Errors
    /// It cannot be started ([`Refused`]).
    pub(super) fn spawn(&self, stage: &Stage, input: Stdio, output: Stdio) -> Result<Child> {
        let confined = Confined {
            program: &stage.program,
            arguments: &stage.arguments,
            writes_in: stage.writes_in.as_deref(),
            user: self.user,
            limits: self.limits,
        };
        Ok(confined
            .spawn(input, output)
            .map_err(|error| missing(&stage.program, &error))?)
    }

    /// How a stage ended badly, and whether a limit was the reason.
    fn ending(&self, program: &str, status: ExitStatus, words: &str) -> (Refused, bool) {
        const REMEDY: &str =
            "see whether the source plays, and try the profile's flags by hand; limits are in docs/security.md";
        let Limits {
            seconds,
            bytes,
            processes,
        } = self.limits;
        let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
        let limit = match signal {
            Some(Signal::SIGXCPU) => Some(format!("used {seconds} s of processor time and was not done")),
            Some(Signal::SIGXFSZ) => Some(format!("wrote {} MiB and was not done", bytes >> 20)),
            _ if words.contains("File too large") => Some(format!("wrote {} MiB and was not done", bytes >> 20)),
            _ if words.to_lowercase().contains("memory") => {
                Some(format!("may use {} MiB of memory and wants more", MEMORY >> 20))
            }
            _ if words.contains("Resource temporarily unavailable") => {
                let processes = processes.unwrap_or_default();
                Some(format!(
                    "may start processes until there are {processes} and wants more"
                ))
            }
            _ => None,
        };
        match limit {
            Some(limit) => {
                let reason = format!("{program} {limit}, which is the limit for this track");
                (Refused::new(reason, REMEDY), true)
            }
            None => (
                Refused::new(format!("{program}: {}", said(status, words)), SOURCE_REMEDY),
                false,
            ),
        }
    }
}

/// What to do about a program that does not like what it reads.
const SOURCE_REMEDY: &str = "see whether the source plays; if it does, report this";

/// The failure of programs that had to be ended.
pub(super) fn hung(programs: &[&str], patience: Duration) -> Refused {
    let reason = format!(
        "{} did nothing for {} s, and that was the end",
        programs.join(" and "),
        patience.as_secs()
    );
    Refused::new(
        reason,
        "see whether the source plays, and try the profile's flags by hand",
    )
}

/// Reads what a program says while it runs, so that a full pipe never stops it.
pub(crate) fn listen(mut output: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut words = Vec::new();
        // A stage that cannot be heard is judged by its exit status alone.
        let _ = output.read_to_end(&mut words);
        String::from_utf8_lossy(&words).into_owned()
    })
}

/// The first lines of what a stage said, or how it ended if it said nothing.
fn said(status: ExitStatus, words: &str) -> String {
    const LINES: usize = 5;
    let said: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if said.is_empty() {
        return status.to_string();
    }
    said[..said.len().min(LINES)].join(" / ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// What shell commands end with that are joined by pipes, under tight limits.
    fn failure(commands: &[&str], patience: Duration) -> Refused {
        let stage = |command: &&str| Stage {
            program: "sh".to_owned(),
            arguments: ["-c", *command].map(OsString::from).to_vec(),
            writes_in: None,
        };
        let pipeline = Pipeline {
            stages: commands.iter().map(stage).collect(),
            limits: Limits {
                seconds: 1,
                ..Limits::TRIAL
            },
            user: None,
        };
        pipeline.run_within(patience).unwrap().failure.unwrap()
    }

    #[test]
    fn an_encoder_that_hangs_is_ended_with_all_that_it_started() {
        let began = Instant::now();
        let refused = failure(&["cat /dev/zero", "sleep 71913 & sleep 71913"], Duration::from_secs(1));
        assert_eq!(refused.reason, "sh and sh did nothing for 1 s, and that was the end");
        assert!(began.elapsed() < Duration::from_secs(30));
        let left = std::process::Command::new("pgrep")
            .args(["--full", "sleep 71913"])
            .status();
        assert!(!left.unwrap().success());
    }

    #[test]
    fn an_encoder_that_never_comes_to_an_end_is_ended() {
        let refused = failure(&["while :; do :; done", "cat >/dev/null; false"], PATIENCE);
        let expected = "sh used 1 s of processor time and was not done, which is the limit for this track";
        assert_eq!(refused.reason, expected);
    }

    #[test]
    fn a_child_that_works_counts_as_work() {
        let refused = failure(
            &["timeout 5 sh -c 'while :; do sleep 0.01; done'; exit 3"],
            Duration::from_secs(2),
        );
        assert_eq!(refused.reason, "sh: exit status: 3");
    }
}
