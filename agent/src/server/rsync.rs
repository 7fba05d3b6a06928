//! The rsync daemon: one read-only module per profile, for who knows the password.
//!
//! The daemon reads its configuration and the password anew for each connection (rsyncd.conf(5)), and `use chroot` pins a
//! connection to the folder that its module had then. So replacing the file is the switch to another release: whole per
//! connection.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use contract::serve::{Access, USER};
use nix::unistd::User;
use tracing::warn;

use super::release::Release;
use super::{file, opened};
use crate::process::Daemon;
use crate::settings::Settings;

/// Seconds after which a connection on which nothing moves is ended.
const IDLE_SECONDS: u32 = 600;

/// The daemon and its configuration.
#[derive(Debug)]
pub struct Rsync {
    configuration: PathBuf,
    secrets: PathBuf,
    /// The lines before the modules.
    head: String,
    daemon: Option<Daemon>,
}

impl Rsync {
    /// A daemon that is not running yet; its connections run as this user.
    pub fn new(settings: &Settings, user: &User) -> Self {
        let folder = settings.root.join("rsync");
        let secrets = folder.join("secrets");
        // Encoded audio does not shrink: compressing it for a client that asks would only heat the processor.
        let head = format!(
            "port = {}\nuse chroot = yes\nread only = yes\nlist = yes\nuid = {}\ngid = {}\nreverse lookup = no\n\
             timeout = {IDLE_SECONDS}\ndont compress = *\nauth users = {USER}\nsecrets file = {}\n",
            settings.rsync_port,
            user.uid,
            user.gid,
            secrets.display()
        );
        Self {
            configuration: folder.join("rsyncd.conf"),
            secrets,
            head,
            daemon: None,
        }
    }

    /// Offers the release's profiles to new connections, or nothing; starts the daemon if it is not running. Says why it
    /// is closed instead, if no password opens it.
    pub async fn offer(&mut self, release: Option<&Release>, access: &Access) -> Result<Option<String>> {
        let password = match opened::password(access) {
            Ok(password) => password,
            Err(why) => return self.end().await.map(|()| Some(why)),
        };
        file::replace(&self.secrets, 0o600, &format!("{USER}:{password}\n"))?;
        let mut text = self.head.clone();
        for (profile, folder) in release.into_iter().flat_map(Release::profiles) {
            write!(text, "[{profile}]\npath = {}\n", folder.display())?;
        }
        file::replace(&self.configuration, 0o644, &text)?;
        self.keep_running()?;
        Ok(None)
    }

    fn keep_running(&mut self) -> Result<()> {
        if let Some(daemon) = &mut self.daemon {
            match daemon.exited()? {
                None => return Ok(()),
                Some(status) => warn!("rsync ended by itself ({status}): starting it again"),
            }
        }
        let configuration = format!("--config={}", self.configuration.display());
        let words = [
            "rsync",
            "--daemon",
            "--no-detach",
            &configuration,
            "--log-file=/dev/stderr",
        ];
        self.daemon = Some(Daemon::start("rsync", &words)?);
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
