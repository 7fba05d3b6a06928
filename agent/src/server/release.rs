//! A release on the server: its shards' volumes, mounted read-only, and one folder per profile that joins them.
//!
//! ```text
//! /srv/vibes/b-00042/shard-0    a builds volume         /srv/vibes/b-00042/profiles/home    all shards' out/home
//! /srv/vibes/b-00042/shard-1    another                 /srv/vibes/current                  -> b-00042/profiles
//! ```

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::volume::device;
use crate::volume::mounts::{Access, Mounts};

/// A release's folder and what is mounted in it.
#[derive(Debug)]
pub struct Release {
    folder: PathBuf,
    mounts: Mounts,
    shards: Vec<PathBuf>,
    profiles: Vec<String>,
    complete: bool,
}

impl Release {
    /// A release of which nothing is mounted yet.
    pub fn new(serve_root: &Path, name: &str) -> Self {
        Self {
            folder: serve_root.join(name),
            mounts: Mounts::default(),
            shards: Vec::new(),
            profiles: Vec::new(),
            complete: false,
        }
    }

    /// Where everything of it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All its volumes are mounted.
    pub fn is_mounted(&self) -> bool {
        self.complete
    }

    /// The folder of all profiles.
    pub fn root(&self) -> PathBuf {
        self.folder.join("profiles")
    }

    /// The folder that joins all shards' outputs of a profile.
    fn profile(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The profiles that are joined, and their folders.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        self.profiles.iter().map(|name| (name.as_str(), self.profile(name)))
    }

    /// Mounts what is not mounted yet of these volumes, in shard order. A volume that is not attached yet is an error;
    /// asking again continues.
    pub async fn mount(&mut self, volumes: &[String], devices: &Path) -> Result<()> {
        for (shard, volume) in volumes.iter().enumerate().skip(self.shards.len()) {
            let at = self.folder.join(format!("shard-{shard}"));
            let device = device::find(devices, volume)?
                .with_context(|| format!("{volume}, which holds {}, is not attached yet", at.display()))?;
            self.mounts.volume(&device, &at, Access::Read)?;
            self.shards.push(at);
        }
        self.complete = true;
        Ok(())
    }

    /// Makes the folder of each of these profiles. One that no shard has any output of is an empty folder.
    pub fn join(&mut self, profiles: &[String]) -> Result<()> {
        for profile in profiles {
            let at = self.profile(profile);
            if self.mounts.contains(&at) {
                continue;
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            ensure!(
                profile.chars().all(plain) && !profile.starts_with('.'),
                "`{profile}` cannot be a profile's name"
            );
            let outputs = self.shards.iter().map(|shard| shard.join("out").join(profile));
            let outputs: Vec<_> = outputs.filter(|output| output.is_dir()).collect();
            match &outputs[..] {
                [] => fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?,
                [output] => self.mounts.bind(output, &at)?,
                outputs => self.mounts.union(outputs, &at)?,
            }
        }
        self.profiles = profiles.to_vec();
        Ok(())
    }

    /// Unmounts everything and removes the folder. Asking again continues.
    pub async fn unmount(&mut self) -> Result<()> {
        self.complete = false;
        self.mounts.unmount_all().await?;
        self.shards.clear();
        // Only empty folders are left. Were anything still mounted, this would fail and not delete music.
        if self.folder.exists() {
            crate::sync::tree::prune(&self.folder)?;
            fs::remove_dir(&self.folder).with_context(|| format!("removing {}", self.folder.display()))?;
        }
        Ok(())
    }
}

/// The path that leads to the profiles of the release that new connections get.
pub fn current(serve_root: &Path) -> PathBuf {
    serve_root.join("current")
}

/// Makes [`current`] lead to this release's profiles, at once for all of them.
pub fn point_at(serve_root: &Path, release: &str) -> Result<()> {
    let (current, new) = (current(serve_root), serve_root.join("current.new"));
    let doing = || format!("pointing {} at {release}", current.display());
    crate::sync::tree::remove(&new)?;
    symlink(Path::new(release).join("profiles"), &new).with_context(doing)?;
    fs::rename(&new, &current).with_context(doing)
}
