//! Volumes that can be cloned while a build writes to them: ext4 as the agent makes it, on loop devices, in an XFS of our own.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use agent::volume::filesystem;
use agent::volume::mounts::{Access, Mounts};
use anyhow::{Context, Result, ensure};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use twin::machine::loops::LoopDevice;

/// Room of a volume, on which nothing is reserved by what is not written.
const VOLUME_BYTES: u64 = 512 << 20;
/// Room of the store, as its file system sees it.
const STORE_BYTES: u64 = 64 << 30;
/// How much of its cache a disk writes at once that does so when it likes.
const DESTAGED_BYTES: u64 = 256 << 10;

/// What a disk does with a write that it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// It is safe.
    WrittenThrough,
    /// It is in a cache that is lost with the power, unless the disk was told to flush it.
    Cached,
    /// The same, and the disk writes parts of its cache when it likes, in any order.
    Reordering,
}

impl Disk {
    pub(crate) const ALL: [Disk; 3] = [Disk::WrittenThrough, Disk::Cached, Disk::Reordering];
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Disk::WrittenThrough => "written through",
            Disk::Cached => "cached",
            Disk::Reordering => "cached and reordering",
        })
    }
}

/// A device with a volume's file behind it. The kernel takes it apart with its last user.
pub(crate) struct Device {
    path: PathBuf,
    /// The device below whose page cache is the disk's cache.
    cache: Option<File>,
    _loops: Vec<LoopDevice>,
}

impl Device {
    /// Puts a file on a loop device; one with a cache on two, of which the lower one keeps writes in memory until it is
    /// told to flush them.
    pub(crate) fn attach(image: &Path, disk: Disk) -> Result<Device> {
        let (lower, below) = attach(image)?;
        if disk == Disk::WrittenThrough {
            return Ok(Device {
                path: lower,
                cache: None,
                _loops: vec![below],
            });
        }
        let (path, above) = attach(&lower)?;
        let cache = (disk == Disk::Reordering).then(|| File::open(&lower)).transpose()?;
        Ok(Device {
            path,
            cache,
            _loops: vec![above, below],
        })
    }

    /// Its cache, for somebody else to write parts of.
    pub(crate) fn cache(&self) -> Result<Cache> {
        Ok(Cache(self.cache.as_ref().map(File::try_clone).transpose()?))
    }
}

/// The cache of a disk that writes it when it likes; empty for others.
pub(crate) struct Cache(Option<File>);

impl Cache {
    /// Writes parts of the cache to the disk, here and there, until it is over.
    pub(crate) fn destage(&self, chance: &mut fastrand::Rng, over: &AtomicBool) -> Result<()> {
        let Some(cache) = &self.0 else { return Ok(()) };
        while !over.load(Ordering::Relaxed) {
            let at = chance.u64(..VOLUME_BYTES / DESTAGED_BYTES) * DESTAGED_BYTES;
            // Whoever says that they need a part no more has the kernel write it.
            let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            posix_fadvise(cache, at.cast_signed(), DESTAGED_BYTES.cast_signed(), advice)?;
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

fn attach(backing: &Path) -> Result<(PathBuf, LoopDevice)> {
    let device = LoopDevice::attach(backing)?;
    Ok((PathBuf::from(format!("/dev/loop{}", device.number())), device))
}

/// A volume, opened and closed as the agent does.
pub(crate) struct Mounted {
    device: Device,
    mounts: Mounts,
}

impl Mounted {
    /// Makes a file system if the volume is blank, repairs it, whereupon it has to be sound, and mounts it.
    pub(crate) fn open(device: Device, blank: bool, at: &Path) -> Result<Mounted> {
        if blank {
            finish(filesystem::make_if_none(&device.path))?;
        }
        finish(filesystem::repair(&device.path))?;
        check(&device)?;
        let mut mounts = Mounts::default();
        mounts.volume(&device.path, at, Access::Write)?;
        Ok(Mounted { device, mounts })
    }

    /// Unmounts it; it is clean then.
    pub(crate) fn close(mut self) -> Result<()> {
        finish(self.mounts.unmount_all())?;
        finish(filesystem::prove_clean(&self.device.path))?;
        check(&self.device)
    }
}

/// An error unless there is nothing at all to be said against the file system.
fn check(device: &Device) -> Result<()> {
    run("e2fsck", ["-f".as_ref(), "-n".as_ref(), device.path.as_os_str()]).map(drop)
}

/// The agent's functions want a runtime; children are to be started from this thread, in its mount namespace.
fn finish<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Where volumes are files that can be cloned. Lies in mounts that nobody else sees and that end with this program.
pub(crate) struct Store {
    image: PathBuf,
    at: PathBuf,
}

impl Store {
    /// Makes one in `dir`, mounted at `at`.
    pub(crate) fn make(dir: &Path, at: &Path) -> Result<Store> {
        let image = dir.join("store.xfs");
        File::create(&image)?.set_len(STORE_BYTES)?;
        run("mkfs.xfs", ["-q".as_ref(), "-K".as_ref(), image.as_os_str()])?;
        std::fs::create_dir_all(at)?;
        let options = ["-t", "xfs", "-o", "loop,noatime,discard"].map(AsRef::as_ref);
        run("mount", options.into_iter().chain([image.as_os_str(), at.as_os_str()]))?;
        Ok(Store {
            image,
            at: at.to_owned(),
        })
    }

    /// Copies the store with all that is in it.
    pub(crate) fn copy_to(&self, file: &Path) -> Result<()> {
        run("sync", ["--file-system".as_ref(), self.at.as_os_str()])?;
        run(
            "cp",
            ["--sparse=always".as_ref(), self.image.as_os_str(), file.as_os_str()],
        )
        .map(drop)
    }

    /// A folder beside the volumes, kept with them for whoever looks into what failed.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// A volume that nothing was ever written to.
    pub(crate) fn blank(&self, name: &str) -> Result<PathBuf> {
        let path = self.at.join(name);
        File::create(&path)?.set_len(VOLUME_BYTES)?;
        Ok(path)
    }

    /// What a volume's file holds in this instant, also while it is written to.
    pub(crate) fn clone(&self, of: &Path, name: &str) -> Result<PathBuf> {
        let path = self.at.join(name);
        let reflink = "--reflink=always".as_ref();
        run("cp", [reflink, of.as_os_str(), path.as_os_str()])?;
        Ok(path)
    }
}

/// Gives this thread, and what it starts, mounts that no other sees.
pub(crate) fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("power cuts are tried on real mounts, which need root")?;
    let none = None::<&str>;
    Ok(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?)
}

/// Runs a program that has to succeed, and returns what it said.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program}: {} {said}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}
