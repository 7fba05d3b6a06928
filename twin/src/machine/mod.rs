//! Everything real behind the EC2 simulator: volumes on loop devices, snapshots as clones, instances as namespaces.
//!
//! `Machines` knows neither the EC2 API nor its states and tags: it does what it is told with the ids it is given, and
//! forgets an instance the moment it is gone. It expects to live in a mount and pid namespace of its own (with that
//! namespace's `/proc`): every mount, process and loop device made here ends with that namespace, however it ends.

mod address;
mod command;
mod devices;
mod image;
pub mod init;
mod instance;
pub mod loops;
mod metadata;
mod network;
mod relay;
mod volumes;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use instance::Instance;
use volumes::Volumes;

/// The programs that an instance is made of.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `vibes-agent`, which every instance runs.
    pub agent: PathBuf,
    /// `vibes-compile`, which the agent finds on its PATH.
    pub compile: PathBuf,
    /// The program with the hidden subcommand `machine-init SPEC` (see [`init::run`]): the twin itself,
    /// `/proc/PID/exe`, which survives a rebuild of its file.
    pub init: PathBuf,
    /// Directory of images that are trees: `ami-tree-NAME` is NAME in it, and brings its own agent and compiler.
    pub images: Option<PathBuf>,
    /// Further environment of the agent, such as `VIBES_STATUS_SECONDS=1`.
    pub agent_env: Vec<(String, String)>,
}

/// Credentials of a role, as the metadata service hands them out.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// Session token.
    pub token: String,
}

/// What an instance is started with.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Instance id (`i-...`).
    pub id: String,
    /// User data as the instance reads it (not base64).
    pub user_data: Vec<u8>,
    /// Name of the instance's role; none without an instance profile.
    pub role_name: Option<String>,
    /// Credentials of that role; none without an instance profile.
    pub role_credentials: Option<Credentials>,
    /// Region (`eu-central-1`).
    pub region: String,
    /// Availability zone (`eu-central-1a`).
    pub zone: String,
    /// Instance type (`c7g.large`).
    pub instance_type: String,
    /// Image id (`ami-...`).
    pub image: String,
    /// Started in the spot market.
    pub spot: bool,
}

/// A started instance's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The address inside the instance (`10.x.y.z`).
    pub private_ip: Ipv4Addr,
    /// The address on the host that is relayed into the instance (`127.x.y.z`).
    pub public_ip: Ipv4Addr,
}

/// All volumes, snapshots and instances of one twin. A clone is the same machines.
#[derive(Clone)]
pub struct Machines {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    programs: Programs,
    endpoint: SocketAddr,
    volumes: Volumes,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
    ended: UnboundedSender<String>,
    exits: Mutex<Option<UnboundedReceiver<String>>>,
}

