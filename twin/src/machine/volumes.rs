//! Volumes and snapshots: sparse files in an XFS of our own, where a clone costs milliseconds and no space.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::command::run;
use super::loops;

/// Size of the store as its filesystem sees it; the file is sparse and holds what is written. As large as the largest
/// collection that the twin is meant for, small enough that the filesystem's own log stays at 128 MiB.
const STORE_BYTES: u64 = 256 << 30;

/// After `kill -9` of a twin its store is free within 30 ms; a disk that is busy writing gets more.
const STORE_WAIT: Duration = Duration::from_secs(10);

/// How long a program may still have a volume open that was detached.
const DETACH_WAIT: Duration = Duration::from_secs(5);

/// The store, mounted in this mount namespace, and the lock that keeps a second twin out.
pub(super) struct Volumes {
    store: PathBuf,
    _lock: File,
}

impl Volumes {
    /// Mounts `dir`/store.xfs at `dir`/store, and makes it first if there is none.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let (image, store) = (dir.join("store.xfs"), dir.join("store"));
        let lock = lock(&dir.join("store.lock"))?;
        if !image.exists() {
            format(&image)?;
        }
        ensure!(
            loops::cleared(&image, STORE_WAIT)?,
            "{} is still on a loop device that an earlier twin left: see losetup --associated {}",
            image.display(),
            image.display()
        );
        std::fs::create_dir_all(&store).with_context(|| format!("cannot make {}", store.display()))?;
        // mount clears its loop device with the mount; discard gives the space of deleted volumes back to the host.
        let paths = [image.as_os_str(), store.as_os_str()];
        run(
            "mount",
            ["-t", "xfs", "-o", "loop,noatime,discard"]
                .map(AsRef::as_ref)
                .into_iter()
                .chain(paths),
        )?;
        let volumes = Self { store, _lock: lock };
        volumes.forget_halves()?;
        Ok(volumes)
    }

    /// Makes a volume, blank or from a snapshot that is not larger.
    pub(super) fn create(&self, volume: &str, gib: u32, snapshot: Option<&str>) -> Result<()> {
        let half = self.half(volume)?;
        match snapshot {
            Some(snapshot) => clone(&self.existing(snapshot)?, &half)?,
            None => drop(File::create(&half).with_context(|| format!("cannot make {volume}"))?),
        }
        resize(&half, gib).with_context(|| format!("cannot size {volume}"))?;
        self.complete(&half, volume)
    }

    /// Deletes a volume or snapshot; absent is fine.
    pub(super) fn delete(&self, id: &str) -> Result<()> {
        match std::fs::remove_file(self.path(id)?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot delete {id}"))
            }
            _ => Ok(()),
        }
    }

    /// Makes a volume larger.
    pub(super) fn grow(&self, volume: &str, gib: u32) -> Result<()> {
        resize(&self.existing(volume)?, gib).with_context(|| format!("cannot grow {volume}"))
    }

    /// Clones a volume's present content.
    pub(super) fn snapshot(&self, volume: &str, snapshot: &str) -> Result<()> {
        let half = self.half(snapshot)?;
        clone(&self.existing(volume)?, &half)?;
        self.complete(&half, snapshot)
    }

    /// The file of a volume that no loop device uses: two devices on one file would destroy its filesystem.
    pub(super) fn free(&self, volume: &str) -> Result<PathBuf> {
        let file = self.existing(volume)?;
        ensure!(
            loops::cleared(&file, DETACH_WAIT)?,
            "{volume} is still in use: a program in the instance that it was detached from has it open"
        );
        Ok(file)
    }

    fn path(&self, id: &str) -> Result<PathBuf> {
        let sound = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        ensure!(sound, "{id:?} is not the id of a volume or snapshot");
        Ok(self.store.join(id))
    }

    fn existing(&self, id: &str) -> Result<PathBuf> {
        let path = self.path(id)?;
        ensure!(path.exists(), "{id} does not exist");
        Ok(path)
    }

    /// Where `id` is made before it exists whole.
    fn half(&self, id: &str) -> Result<PathBuf> {
        ensure!(!self.path(id)?.exists(), "{id} exists already");
        Ok(self.path(id)?.with_extension("half"))
    }

    fn complete(&self, half: &Path, id: &str) -> Result<()> {
        std::fs::rename(half, self.path(id)?).with_context(|| format!("cannot complete {id}"))
    }

    /// Deletes what a killed twin left half made.
    fn forget_halves(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.store)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "half") {
                std::fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Held as long as the file is open, so also freed by `kill -9`.
fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!("another twin holds {}: stop it first", path.display()),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Makes the store under another name first, so that a killed twin leaves none or a whole one.
fn format(image: &Path) -> Result<()> {
    let half = image.with_extension("half");
    File::create(&half)?.set_len(STORE_BYTES).with_context(|| {
        format!(
            "cannot make {}: the filesystem there must hold sparse files of {STORE_BYTES} bytes",
            half.display()
        )
    })?;
    run(
        "mkfs.xfs",
        ["-q", "-K", "-m", "reflink=1"]
            .map(AsRef::as_ref)
            .into_iter()
            .chain([half.as_os_str()]),
    )?;
    std::fs::rename(&half, image).with_context(|| format!("cannot make {}", image.display()))
}

/// Shares all blocks of `from`; the kernel writes back what it still caches of `from` first.
fn clone(from: &Path, to: &Path) -> Result<()> {
    run("cp", ["--reflink=always".as_ref(), from.as_os_str(), to.as_os_str()])?;
    Ok(())
}

fn resize(file: &Path, gib: u32) -> Result<()> {
    let bytes = u64::from(gib) << 30;
    let file = OpenOptions::new().write(true).open(file)?;
    let now = file.metadata()?.len();
    ensure!(
        gib > 0 && bytes >= now,
        "{gib} GiB is less than the {now} bytes that it has"
    );
    file.set_len(bytes)?;
    Ok(())
}
