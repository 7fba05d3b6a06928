//! The role server: mounts releases side by side, offers the current one to new connections, lets old ones drain.
//!
//! One file per protocol. Each gets the [`Release`] to offer and who may have it, and offers it only to them. Which
//! releases are still read is seen from outside, by the processes that use their folders.

mod certificates;
mod file;
pub mod http;
mod opened;
pub mod release;
pub mod rsync;
pub mod ssh;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use contract::objects;
use contract::serve::{Access, Protocol, ServerStatus, Volumes};
use nix::unistd::User;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::instance::Instance;
use crate::process;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::store::Store;
use http::Http;
use release::Release;
use rsync::Rsync;
use ssh::Ssh;

/// Why a protocol is closed before the first release.
const NOTHING_YET: &str = "nothing is served yet";

/// A server with nothing new to say writes its status after so many times a worker's period, to show that it lives: with
/// the default that is a minute, and `serve` has ten of patience.
const QUIET_PERIODS: u32 = 4;

/// What a server has mounted and offers.
struct Server<'a> {
    settings: &'a Settings,
    store: &'a Store,
    rsync: Rsync,
    ssh: Ssh,
    http: Http,
    /// Why each protocol is closed, or nothing if it is open.
    protocols: BTreeMap<Protocol, Option<String>>,
    /// As it was last handed on.
    access: Access,
    /// Releases with anything mounted, by name.
    releases: BTreeMap<String, Release>,
    /// Since when a release is no longer wanted.
    unwanted: BTreeMap<String, Instant>,
    /// The release that new connections get.
    current: Option<String>,
    /// Number of status objects written.
    sequence: u64,
    /// The last one, and when it was written; none if that went wrong.
    said: Option<(ServerStatus, Instant)>,
}

/// Serves until told to stop. What goes wrong is reported in the status and tried again: a server never gives up.
pub async fn run(settings: &Settings, store: &Store, instance: &Instance, stop: &Stop) -> Result<()> {
    let name = &settings.user;
    let user = User::from_name(name)
        .with_context(|| format!("looking for user {name}"))?
        .with_context(|| format!("there is no user {name}, who serves: is this the server's image?"))?;
    let mut server = Server {
        settings,
        store,
        rsync: Rsync::new(settings, &user),
        ssh: Ssh::new(settings),
        http: Http::new(settings, &user),
        protocols: BTreeMap::new(),
        access: Access::default(),
        releases: BTreeMap::new(),
        unwanted: BTreeMap::new(),
        current: None,
        sequence: 0,
        said: None,
    };
    loop {
        let problem = server.converge().await.err().map(|error| format!("{error:#}"));
        if let Some(problem) = &problem {
            warn!("{problem}");
        }
        server.report(&instance.id, problem).await;
        if stop.sleep(settings.serve_every).await.is_err() {
            break;
        }
    }
    let ended = server.end().await;
    let problem = ended.as_ref().err().map(|error| format!("{error:#}"));
    server.report(&instance.id, problem).await;
    ended
}

