//! An instance's `/dev`: a small tmpfs in the twin's own mount namespace, so that attaching a volume is making a node.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::loops::{self, LoopDevice};

/// Character devices that every program may use: name, major, minor (the kernel's devices.txt).
const CHARACTER: [(&str, u64, u64); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("fuse", 10, 229),
];

/// Links that shells and the C library expect.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Block major of loop devices.
const LOOP: u64 = 7;

/// The kernel unmounts a dead instance's filesystems, writing what they cache, before their devices clear.
const CLEAR_WAIT: Duration = Duration::from_secs(60);

/// The tmpfs and the volumes that appear in it.
pub(super) struct Devices {
    path: PathBuf,
    attached: Mutex<HashMap<String, Attached>>,
}

struct Attached {
    device: LoopDevice,
    backing: PathBuf,
}

impl Devices {
    /// Fills the empty tmpfs at `path`.
    pub(super) fn fill(path: &Path) -> Result<Self> {
        let devices = Self {
            path: path.to_owned(),
            attached: Mutex::default(),
        };
        for (name, major, minor) in CHARACTER {
            node(&path.join(name), SFlag::S_IFCHR, makedev(major, minor), 0o666)?;
        }
        for (name, target) in LINKS {
            symlink(target, path.join(name)).with_context(|| format!("cannot link {name}"))?;
        }
        for directory in ["shm", "pts", "disk/by-id"] {
            std::fs::create_dir_all(path.join(directory)).with_context(|| format!("cannot make {directory}"))?;
        }
        std::fs::set_permissions(path.join("shm"), Permissions::from_mode(0o1777))?;
        Ok(devices)
    }

    /// Puts the volume's file on a loop device and shows it.
    pub(super) fn attach(&self, volume: &str, backing: &Path) -> Result<()> {
        let mut attached = self.attached.lock().expect("no panic holds it");
        ensure!(!attached.contains_key(volume), "{volume} is attached already");
        let device = LoopDevice::attach(backing)?;
        let name = format!("loop{}", device.number());
        node(
            &self.path.join(&name),
            SFlag::S_IFBLK,
            makedev(LOOP, device.number().into()),
            0o660,
        )?;
        let link = self.link(volume);
        if let Err(error) = symlink(format!("../../{name}"), &link) {
            remove(&self.path.join(&name))?;
            return Err(error).with_context(|| format!("cannot link {}", link.display()));
        }
        attached.insert(
            volume.to_owned(),
            Attached {
                device,
                backing: backing.to_owned(),
            },
        );
        Ok(())
    }

    /// Takes link, node and our hold of the device away; absent is fine. Fails while the volume is mounted.
    pub(super) fn detach(&self, volume: &str) -> Result<()> {
        let mut attached = self.attached.lock().expect("no panic holds it");
        let Some(Attached { device, .. }) = attached.get(volume) else {
            return Ok(());
        };
        ensure!(!device.busy()?, "{volume} is in use: the instance has it mounted");
        remove(&self.link(volume))?;
        remove(&self.path.join(format!("loop{}", device.number())))?;
        attached.remove(volume);
        Ok(())
    }

    /// Shows an attached volume's new size.
    pub(super) fn resized(&self, volume: &str) -> Result<()> {
        match self.attached.lock().expect("no panic holds it").get(volume) {
            Some(attached) => attached.device.resized(),
            None => Ok(()),
        }
    }

    /// Whether this volume is attached here.
    pub(super) fn has(&self, volume: &str) -> bool {
        self.attached.lock().expect("no panic holds it").contains_key(volume)
    }

    /// After the instance's end: gives the volumes back and waits until their devices have cleared.
    pub(super) fn clear(&self) -> Result<()> {
        let attached = std::mem::take(&mut *self.attached.lock().expect("no panic holds it"));
        for (volume, Attached { device, backing }) in attached {
            drop(device);
            if !loops::cleared(&backing, CLEAR_WAIT)? {
                bail!("the loop device of {volume} did not clear within {CLEAR_WAIT:?}");
            }
        }
        Ok(())
    }

    /// The link that EC2 images have for a volume.
    fn link(&self, volume: &str) -> PathBuf {
        let serial = volume.replace('-', "");
        self.path
            .join("disk/by-id")
            .join(format!("nvme-Amazon_Elastic_Block_Store_{serial}"))
    }
}

fn node(path: &Path, kind: SFlag, device: u64, mode: u32) -> Result<()> {
    mknod(path, kind, Mode::empty(), device).with_context(|| format!("cannot make the node {}", path.display()))?;
    // Set afterwards, because mknod obeys the umask.
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot make {} usable", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}
