//! The collection inside the tup tree, for whoever compiles on their own machine: a mount that nobody else sees.
//!
//! The sources appear read-only at `work/collection` in a mount namespace of this process, which ends with it. Names
//! with a meaning of their own are hidden, so that a collection cannot run commands.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{getegid, geteuid};

use crate::layout::Layout;
use crate::mounts::{self, Mount};
use crate::survey;

const NONE: Option<&str> = None;

/// Mounts the sources, and `out` instead of the outputs' folder if given. To be called while this process has a single
/// thread. Returns the paths below the collection that were hidden, and why.
///
/// # Errors
/// Something is missing, or the system does not let this user mount.
pub fn enter(sources: &Path, builds: &Path, out: Option<&Path>) -> Result<BTreeMap<PathBuf, &'static str>> {
    let layout = Layout::new(builds)?;
    let collection = layout.collection();
    fs::create_dir_all(&collection).with_context(|| format!("making {}", collection.display()))?;
    let special = survey::of(sources)?.special;
    own_namespace()?;
    if special.is_empty() {
        bind(sources, &collection)?;
        for Mount { point, flags } in mounts::below(&canonical(&collection)?)? {
            let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            mount(NONE, &point, NONE, flags, NONE).with_context(|| format!("making {} read-only", point.display()))?;
        }
    } else {
        mount_without(sources, &special, &collection)?;
    }
    if let Some(out) = out {
        for folder in [out, &layout.out()] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        bind(out, &layout.out())?;
    }
    Ok(special)
}

/// A mount namespace of our own, and a network without any interface, because what reads uploaded files needs none; for a
/// user without rights, within a user namespace where the user may have both.
fn own_namespace() -> Result<()> {
    const REMEDY: &str = "run it as root, or let users make namespaces (as root: sysctl user.max_user_namespaces=10000 \
        kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0, those that exist)";
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !user.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).with_context(|| format!("entering a mount and a network namespace: {REMEDY}"))?;
    if !user.is_root() {
        for (file, text) in [
            ("/proc/self/uid_map", format!("0 {user} 1")),
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/gid_map", format!("0 {group} 1")),
        ] {
            fs::write(file, text).with_context(|| format!("writing {file}: {REMEDY}"))?;
        }
    }
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).context("making mounts private")
}

fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("finding where {} is", path.display()))
}

/// Shows a folder at another place, with what is mounted below it.
fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .with_context(|| format!("showing {} at {}", from.display(), to.display()))
}

/// Shows the sources without some paths: an overlay whose upper layer says "deleted" for each.
fn mount_without(sources: &Path, hidden: &BTreeMap<PathBuf, &str>, collection: &Path) -> Result<()> {
    let sources = canonical(sources)?;
    // The folder may be a mount itself; an overlay shows that and none below it.
    let below = mounts::below(&sources)?;
    if let Some(Mount { point, .. }) = below.iter().find(|mount| mount.point != sources) {
        let names: Vec<_> = hidden.keys().map(|path| path.display().to_string()).collect();
        bail!(
            "{} is a mount of its own, beside which names with a meaning of their own cannot be hidden: rename {}, or \
             unmount it",
            point.display(),
            names.join(", ")
        );
    }
    // The layer is made in memory and stays reachable through its descriptor after the overlay covers it.
    mount(Some("tmpfs"), collection, Some("tmpfs"), MsFlags::empty(), NONE).context("making a layer in memory")?;
    for path in hidden.keys() {
        let path = collection.join(path);
        let making = || format!("hiding {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(collection)).with_context(making)?;
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).with_context(making)?;
    }
    let layer = File::open(collection).context("opening the layer")?;
    let sources = File::open(&sources).with_context(|| format!("opening {}", sources.display()))?;
    // By descriptor, because a path may hold the colons and commas that separate mount options.
    let options = format!(
        "lowerdir=/proc/self/fd/{}:/proc/self/fd/{}",
        layer.as_raw_fd(),
        sources.as_raw_fd()
    );
    mount(
        Some("overlay"),
        collection,
        Some("overlay"),
        MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )
    .with_context(|| format!("hiding {} names with a meaning of their own; rename them", hidden.len()))
}