impl Machines {
    /// Opens the loop store under `dir` (made on first use) and offers `endpoint`, an address of the host, inside every
    /// instance as `http://169.254.169.254:4566`. Fails if another twin holds `dir`.
    pub async fn open(dir: &Path, programs: Programs, endpoint: SocketAddr) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot open {}", dir.display()))?;
        let store = dir.clone();
        let volumes = blocking(move || {
            let volumes = Volumes::open(&store)?;
            instance::forget(&store)?;
            Ok(volumes)
        })
        .await?;
        let (ended, exits) = unbounded_channel();
        let instances = Mutex::default();
        let exits = Mutex::new(Some(exits));
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                programs,
                endpoint,
                volumes,
                instances,
                ended,
                exits,
            }),
        })
    }

    /// Fails if this image is a tree that is not there.
    pub fn check_image(&self, image: &str) -> Result<()> {
        image::tree(self.inner.programs.images.as_deref(), image).map(drop)
    }

    /// Makes a volume of `gib` GiB, blank or with a snapshot's content. Fails if the id exists, or the snapshot is larger.
    pub async fn create_volume(&self, volume: &str, gib: u32, snapshot: Option<&str>) -> Result<()> {
        let (inner, volume, snapshot) = (self.inner.clone(), volume.to_owned(), snapshot.map(str::to_owned));
        blocking(move || inner.volumes.create(&volume, gib, snapshot.as_deref())).await
    }

    /// Deletes a volume; one that does not exist is fine. Fails while it is attached.
    pub async fn delete_volume(&self, volume: &str) -> Result<()> {
        if let Some(holder) = self.holder(volume) {
            bail!("{volume} is attached to {holder}: detach it first");
        }
        let (inner, volume) = (self.inner.clone(), volume.to_owned());
        blocking(move || inner.volumes.delete(&volume)).await
    }

    /// Grows a volume to `gib` GiB, also while it is attached. Fails if it is larger already: volumes never shrink.
    pub async fn modify_volume(&self, volume: &str, gib: u32) -> Result<()> {
        let instance = self.holder(volume).and_then(|id| self.find(&id));
        let (inner, volume) = (self.inner.clone(), volume.to_owned());
        blocking(move || {
            inner.volumes.grow(&volume, gib)?;
            instance.map_or(Ok(()), |instance| instance.resized(&volume))
        })
        .await
    }

    /// Clones a volume as it is on its device now: of a mounted one, what a power cut would leave.
    pub async fn create_snapshot(&self, volume: &str, snapshot: &str) -> Result<()> {
        let (inner, volume, snapshot) = (self.inner.clone(), volume.to_owned(), snapshot.to_owned());
        blocking(move || inner.volumes.snapshot(&volume, &snapshot)).await
    }

    /// Deletes a snapshot; one that does not exist is fine. Volumes made from it keep their content.
    pub async fn delete_snapshot(&self, snapshot: &str) -> Result<()> {
        self.delete_volume(snapshot).await
    }

    /// Starts an instance and its agent; returns when the agent runs.
    pub async fn start(&self, spec: InstanceSpec) -> Result<Running> {
        let id = spec.id.clone();
        ensure!(self.find(&id).is_none(), "{id} runs already");
        let (instance, end) = Instance::start(&self.inner.dir, &self.inner.programs, self.inner.endpoint, spec)
            .await
            .with_context(|| format!("cannot start {id}"))?;
        let running = instance.running;
        self.inner
            .instances
            .lock()
            .expect("no panic holds it")
            .insert(id.clone(), instance.clone());
        let inner = self.inner.clone();
        tokio::spawn(async move {
            end.wait_and_clear().await;
            inner.instances.lock().expect("no panic holds it").remove(&id);
            if !instance.terminating() {
                // Nobody listens after the twin itself has ended.
                inner.ended.send(id).ok();
            }
            instance.set_gone();
        });
        Ok(running)
    }

    /// Attaches a volume: a loop device, its node and the by-id link appear in the instance's `/dev`.
    pub async fn attach(&self, instance: &str, volume: &str) -> Result<()> {
        let machine = self.running(instance)?;
        if let Some(holder) = self.holder(volume) {
            bail!("{volume} is attached to {holder} already");
        }
        let (inner, volume) = (self.inner.clone(), volume.to_owned());
        blocking(move || machine.attach(&volume, &inner.volumes.free(&volume)?)).await
    }

    /// Detaches a volume: link, node and loop device go. Fails, and changes nothing, while the instance has it mounted: AWS
    /// shows such a volume as `detaching`, so try again. A volume or an instance that is not there is fine.
    pub async fn detach(&self, instance: &str, volume: &str) -> Result<()> {
        let Some(machine) = self.find(instance) else {
            return Ok(());
        };
        let volume = volume.to_owned();
        blocking(move || machine.detach(&volume)).await
    }

    /// Shuts an instance down as AWS does: SIGTERM to the agent, after a bounded wait SIGKILL to everything. Returns when
    /// nothing of it is left but its console. An instance that is not there is fine.
    pub async fn terminate(&self, instance: &str) -> Result<()> {
        match self.find(instance) {
            Some(machine) => machine.terminate().await,
            None => Ok(()),
        }
    }

    /// Kills an instance at once, as a failed host would. Returns when nothing of it is left but its console.
    pub async fn vanish(&self, instance: &str) -> Result<()> {
        self.running(instance)?.vanish().await
    }

    /// Lets all processes of an instance stand still, as a hanging kernel would.
    pub async fn hang(&self, instance: &str) -> Result<()> {
        self.running(instance)?.hang()
    }

    /// Announces an interruption in two minutes to a spot instance. What follows is up to the caller.
    pub async fn spot_notice(&self, instance: &str) -> Result<()> {
        self.running(instance)?.spot_notice();
        Ok(())
    }

    /// The end of what the agent wrote to stdout and stderr (64 KiB, as GetConsoleOutput gives), also after its end.
    pub async fn console(&self, instance: &str) -> Result<String> {
        let (inner, instance) = (self.inner.clone(), instance.to_owned());
        blocking(move || instance::console(&inner.dir, &instance)).await
    }

    /// Ids of instances that ended in any way but [`Machines::terminate`]: powered off, crashed, vanished. Can be taken
    /// once; a second call is a programming error and panics.
    pub fn exits(&self) -> UnboundedReceiver<String> {
        self.inner
            .exits
            .lock()
            .expect("no panic holds it")
            .take()
            .expect("exits() is taken once")
    }

    fn find(&self, instance: &str) -> Option<Arc<Instance>> {
        self.inner
            .instances
            .lock()
            .expect("no panic holds it")
            .get(instance)
            .cloned()
    }

    fn running(&self, instance: &str) -> Result<Arc<Instance>> {
        self.find(instance)
            .with_context(|| format!("{instance} is not running"))
    }

    /// The instance that a volume is attached to.
    fn holder(&self, volume: &str) -> Option<String> {
        let instances = self.inner.instances.lock().expect("no panic holds it");
        instances
            .iter()
            .find(|(_, machine)| machine.has(volume))
            .map(|(id, _)| id.clone())
    }
}

/// Runs what waits for the kernel or for a program off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a task panicked")?
}
