//! Fetches what is served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ec2::types::Filter;
use contract::job::Role;
use contract::serve::{Desired, Protocol, ServerStatus, Volumes};
use contract::{objects, tags};
use serde::{Deserialize, Serialize};

use crate::access::{self, Password};
use crate::arguments::Pull;
use crate::cloud::Cloud;
use crate::stacks::Places;
use crate::{follow, ways};

/// How often to look whether the release is served.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// In the output directory: the profiles that were pulled into it, so that one that is gone can go there too.
const PULLED: &str = ".vibes.json";

/// What is served, and where.
#[derive(Clone)]
pub(crate) struct Served {
    /// The release.
    pub(crate) release: String,
    /// The server's address.
    pub(crate) address: String,
    /// The profiles.
    pub(crate) profiles: Vec<String>,
    /// What the server says.
    pub(crate) status: ServerStatus,
    /// The password; none if none is set.
    pub(crate) password: Option<Password>,
}

impl Served {
    /// The password in a command line.
    pub(crate) fn password_word(&self) -> &str {
        self.password.as_ref().map_or("PASSWORD", |password| &password.word)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Pulled {
    profiles: BTreeSet<String>,
}

/// Waits until the current release is served, then makes the output directory a mirror of it.
pub(crate) async fn pull(cloud: &Cloud, places: &Places, options: &Pull) -> Result<Served> {
    let served = served(cloud, places, Duration::from_secs(options.patience)).await?;
    mirror(&served, &options.out).await?;
    Ok(served)
}

/// Waits until the release that is to be served is.
pub(crate) async fn served(cloud: &Cloud, places: &Places, patience: Duration) -> Result<Served> {
    let release = wished_for(cloud, places)
        .await?
        .context("there is no release yet: upload something first")?;
    let begin = Instant::now();
    loop {
        let problem = match look(cloud, places, &release).await? {
            Ok(served) => return Ok(served),
            Err(problem) => problem,
        };
        if begin.elapsed() > patience {
            bail!(
                "the release {release} is not served after {} s: {problem}",
                patience.as_secs()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The release that is to be served: the current one, or the older one that was wished for instead of it.
pub(crate) async fn wished_for(cloud: &Cloud, places: &Places) -> Result<Option<String>> {
    let current = follow::release(cloud).await?;
    let desired: Option<Desired> = cloud.json(&places.state_bucket, objects::SERVE_DESIRED).await?;
    let restored = desired.filter(|desired| desired.instead_of.is_some() && desired.instead_of == current);
    Ok(restored.map_or(current, |desired| desired.release))
}

/// The release is served, or why not yet.
async fn look(cloud: &Cloud, places: &Places, release: &str) -> Result<Result<Served, String>> {
    let Some(status) = cloud
        .json::<ServerStatus>(&places.state_bucket, objects::SERVE_STATUS)
        .await?
    else {
        return Ok(Err("no server has reported yet".to_owned()));
    };
    if status.current.as_deref() != Some(release) {
        let problem = status.problem.unwrap_or_else(|| "it reports nothing wrong".to_owned());
        let current = status.current.as_deref().unwrap_or("nothing");
        return Ok(Err(format!("the server serves {current}: {problem}")));
    }
    let Some(address) = address(cloud, &status.instance).await? else {
        return Ok(Err(format!(
            "the instance {} of the server does not run",
            status.instance
        )));
    };
    let volumes = cloud
        .json::<Volumes>(&places.state_bucket, objects::SERVE_VOLUMES)
        .await?
        .unwrap_or_default();
    Ok(Ok(Served {
        release: release.to_owned(),
        address,
        profiles: volumes.profiles,
        password: access::password(cloud).await?,
        status,
    }))
}

/// The address of a server of ours, if it runs.
async fn address(cloud: &Cloud, instance: &str) -> Result<Option<String>> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let described = cloud
        .ec2
        .describe_instances()
        .filters(filter(&format!("tag:{}", tags::STACK), &cloud.stack))
        .filters(filter(&format!("tag:{}", tags::ROLE), Role::Server.as_str()))
        .filters(filter("instance-state-name", "running"))
        .send()
        .await
        .context("looking for the server")?;
    let instances = described
        .reservations()
        .iter()
        .flat_map(|reservation| reservation.instances());
    let mut ours = instances.filter(|running| running.instance_id() == Some(instance));
    Ok(ours
        .next()
        .and_then(|running| running.public_ip_address())
        .map(str::to_owned))
}

/// Brings every profile into a directory of its name, and removes those that are served no more.
pub(crate) async fn mirror(served: &Served, out: &Path) -> Result<()> {
    if let Some(Some(why)) = served.status.protocols.get(&Protocol::Rsync) {
        bail!("{} is served, but not by rsync: {why}", served.release);
    }
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let note = out.join(PULLED);
    let mut pulled: Pulled = match fs::read(&note) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is not understood", note.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Pulled::default(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", note.display())),
    };
    // Noted before it is made: what is begun can be removed.
    pulled.profiles.extend(served.profiles.iter().cloned());
    fs::write(&note, serde_json::to_vec(&pulled)?).with_context(|| format!("writing {}", note.display()))?;
    for profile in &served.profiles {
        rsync(served, profile, &out.join(profile)).await?;
    }
    let gone: Vec<_> = pulled
        .profiles
        .iter()
        .filter(|profile| !served.profiles.contains(profile))
        .cloned()
        .collect();
    for profile in gone {
        let folder = out.join(&profile);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        pulled.profiles.remove(&profile);
    }
    fs::write(&note, serde_json::to_vec(&pulled)?).with_context(|| format!("writing {}", note.display()))
}

async fn rsync(served: &Served, profile: &str, to: &Path) -> Result<()> {
    let from = ways::url(served, profile);
    let password = served.password.as_ref().map_or("", |password| &password.value);
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let status = tokio::process::Command::new("rsync")
        .args(["-rt", "--delete", "--timeout=60", "--contimeout=20"])
        .arg(&from)
        .arg(to)
        .env("RSYNC_PASSWORD", password)
        .kill_on_drop(true)
        .status()
        .await
        .context("starting rsync: is the Debian package rsync installed (make setup)?")?;
    ensure!(status.success(), "rsync from {from} ended with {status}");
    Ok(())
}
