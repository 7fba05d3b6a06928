//! Mounts as the system lists them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::MsFlags;

/// A mount of this process's namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is.
    pub(crate) point: PathBuf,
    /// What it keeps programs from: who is root in a user namespace only may not take it away.
    pub(crate) flags: MsFlags,
}

/// The mounts at or below a folder, whose path has no link in it.
///
/// # Errors
/// The system does not list them.
pub(crate) fn below(folder: &Path) -> Result<Vec<Mount>> {
    const LIST: &str = "/proc/self/mountinfo";
    let list = fs::read(LIST).with_context(|| format!("reading {LIST}"))?;
    let mounts = list.split(|byte| *byte == b'\n').filter_map(mount);
    Ok(mounts.filter(|mount| mount.point.starts_with(folder)).collect())
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS ...`
///
/// Source: proc_pid_mountinfo(5).
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let (point, options) = (fields.next()?, fields.next()?);
    let flags = options.split(|byte| *byte == b',').map(|option| match option {
        b"nosuid" => MsFlags::MS_NOSUID,
        b"nodev" => MsFlags::MS_NODEV,
        b"noexec" => MsFlags::MS_NOEXEC,
        _ => MsFlags::empty(),
    });
    Some(Mount {
        point: OsString::from_vec(unescaped(point)).into(),
        flags: flags.collect(),
    })
}

/// Spaces, tabs, line breaks and backslashes are written as a backslash and three octal digits.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        let digits = rest.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        text = if code.is_some() { &rest[3..] } else { rest };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_whatever_its_name() {
        let line = b"36 35 98:0 /a /mnt/my\\040own\\134\xff ro,nosuid,nodev,relatime master:1 - ext3 /dev/root rw";
        let expected = Mount {
            point: OsString::from_vec(b"/mnt/my own\\\xff".to_vec()).into(),
            flags: MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        };
        assert_eq!(mount(line), Some(expected));
        assert_eq!(mount(b""), None);
    }
}