impl Server<'_> {
    /// One step towards what `serve/volumes.json` says. Every part is tried; the first error is returned.
    async fn converge(&mut self) -> Result<()> {
        let wanted: Volumes = self.store.json(objects::SERVE_VOLUMES).await?.unwrap_or_default();
        self.access = self.store.json(objects::SERVE_ACCESS).await?.unwrap_or_default();
        let mounted = self.mount(&wanted).await;
        let prepared = self.prepare(&wanted);
        let offered = self.offer().await;
        let dropped = self.drop_unwanted(&wanted).await;
        mounted.and(prepared).and(offered).and(dropped)
    }

    async fn mount(&mut self, wanted: &Volumes) -> Result<()> {
        let mut result = Ok(());
        for named in &wanted.releases {
            self.unwanted.remove(&named.release);
            let release = self
                .releases
                .entry(named.release.clone())
                .or_insert_with(|| Release::new(&self.settings.serve_root, &named.release));
            result = result.and(release.mount(&named.volumes, &self.settings.devices).await);
        }
        result
    }

    /// Chooses the release that new connections get: the wanted one, once all of it is mounted.
    fn prepare(&mut self, wanted: &Volumes) -> Result<()> {
        let Some(name) = &wanted.current else {
            if self.current.take().is_some() {
                info!("nothing is served any more");
            }
            return Ok(());
        };
        let release = self.releases.get_mut(name).with_context(|| {
            format!(
                "{name} is to be served, but {} does not name its volumes",
                objects::SERVE_VOLUMES
            )
        })?;
        if !release.is_mounted() {
            return Ok(());
        }
        release.join(&wanted.profiles)?;
        if self.current.as_deref() != Some(name) {
            release::point_at(&self.settings.serve_root, name)?;
            info!("new connections get {name}");
            self.current = Some(name.clone());
        }
        Ok(())
    }

    /// Offers the current release by every protocol. One that cannot be offered does not keep the others from it.
    async fn offer(&mut self) -> Result<()> {
        let release = self.current.as_ref().and_then(|name| self.releases.get(name));
        let offered = [
            (Protocol::Rsync, self.rsync.offer(release, &self.access).await),
            (Protocol::Ssh, self.ssh.offer(release, &self.access, self.store).await),
            (Protocol::Http, self.http.offer(release, &self.access, self.store).await),
        ];
        let mut result = Ok(());
        for (protocol, closed) in offered {
            let closed = match closed {
                Ok(closed) => closed,
                Err(error) => {
                    let why = format!("{error:#}");
                    result = result.and(Err(error));
                    Some(why)
                }
            };
            self.protocols.insert(protocol, closed);
        }
        result.and(self.http.keep_certificates(self.store).await)
    }

    /// Unmounts releases that are no longer named, after their last connection or when their time is over. A release
    /// is looked at in the next round at the earliest, so that connections that are just being made are counted.
    async fn drop_unwanted(&mut self, wanted: &Volumes) -> Result<()> {
        let named = |name: &String| wanted.releases.iter().any(|release| release.release == *name);
        let names: Vec<_> = self.releases.keys().filter(|name| !named(name)).cloned().collect();
        for name in names {
            if self.current.as_ref() == Some(&name) {
                continue;
            }
            let Some(since) = self.unwanted.get(&name) else {
                info!("{name} is no longer wanted");
                self.unwanted.insert(name, Instant::now());
                continue;
            };
            let Some(release) = self.releases.get_mut(&name) else {
                continue;
            };
            let connections = process::using(release.folder())?;
            if !connections.is_empty() && since.elapsed() < self.settings.drain_within {
                continue;
            }
            for connection in connections {
                warn!("ending connection {connection}, which still reads {name}");
                process::end_now(connection)?;
            }
            release.unmount().await?;
            self.releases.remove(&name);
            self.unwanted.remove(&name);
            info!("{name} is unmounted");
        }
        Ok(())
    }

    /// Writes the status if it says something new, or has not been written for a while.
    async fn report(&mut self, instance: &str, problem: Option<String>) {
        let mut status = ServerStatus {
            instance: instance.to_owned(),
            sequence: self.sequence,
            current: self.current.clone(),
            mounted: self.releases.keys().cloned().collect(),
            protocols: self.protocols.clone(),
            host_key: self.ssh.host_key().cloned(),
            domain: self.access.domain.clone(),
            problem,
        };
        if let Some((said, at)) = &self.said
            && *said == status
            && at.elapsed() < self.settings.status_every * QUIET_PERIODS
        {
            return;
        }
        self.sequence += 1;
        status.sequence = self.sequence;
        self.said = match self.store.put_json(objects::SERVE_STATUS, &status).await {
            Ok(()) => Some((status, Instant::now())),
            Err(error) => {
                error!("status not written: {error:#}");
                None
            }
        };
    }

    /// Ends all connections and unmounts everything.
    async fn end(&mut self) -> Result<()> {
        self.current = None;
        self.protocols.clear();
        let (rsync, ssh) = (self.rsync.end().await, self.ssh.end().await);
        let mut result = rsync.and(ssh).and(self.http.end().await);
        for connection in process::using(&self.settings.serve_root)? {
            process::end_now(connection)?;
        }
        for (name, mut release) in std::mem::take(&mut self.releases) {
            let unmounted = release.unmount().await;
            if unmounted.is_err() {
                self.releases.insert(name, release);
            }
            result = result.and(unmounted);
        }
        result
    }
}
