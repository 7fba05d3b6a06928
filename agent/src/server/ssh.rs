//! SSH by key: SFTP and rsync, both read-only, and no shell.
//!
//! SFTP is shut up in the current release (`ChrootDirectory`, followed when a connection is made). rsync needs programs,
//! which a release does not have: it runs below `rrsync`, which lets no path out of the release that it began with.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::objects;
use contract::serve::{Access, RSYNC_USER, USER};
use tracing::{info, warn};

use super::release::Release;
use super::{file, opened};
use crate::process::{self, Daemon};
use crate::settings::Settings;
use crate::store::Store;

/// sshd refuses to start without this folder, whose name is compiled in.
const EMPTY_FOLDER: &str = "/run/sshd";

/// The daemon and its configuration.
#[derive(Debug)]
pub struct Ssh {
    folder: PathBuf,
    configuration: String,
    host_key: Option<String>,
    daemon: Option<Daemon>,
}

impl Ssh {
    /// A daemon that is not running yet.
    pub fn new(settings: &Settings) -> Self {
        let folder = settings.root.join("ssh");
        let configuration = configuration(
            &folder,
            &super::release::current(&settings.serve_root),
            settings.ssh_port,
        );
        Self {
            folder,
            configuration,
            host_key: None,
            daemon: None,
        }
    }

    /// The server's public key, once it is known.
    pub fn host_key(&self) -> Option<&String> {
        self.host_key.as_ref()
    }

    /// Lets in who has one of the keys, as long as a release is there. Says why not, if nobody is let in.
    pub async fn offer(&mut self, release: Option<&Release>, access: &Access, store: &Store) -> Result<Option<String>> {
        let keys = match (opened::keys(access), release) {
            (Ok(keys), Some(_)) => keys,
            (Err(why), _) => return self.end().await.map(|()| Some(why)),
            (Ok(_), None) => return self.end().await.map(|()| Some(super::NOTHING_YET.to_owned())),
        };
        let mut text = String::new();
        for key in keys {
            writeln!(text, "{key}")?;
        }
        file::replace(&self.folder.join("authorized_keys"), 0o644, &text)?;
        if self.host_key.is_none() {
            self.host_key = Some(self.take_host_key(store).await?);
        }
        self.keep_running()?;
        Ok(None)
    }

    /// Every server has the key that the first one made: clients refuse to connect to a server whose key has changed,
    /// and people who see that often learn to look away.
    async fn take_host_key(&self, store: &Store) -> Result<String> {
        let path = self.folder.join("host_key");
        let named = path.to_str().context("the folder's name is not UTF-8")?;
        if let Some(key) = store.text(objects::SERVE_HOST_KEY).await? {
            file::replace(&path, 0o600, &key)?;
        } else {
            info!("making the server's SSH key");
            crate::sync::tree::remove(&path)?;
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "vibes", "-f", named];
            process::run("ssh-keygen", &arguments, &[0]).await?;
            let key = fs::read_to_string(&path).with_context(|| format!("reading {named}"))?;
            store.put_text(objects::SERVE_HOST_KEY, key).await?;
        }
        Ok(process::run("ssh-keygen", &["-y", "-f", named], &[0]).await?.text)
    }

    fn keep_running(&mut self) -> Result<()> {
        if let Some(daemon) = &mut self.daemon {
            match daemon.exited()? {
                None => return Ok(()),
                Some(status) => warn!("sshd ended by itself ({status}): starting it again"),
            }
        }
        let path = self.folder.join("sshd_config");
        file::replace(&path, 0o644, &self.configuration)?;
        fs::create_dir_all(EMPTY_FOLDER).with_context(|| format!("making {EMPTY_FOLDER}"))?;
        // sshd starts itself again for each connection, and insists on its full name.
        let words = ["/usr/sbin/sshd", "-D", "-e", "-f", path.to_str().context("not UTF-8")?];
        self.daemon = Some(Daemon::start("sshd", &words)?);
        Ok(())
    }

    /// Ends the daemon; no new connection is taken.
    pub async fn end(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.end().await,
            None => Ok(()),
        }
    }
}

fn configuration(folder: &Path, current: &Path, port: u16) -> String {
    let (folder, current) = (folder.display(), current.display());
    format!(
        "Port {port}
PidFile none
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
AllowUsers {USER} {RSYNC_USER}
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
DisableForwarding yes
PermitTTY no
PermitUserRC no
# A client that has gone silently holds a release for ten minutes.
ClientAliveInterval 60
ClientAliveCountMax 10
Subsystem sftp internal-sftp -R
Match User {USER}
  ChrootDirectory {current}
  ForceCommand internal-sftp -R
Match User {RSYNC_USER}
  ForceCommand exec rrsync -ro {current}
"
    )
}
