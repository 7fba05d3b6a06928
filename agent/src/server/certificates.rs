//! The certificates that Caddy got, kept for the next server: an authority gives few a week for one name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use contract::objects;
use nix::unistd::User;

use super::file;
use crate::store::Store;

/// Folders of Caddy's storage: its account with the authority, and the certificates with their keys.
const KEPT: [&str; 2] = ["acme", "certificates"];

/// Contents by path in Caddy's storage.
type Files = BTreeMap<String, String>;

/// Caddy's storage, and what of it the state bucket holds.
#[derive(Debug)]
pub(super) struct Certificates {
    data: PathBuf,
    owner: User,
    kept: Option<Files>,
}

impl Certificates {
    /// Of Caddy's storage in this folder, which is this user's.
    pub(super) fn new(data: PathBuf, owner: User) -> Self {
        Self {
            data,
            owner,
            kept: None,
        }
    }

    /// Brings what an earlier server kept, once.
    pub(super) async fn bring(&mut self, store: &Store) -> Result<()> {
        if self.kept.is_some() {
            return Ok(());
        }
        let kept: Files = store.json(objects::SERVE_CERTIFICATES).await?.unwrap_or_default();
        for (name, content) in &kept {
            let inside = Path::new(name)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            ensure!(inside, "{} has a file {name:?}", objects::SERVE_CERTIFICATES);
            file::replace(&self.data.join(name), 0o600, content)?;
        }
        for folder in KEPT.map(|folder| self.data.join(folder)) {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            self.hand_over(&folder)?;
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// Keeps what has changed.
    pub(super) async fn keep(&mut self, store: &Store) -> Result<()> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let mut files = Files::new();
        for folder in KEPT {
            self.read(&self.data.join(folder), &mut files)?;
        }
        if files != *kept {
            store.put_json(objects::SERVE_CERTIFICATES, &files).await?;
            self.kept = Some(files);
        }
        Ok(())
    }

    fn read(&self, folder: &Path, files: &mut Files) -> Result<()> {
        for entry in entries(folder)? {
            if entry.is_dir() {
                self.read(&entry, files)?;
            } else {
                let content = fs::read_to_string(&entry).with_context(|| format!("reading {}", entry.display()))?;
                let name = entry.strip_prefix(&self.data)?.to_string_lossy().into_owned();
                files.insert(name, content);
            }
        }
        Ok(())
    }

    fn hand_over(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.owner.uid.as_raw()), Some(self.owner.gid.as_raw()))
            .with_context(|| format!("handing {} over", path.display()))?;
        if path.is_dir() {
            entries(path)?.iter().try_for_each(|entry| self.hand_over(entry))?;
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("reading {}", folder.display());
    let entries = fs::read_dir(folder).with_context(doing)?;
    entries.map(|entry| Ok(entry.with_context(doing)?.path())).collect()
}
