//! HTTP by Caddy, for who knows the password: lists folders, sends files and parts of them.
//!
//! A Caddy serves one release. For the next one another is started beside it on the same port (`SO_REUSEPORT`); the
//! older one takes no more connections and ends when its last transfer has, or is ended with its release. Caddy could
//! also change its release itself, but then a single process would serve both, and could not be ended for one of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::serve::{Access, USER};
use nix::unistd::User;
use tokio::net::UnixDatagram;
use tracing::warn;

use super::certificates::Certificates;
use super::release::Release;
use super::{file, opened};
use crate::process::{self, Daemon};
use crate::settings::Settings;
use crate::store::Store;

/// Caddy is ready within a tenth of a second. It gets its certificates later.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The server, and those that still finish what they began.
#[derive(Debug)]
pub struct Http {
    folder: PathBuf,
    user: User,
    /// What is configured before the site.
    head: String,
    /// The site without a name in the DNS.
    nameless: String,
    certificates: Certificates,
    /// A password and its hash: making one takes a second, and each is another one.
    hash: Option<(String, String)>,
    /// What is offered, and by whom.
    current: Option<(String, Daemon)>,
    ending: Vec<Daemon>,
}

impl Http {
    /// A server that is not running yet, and will run as this user.
    pub fn new(settings: &Settings, user: &User) -> Self {
        let folder = settings.root.join("http");
        let authority = settings.acme_directory.as_ref();
        let authority = authority.map_or(String::new(), |directory| format!("\tacme_ca {directory}\n"));
        // HTTP/3 would need a port more.
        let head = format!(
            "{{\n\tadmin off\n\thttp_port {}\n\thttps_port {}\n\tservers {{\n\t\tprotocols h1 h2\n\t}}\n\
             \tstorage file_system {}\n{authority}}}\n",
            settings.http_port,
            settings.https_port,
            folder.join("data").display()
        );
        Self {
            certificates: Certificates::new(folder.join("data"), user.clone()),
            folder,
            user: user.clone(),
            head,
            nameless: format!("http://:{}", settings.http_port),
            hash: None,
            current: None,
            ending: Vec::new(),
        }
    }

    /// Offers the release to new connections, or nothing. Says why it is closed instead, if no password opens it.
    pub async fn offer(&mut self, release: Option<&Release>, access: &Access, store: &Store) -> Result<Option<String>> {
        let (password, release) = match (opened::password(access), release) {
            (Ok(password), Some(release)) => (password, release),
            (Err(why), _) => return self.retire().map(|()| Some(why)),
            (Ok(_), None) => return self.retire().map(|()| Some(super::NOTHING_YET.to_owned())),
        };
        let hash = self.hash(password).await?;
        let text = self.configuration(&release.root(), access.domain.as_deref(), &hash);
        self.ending = still_running(std::mem::take(&mut self.ending))?;
        if let Some((offered, daemon)) = &mut self.current {
            match daemon.exited()? {
                None if *offered == text => return Ok(None),
                None => {}
                Some(status) => warn!("Caddy ended by itself ({status}): starting it again"),
            }
        }
        if access.domain.is_some() {
            self.certificates.bring(store).await?;
        }
        let started = self.start(&text).await;
        // Also when the new one did not start: what is not this release any more is not offered.
        self.retire()?;
        self.current = Some((text, started?));
        Ok(None)
    }

    /// Keeps the certificates that Caddy has got since, if it gets any.
    pub async fn keep_certificates(&mut self, store: &Store) -> Result<()> {
        self.certificates.keep(store).await
    }

    /// With a name in the DNS, Caddy gets a certificate for it by itself and answers on the plain port with a
    /// redirection. Without one there is nothing that a certificate could prove: then it is plain HTTP, and the network
    /// decides who can reach it.
    fn configuration(&self, root: &Path, domain: Option<&str>, hash: &str) -> String {
        let site = domain.map_or_else(|| self.nameless.clone(), |domain| format!("https://{domain}"));
        format!(
            "{}{site} {{
	root * {}
	basicauth {{
		{USER} {hash}
	}}
	@write not method GET HEAD
	respond @write 405
	file_server browse
}}
",
            self.head,
            root.display()
        )
    }

    async fn hash(&mut self, password: &str) -> Result<String> {
        if let Some((of, hash)) = &self.hash
            && of == password
        {
            return Ok(hash.clone());
        }
        // Caddy makes its home and a folder in it, whatever it is asked for.
        fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
        let home = format!("HOME={}", self.folder.display());
        let line = format!("{password}\n");
        let hash = process::tell("env", &[&home, "caddy", "hash-password"], &line, &[0])
            .await?
            .text;
        self.hash = Some((password.to_owned(), hash.clone()));
        Ok(hash)
    }

    async fn start(&self, text: &str) -> Result<Daemon> {
        let (path, data) = (self.folder.join("Caddyfile"), self.folder.join("data"));
        let (uid, gid) = (self.user.uid.as_raw(), self.user.gid.as_raw());
        file::replace(&path, 0o640, text)?;
        fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
        for (path, owner) in [(&path, None), (&data, Some(uid))] {
            chown(path, owner, Some(gid)).with_context(|| format!("handing {} over", path.display()))?;
        }
        // Caddy says here that it is ready, as to systemd.
        let ready = self.folder.join("ready");
        crate::sync::tree::remove(&ready)?;
        let socket = UnixDatagram::bind(&ready).with_context(|| format!("making {}", ready.display()))?;
        fs::set_permissions(&ready, Permissions::from_mode(0o666))?;

        let (user, group) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        let (home, ready) = (
            format!("HOME={}", data.display()),
            format!("NOTIFY_SOCKET={}", ready.display()),
        );
        let words = [
            "setpriv",
            &user,
            &group,
            "--clear-groups",
            "--inh-caps=-all,+net_bind_service",
            "--ambient-caps=-all,+net_bind_service",
            "--bounding-set=-all,+net_bind_service",
            "--no-new-privs",
            "env",
            "--ignore-environment",
            &home,
            &ready,
            "caddy",
            "run",
            "--adapter=caddyfile",
            "--config",
            path.to_str().context("the folder's name is not UTF-8")?,
        ];
        let mut daemon = Daemon::start("caddy", &words)?;
        tokio::select! {
            ready = tokio::time::timeout(READY_WITHIN, is_ready(&socket)) => ready.context("Caddy does not get ready")??,
            status = daemon.ended() => bail!("Caddy did not start ({}): the journal has its reason", status?),
        }
        Ok(daemon)
    }

    /// Takes no new connections; those that there are go on.
    fn retire(&mut self) -> Result<()> {
        if let Some((_, daemon)) = self.current.take() {
            daemon.ask_to_end()?;
            self.ending.push(daemon);
        }
        Ok(())
    }

    /// Ends all of it.
    pub async fn end(&mut self) -> Result<()> {
        self.retire()?;
        let mut result = Ok(());
        for daemon in self.ending.drain(..) {
            result = result.and(daemon.end().await);
        }
        result
    }
}

fn still_running(daemons: Vec<Daemon>) -> Result<Vec<Daemon>> {
    let mut running = Vec::new();
    for mut daemon in daemons {
        if daemon.exited()?.is_none() {
            running.push(daemon);
        }
    }
    Ok(running)
}

async fn is_ready(socket: &UnixDatagram) -> Result<()> {
    let mut said = [0; 256];
    loop {
        let length = socket.recv(&mut said).await.context("listening to Caddy")?;
        if said[..length].starts_with(b"READY=1") {
            return Ok(());
        }
    }
}
