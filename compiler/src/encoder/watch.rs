//! Whether programs that were started still do something, and the end of what they leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::get_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

/// Waits until all have ended. False: they had not, and used no processor for as long as patience lasts.
///
/// # Errors
/// The system does not let them be watched.
pub(super) fn until_ended(children: &[Child], patience: Duration) -> Result<bool> {
    const WATCHING: &str = "watching the encoder";
    let mut running = Vec::with_capacity(children.len());
    for child in children {
        let process = rustix::process::Pid::from_child(child);
        running.push(pidfd_open(process, PidfdFlags::empty()).context(WATCHING)?);
    }
    let mut used = 0;
    let mut since = Instant::now();
    while !running.is_empty() {
        let mut polled: Vec<PollFd<'_>> = running
            .iter()
            .map(|process: &OwnedFd| PollFd::new(process, PollFlags::IN))
            .collect();
        let wait = patience.min(Duration::from_secs(5));
        let timeout = Timespec::try_from(wait).context(WATCHING)?;
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {
                let now = used_by(children)?;
                if now != used {
                    (used, since) = (now, Instant::now());
                } else if since.elapsed() >= patience {
                    return Ok(false);
                }
            }
            ready => {
                ready.context(WATCHING)?;
                let ended: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
                let mut ended = ended.into_iter();
                running.retain(|_| !ended.next().unwrap_or_default());
                since = Instant::now();
            }
        }
    }
    Ok(true)
}

/// A process in the system's list.
struct Process {
    id: i32,
    parent: i32,
    /// Processor time that it and the children that it waited for have used.
    ticks: u64,
}

/// Whether what children of this process leave behind becomes its child, as is so in `encode`, which has no others.
///
/// # Errors
/// The system does not say it.
pub(super) fn adopts() -> nix::Result<bool> {
    get_child_subreaper()
}

/// Ends what programs have started and left running.
///
/// # Errors
/// The processes cannot be listed.
pub(super) fn end_what_is_left(ended: &[Child]) -> Result<()> {
    for child in ended {
        // Only a leader has a group, and perhaps nobody is left in it.
        let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    }
    if !adopts().context("asking who adopts processes")? {
        return Ok(());
    }
    let this = Pid::this().as_raw();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::StillAlive) => {
                for child in processes()?.iter().filter(|process| process.parent == this) {
                    // It may have ended by itself.
                    let _ = kill(Pid::from_raw(child.id), Signal::SIGKILL);
                }
                thread::sleep(Duration::from_millis(1));
            }
            ended => drop(ended.context("waiting for what the encoder left behind")?),
        }
    }
}

/// Processor time that programs, and everything that they started, have used.
fn used_by(children: &[Child]) -> Result<u64> {
    let processes = processes()?;
    let is_child = |process: &&Process| children.iter().any(|child| child.id().cast_signed() == process.id);
    let mut found: Vec<&Process> = processes.iter().filter(is_child).collect();
    let (mut counted, mut used) = (BTreeSet::new(), 0);
    while !found.is_empty() {
        used += found.iter().map(|process| process.ticks).sum::<u64>();
        counted.extend(found.iter().map(|process| process.id));
        let is_below = |process: &&Process| counted.contains(&process.parent) && !counted.contains(&process.id);
        found = processes.iter().filter(is_below).collect();
    }
    Ok(used)
}

fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("listing processes")? {
        let path = entry.context("listing processes")?.path();
        // One that has ended meanwhile says nothing.
        found.extend(
            fs::read(path.join("stat"))
                .ok()
                .and_then(|stat| process(&String::from_utf8_lossy(&stat))),
        );
    }
    Ok(found)
}

/// `ID (NAME) STATE PARENT ...`, of which fields 14 to 17 are times; the name may hold anything.
fn process(stat: &str) -> Option<Process> {
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let times = fields.get(11..15)?.iter();
    Some(Process {
        id: before.split_once(' ')?.0.parse().ok()?,
        parent: fields[1].parse().ok()?,
        ticks: times.filter_map(|field| field.parse::<u64>().ok()).sum(),
    })
}
