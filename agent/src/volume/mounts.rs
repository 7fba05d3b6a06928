//! Mounting and unmounting: everything mounted is remembered and unmounted in reverse order.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use tracing::warn;

/// How often an unmount is tried while the filesystem is in use; a process that was just ended may still hold a file.
const TRIES: u32 = 20;
/// Pause between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What may be done with a mounted volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Write,
    /// Read only.
    Read,
}

/// `MS_NOSYMFOLLOW` of `linux/mount.h`, which nix does not name: what is shown to others leads nobody out of it.
const FOLLOW_NO_LINKS: MsFlags = MsFlags::from_bits_retain(256);

/// Nothing on a volume is a program, a device or privileged. Access times would be the only writes of a reader.
fn restricted() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME
}

/// What is mounted, in order.
#[derive(Debug, Default)]
pub struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// Mounts an ext4 device.
    pub fn volume(&mut self, device: &Path, at: &Path, access: Access) -> Result<()> {
        let flags = match access {
            Access::Write => restricted(),
            Access::Read => restricted() | MsFlags::MS_RDONLY,
        };
        self.add(Some(device), at, Some("ext4"), flags, Some("errors=remount-ro"))
    }

    /// Shows a folder a second time, read-only.
    pub fn bind(&mut self, from: &Path, at: &Path) -> Result<()> {
        self.add(Some(from), at, None, MsFlags::MS_BIND, None)?;
        // The kernel ignores other flags beside MS_BIND; they take a second call.
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | restricted() | FOLLOW_NO_LINKS;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
            .with_context(|| format!("making {} read-only", at.display()))
    }

    /// Shows the union of two folders or more, read-only; of files with equal names the first folder's is seen.
    pub fn union(&mut self, of: &[PathBuf], at: &Path) -> Result<()> {
        let folders: Vec<_> = of.iter().map(|folder| folder.to_string_lossy()).collect();
        let options = format!("lowerdir={}", folders.join(":"));
        self.add(
            None,
            at,
            Some("overlay"),
            restricted() | MsFlags::MS_RDONLY | FOLLOW_NO_LINKS,
            Some(&options),
        )
    }

    fn add(
        &mut self,
        from: Option<&Path>,
        at: &Path,
        kind: Option<&str>,
        flags: MsFlags,
        options: Option<&str>,
    ) -> Result<()> {
        fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
        let from = from.unwrap_or(Path::new("none"));
        mount(Some(from), at, kind, flags, options)
            .with_context(|| format!("mounting {} at {}", from.display(), at.display()))?;
        self.0.push(at.to_owned());
        Ok(())
    }

    /// Makes a mounted volume read-only.
    pub fn make_read_only(&self, at: &Path) -> Result<()> {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | restricted();
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
            .with_context(|| format!("making {} read-only", at.display()))
    }

    /// Something is mounted here.
    pub fn contains(&self, at: &Path) -> bool {
        self.0.iter().any(|mounted| mounted == at)
    }

    /// Unmounts everything, the last first. What is still in use after some tries stays, with what lies below it, and
    /// is the error; asking again continues.
    pub async fn unmount_all(&mut self) -> Result<()> {
        while let Some(at) = self.0.last() {
            for stray in strays(at)? {
                warn!("unmounting {}, which somebody left there", stray.display());
                unmount(&stray).await?;
            }
            unmount(at).await?;
            self.0.pop();
        }
        Ok(())
    }
}

/// What is mounted below this folder, the last first: tup that was killed leaves its own mount.
fn strays(at: &Path) -> Result<Vec<PathBuf>> {
    const TABLE: &str = "/proc/thread-self/mountinfo";
    let table = fs::read_to_string(TABLE).with_context(|| format!("reading {TABLE}"))?;
    let mut below: Vec<_> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mounted| mounted != at && mounted.starts_with(at))
        .collect();
    below.reverse();
    Ok(below)
}

async fn unmount(at: &Path) -> Result<()> {
    let mut tries = 1;
    loop {
        match umount(at) {
            Ok(()) => return Ok(()),
            Err(Errno::EBUSY) if tries < TRIES => tries += 1,
            Err(error) => return Err(error).with_context(|| format!("unmounting {}", at.display())),
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}
