//! `DIR/twin.json`: written when the twin is ready, removed when it ends; and what follows from it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::{REGION, ROOT_KEY};

/// A twin that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// Process id of the foreground process: what `stop` signals.
    pub pid: i32,
}

impl Ready {
    fn path(state: &Path) -> PathBuf {
        state.join("twin.json")
    }

    /// The twin of this directory, if it is up.
    pub fn of(state: &Path) -> Result<Option<Ready>> {
        if !is_up(state)? {
            return Ok(None);
        }
        match std::fs::read(Ready::path(state)) {
            // A killed twin leaves its file behind, until the next init removes it.
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?).filter(|ready: &Ready| lives(ready.pid))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the file whole.
    pub fn write(&self, state: &Path) -> Result<()> {
        let new = state.join("twin.json.new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        Ok(std::fs::rename(new, Ready::path(state))?)
    }

    /// Removes the file; absent is fine.
    pub fn remove(state: &Path) {
        let _ = std::fs::remove_file(Ready::path(state));
    }
}

/// The lock that the twin's init holds as long as anything of the twin lives (the kernel releases it); none if another
/// init holds it. It lasts as long as the file is open.
pub fn lock(state: &Path) -> Result<Option<File>> {
    let file = lock_file(state)?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(Some(file)),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", state.join("lock").display())),
    }
}

/// Whether a twin holds this directory, ready or not. Only asks: a test lock could be in a starting twin's way.
pub fn is_up(state: &Path) -> Result<bool> {
    if !state.join("lock").exists() {
        return Ok(false);
    }
    let mut holder = whole_file();
    fcntl(&lock_file(state)?, FcntlArg::F_OFD_GETLK(&mut holder))?;
    Ok(holder.l_type != libc::F_UNLCK as i16)
}

/// Whether the process does anything yet: in some containers nobody reaps the dead (state `Z`).
pub fn lives(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    status
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn lock_file(state: &Path) -> Result<File> {
    let path = state.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// The `export` lines of a running twin.
pub fn print_environment(state: &Path) -> Result<()> {
    let Some(ready) = Ready::of(state)? else {
        bail!(
            "no twin is up in {}: start it with `vibes-twin start --state {0}`",
            state.display()
        );
    };
    // For SQS the command-line client of version 1 reads no variable: it needs `--endpoint-url "$AWS_ENDPOINT_URL"`.
    for (name, value) in [
        ("AWS_ENDPOINT_URL", ready.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", ROOT_KEY),
        ("AWS_SECRET_ACCESS_KEY", ROOT_KEY),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_PAGER", ""),
    ] {
        println!("export {name}={value}");
    }
    println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
    Ok(())
}
