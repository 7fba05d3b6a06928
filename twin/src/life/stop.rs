//! Stopping: the foreground process is asked to end, and waited for.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ready::{Ready, is_up, lives};

/// Instances get 10 s to unmount and the base 20 s to write its state; then the rest is killed.
const GRACE: Duration = Duration::from_secs(45);

/// Ends the directory's twin and returns when nothing of it is left; no twin is fine.
pub fn stop(state: &Path) -> Result<()> {
    let started = Instant::now();
    let ready = loop {
        if !state.exists() || !is_up(state)? {
            return Ok(());
        }
        match Ready::of(state)? {
            Some(ready) => break ready,
            None if started.elapsed() > GRACE => bail!("the twin in {} neither starts nor ends", state.display()),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let pid = Pid::from_raw(ready.pid);
    signal(pid, Signal::SIGTERM)?;
    let mut killed = false;
    while lives(ready.pid) || is_up(state)? {
        if started.elapsed() > GRACE && !killed {
            signal(pid, Signal::SIGKILL)?;
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if killed {
        bail!(
            "the twin did not end within {} s and was killed; see its log",
            GRACE.as_secs()
        );
    }
    Ok(())
}

/// A process that is already gone is fine.
fn signal(pid: Pid, signal: Signal) -> Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot signal process {pid}")),
    }
}
