//! What a twin needs from the machine it runs on, checked before anything is made.

use anyhow::{Result, bail, ensure};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::geteuid;

use super::Options;

/// Programs that the twin runs, and the Debian package that brings each.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("losetup", "mount"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
];

/// The first requirement that is not met is the error; it says what to do.
pub fn check(options: &Options) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "the twin needs Linux: it runs instances in namespaces on loop devices"
    );
    ensure!(
        geteuid().is_root(),
        "the twin needs root, because it mounts real filesystems: run it with sudo"
    );
    character_device(
        "/dev/fuse",
        "instances run tup, which needs it: modprobe fuse, or run the container with --device /dev/fuse",
    )?;
    character_device(
        "/dev/loop-control",
        "volumes are loop devices: modprobe loop, or run the container privileged",
    )?;
    for (name, package) in PROGRAMS {
        ensure!(
            on_path(name),
            "the program {name} is missing: apt-get install {package}"
        );
    }
    ensure!(
        options.base.is_file(),
        "the base {} does not exist: make the venv (`make setup`), or name MiniStack by --base",
        options.base.display()
    );
    Ok(())
}

fn character_device(path: &str, remedy: &str) -> Result<()> {
    match stat(path) {
        Ok(found) if SFlag::from_bits_truncate(found.st_mode).contains(SFlag::S_IFCHR) => Ok(()),
        Ok(_) => bail!("{path} is not a device; {remedy}"),
        Err(error) => bail!("{path} is missing ({error}); {remedy}"),
    }
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .any(|dir| dir.join(name).is_file())
}
