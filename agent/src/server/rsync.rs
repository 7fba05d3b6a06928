//! The rsync daemon: one read-only module per profile.
//!
//! The daemon reads its configuration anew for each connection (rsyncd.conf(5)), and `use chroot` pins a connection to
//! the folder that its module had then. So replacing the file is the switch to another release: whole per connection.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::unistd::User;
use tracing::warn;

use super::release::Release;
use crate::process::Daemon;
use crate::settings::Settings;

/// Seconds after which a connection on which nothing moves is ended.
const IDLE_SECONDS: u32 = 600;

/// The daemon and its configuration.
#[derive(Debug)]
pub struct Rsync {
    configuration: PathBuf,
    /// The lines before the modules.
    head: String,
    offered: Option<String>,
    daemon: Option<Daemon>,
}

impl Rsync {
    /// A daemon that is not running yet. Fails when the unprivileged user does not exist.
    pub fn new(settings: &Settings) -> Result<Self> {
        let name = &settings.user;
        let user = User::from_name(name)
            .with_context(|| format!("looking for user {name}"))?
            .with_context(|| format!("there is no user {name}, which rsync runs as: is this the server's image?"))?;
        // Encoded audio does not shrink: compressing it for a client that asks would only heat the processor.
        let head = format!(
            "port = {}\nuse chroot = yes\nread only = yes\nlist = yes\nuid = {}\ngid = {}\nreverse lookup = no\n\
             timeout = {IDLE_SECONDS}\ndont compress = *\n",
            settings.rsync_port, user.uid, user.gid
        );
        Ok(Self {
            configuration: settings.root.join("rsyncd.conf"),
            head,
            offered: None,
            daemon: None,
        })
    }

    /// Offers these profiles of the release to new connections, or nothing; starts the daemon if it is not running.
    pub fn offer(&mut self, release: Option<&Release>, profiles: &[String]) -> Result<()> {
        let mut text = self.head.clone();
        if let Some(release) = release {
            for profile in profiles {
                write!(text, "[{profile}]\npath = {}\n", release.profile(profile).display())?;
            }
        }
        if self.offered.as_ref() != Some(&text) {
            let doing = || format!("writing {}", self.configuration.display());
            let new = self.configuration.with_extension("new");
            fs::create_dir_all(
                self.configuration
                    .parent()
                    .context("the configuration lies in no folder")?,
            )
            .with_context(doing)?;
            fs::write(&new, &text).with_context(doing)?;
            fs::rename(&new, &self.configuration).with_context(doing)?;
            self.offered = Some(text);
        }
        self.keep_running()
    }

    fn keep_running(&mut self) -> Result<()> {
        if let Some(daemon) = &mut self.daemon {
            match daemon.exited()? {
                None => return Ok(()),
                Some(status) => warn!("rsync ended by itself ({status}): starting it again"),
            }
        }
        let configuration = format!("--config={}", self.configuration.display());
        self.daemon = Some(Daemon::start(
            "rsync",
            &["--daemon", "--no-detach", &configuration, "--log-file=/dev/stderr"],
        )?);
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
