//! What a build needs of the machine and of the folders it is given, looked at before anything is done.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::refused::Refused;
use crate::tup::PATH;

const FUSE: &str = "/dev/fuse";

/// A folder that is read: it is there and can be listed. `option` is how a person names it.
///
/// # Errors
/// A [`Refused`].
pub(crate) fn check_readable(folder: &Path, option: &str) -> Result<(), Refused> {
    let (reason, remedy) = match fs::read_dir(folder) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            ("does not exist".to_owned(), format!("name another with {option}"))
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            ("is no folder".to_owned(), format!("name its folder with {option}"))
        }
        Err(error) => (format!("cannot be listed: {error}"), "make it readable".to_owned()),
    };
    Err(Refused::new(format!("{} {reason}", folder.display()), remedy))
}

/// A folder that is written into: it is there, or can be made, and takes a file.
///
/// # Errors
/// A [`Refused`].
pub(crate) fn check_writable(folder: &Path, option: &str) -> Result<(), Refused> {
    fs::create_dir_all(folder)
        .and_then(|()| tempfile::tempfile_in(folder))
        .map(drop)
        .map_err(|error| {
            Refused::new(
                format!("nothing can be written to {}: {error}", folder.display()),
                format!("make it writable, or name another with {option}"),
            )
        })
}

/// A folder that a build writes to does not lie in the collection: it would be taken for music.
///
/// # Errors
/// A [`Refused`], or one of the two is not there.
pub(crate) fn check_outside(folder: &Path, sources: &Path, option: &str) -> Result<()> {
    let real = |path: &Path| -> Result<PathBuf> {
        let path = std::path::absolute(path)?;
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
        fs::canonicalize(there).with_context(|| format!("finding where {} is", path.display()))
    };
    if real(folder)?.starts_with(real(sources)?) {
        let reason = format!("{} lies in the collection {}", folder.display(), sources.display());
        return Err(Refused::new(reason, format!("name another folder with {option}")).into());
    }
    Ok(())
}

/// tup is installed, and what it traces commands with is there and may be used. `other_user`: tup runs as somebody else.
///
/// # Errors
/// A [`Refused`].
pub(crate) fn check_tup(other_user: bool) -> Result<(), Refused> {
    let tup = Command::new("tup")
        .arg("--version")
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if let Err(error) = tup {
        let reason = format!("tup cannot be started: {error}");
        return Err(Refused::new(reason, "install the package tup"));
    }
    // Another user's tup opens it through fusermount3, which has the right to.
    let found = if other_user {
        fs::metadata(FUSE).map(drop)
    } else {
        OpenOptions::new().read(true).write(true).open(FUSE).map(drop)
    };
    found.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => "let everybody use it (chmod 666 /dev/fuse, as root), or run this as root",
            _ => "load it (modprobe fuse, as root); a container has to be started with --device /dev/fuse",
        };
        Refused::new(format!("{FUSE} cannot be opened: {error}"), remedy)
    })
}
