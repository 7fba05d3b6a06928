//! An instance: namespaces with the agent in them, its devices, its network, and the orderly end of all that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::devices::Devices;
use super::metadata::{Metadata, hostname};
use super::network::{METADATA, Network};
use super::relay::relay;
use super::{InstanceSpec, Programs, Running, address, blocking, image, init};

/// Port of the AWS endpoint on the metadata address.
const ENDPOINT_PORT: u16 = 4566;

/// Port of the metadata service.
const METADATA_PORT: u16 = 80;

/// How long the agent may take to stop cleanly. AWS gives minutes; what an agent does on SIGTERM (end its jobs, unmount,
/// write its status) takes seconds, and a twin that hangs is a worse teacher than one that kills.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Making the root takes 20 ms; a machine that compiles on all cores meanwhile gets more.
const BOOT_WAIT: Duration = Duration::from_secs(30);

/// As much as GetConsoleOutput gives.
const CONSOLE_BYTES: u64 = 64 << 10;

/// A started instance, as long as it lives.
pub(super) struct Instance {
    pub(super) running: Running,
    init: Pid,
    devices: Arc<Devices>,
    metadata: Arc<Metadata>,
    terminating: AtomicBool,
    gone: watch::Sender<bool>,
}

/// What remains to be waited for and cleared.
pub(super) struct End {
    id: String,
    child: Child,
    services: JoinSet<()>,
    devices: Arc<Devices>,
    place: Place,
}

impl Instance {
    /// Starts the namespaces, lays the network, opens the services and lets the agent run.
    pub(super) async fn start(
        dir: &Path,
        programs: &Programs,
        endpoint: SocketAddr,
        spec: InstanceSpec,
    ) -> Result<(Arc<Self>, End)> {
        let id = spec.id.clone();
        let tree = image::tree(programs.images.as_deref(), &spec.image)?;
        let place = Place::make(dir, &id)?;
        let devices = Arc::new(Devices::fill(&place.dev())?);
        let (running, public) = address::claim(&id)?;
        let description = init::Spec {
            root: place.root(),
            dev: place.dev(),
            hostname: hostname(running.private_ip),
            tree,
            programs: BTreeMap::from([
                ("vibes-agent".to_owned(), programs.agent.clone()),
                ("vibes-compile".to_owned(), programs.compile.clone()),
            ]),
            environment: environment(&spec, programs),
        };
        std::fs::write(place.spec(), serde_json::to_vec(&description)?).context("cannot write the instance's spec")?;

        let mut child = spawn(&programs.init, &place)?;
        match bring_up(&mut child, spec, running, public, endpoint).await {
            Ok((init, metadata, services)) => {
                let (gone, _) = watch::channel(false);
                let terminating = AtomicBool::new(false);
                let instance = Self {
                    running,
                    init,
                    devices: devices.clone(),
                    metadata,
                    terminating,
                    gone,
                };
                Ok((
                    Arc::new(instance),
                    End {
                        id,
                        child,
                        services,
                        devices,
                        place,
                    },
                ))
            }
            Err(error) => {
                give_up(child).await;
                Err(error.context(format!("its console says {:?}", place.last_words())))
            }
        }
    }

    /// Shows a volume in the instance.
    pub(super) fn attach(&self, volume: &str, backing: &Path) -> Result<()> {
        self.devices.attach(volume, backing)
    }

    /// Takes a volume away from the instance; absent is fine.
    pub(super) fn detach(&self, volume: &str) -> Result<()> {
        self.devices.detach(volume)
    }

    /// Shows the new size of a volume.
    pub(super) fn resized(&self, volume: &str) -> Result<()> {
        self.devices.resized(volume)
    }

    /// Whether this volume is attached.
    pub(super) fn has(&self, volume: &str) -> bool {
        self.devices.has(volume)
    }

    /// Announces an interruption.
    pub(super) fn spot_notice(&self) {
        self.metadata.interrupt();
    }

    /// SIGTERM, a bounded wait, SIGKILL; returns when the end has been cleared.
    pub(super) async fn terminate(&self) -> Result<()> {
        self.terminating.store(true, Ordering::Relaxed);
        self.signal(Signal::SIGTERM)?;
        if tokio::time::timeout(STOP_WAIT, self.wait_gone()).await.is_err() {
            self.signal(Signal::SIGKILL)?;
            self.wait_gone().await;
        }
        Ok(())
    }

    /// SIGKILL; returns when the end has been cleared.
    pub(super) async fn vanish(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait_gone().await;
        Ok(())
    }

    /// Stops all its processes, for ever.
    pub(super) fn hang(&self) -> Result<()> {
        self.signal(Signal::SIGUSR1)
    }

    /// Whether its end was asked for by `terminate`.
    pub(super) fn terminating(&self) -> bool {
        self.terminating.load(Ordering::Relaxed)
    }

    /// Lets everybody go on who waits for its end.
    pub(super) fn set_gone(&self) {
        self.gone.send_replace(true);
    }

    async fn wait_gone(&self) {
        // The sender lives as long as we do.
        self.gone
            .subscribe()
            .wait_for(|gone| *gone)
            .await
            .expect("the sender is alive");
    }

    /// The kernel ends the whole namespace with its init, and reports the end when nothing is left of it.
    fn signal(&self, signal: Signal) -> Result<()> {
        match kill(self.init, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).context("cannot signal the instance"),
        }
    }
}

impl End {
    /// Waits until the namespaces are gone, then gives back sockets, devices and directories. An undo must not fail: what
    /// cannot be given back is logged.
    pub(super) async fn wait_and_clear(mut self) {
        match self.child.wait().await {
            Ok(status) => tracing::info!("{} ended ({status})", self.id),
            Err(error) => tracing::error!("cannot wait for {}: {error}", self.id),
        }
        self.services.shutdown().await;
        let (devices, place) = (self.devices, self.place);
        let cleared = blocking(move || {
            let cleared = devices.clear();
            drop(place);
            cleared
        });
        if let Err(error) = cleared.await {
            tracing::error!("cannot clear {}: {error:#}", self.id);
        }
    }
}

/// The end of an instance's console.
pub(super) fn console(dir: &Path, id: &str) -> Result<String> {
    let path = dir.join("instances").join(id).join("console.log");
    let mut file = File::open(&path).with_context(|| format!("{id} has no console"))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives back what a killed twin left of its instances, their consoles excepted.
pub(super) fn forget(dir: &Path) -> Result<()> {
    let instances = dir.join("instances");
    std::fs::create_dir_all(&instances).with_context(|| format!("cannot make {}", instances.display()))?;
    for entry in std::fs::read_dir(&instances)? {
        drop(Place(entry?.path()));
    }
    Ok(())
}

/// DIR/instances/ID. Only the console in it outlives the instance.
struct Place(PathBuf);

impl Place {
    fn make(dir: &Path, id: &str) -> Result<Self> {
        let path = dir.join("instances").join(id);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let place = Self(path);
        std::fs::create_dir(place.root())?;
        std::fs::create_dir(place.dev())?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(
            Some("dev"),
            &place.dev(),
            Some("tmpfs"),
            flags,
            Some("mode=0755,size=64m"),
        )
        .with_context(|| format!("cannot mount a tmpfs at {}", place.dev().display()))?;
        Ok(place)
    }

    /// Where the init mounts the instance's root, in its own mount namespace.
    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn dev(&self) -> PathBuf {
        self.0.join("dev")
    }

    fn spec(&self) -> PathBuf {
        self.0.join("init.json")
    }

    fn console(&self) -> PathBuf {
        self.0.join("console.log")
    }

    fn last_words(&self) -> String {
        std::fs::read_to_string(self.console())
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Not mounted or not there is what is wanted.
        umount2(&self.dev(), MntFlags::MNT_DETACH).ok();
        std::fs::remove_dir(self.dev()).ok();
        std::fs::remove_dir(self.root()).ok();
        std::fs::remove_file(self.spec()).ok();
        // Stays if it holds a console.
        std::fs::remove_dir(&self.0).ok();
    }
}

/// The environment of the agent besides what its unit or its init sets.
fn environment(spec: &InstanceSpec, programs: &Programs) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([
        (
            "AWS_ENDPOINT_URL".to_owned(),
            format!("http://{METADATA}:{ENDPOINT_PORT}"),
        ),
        ("AWS_REGION".to_owned(), spec.region.clone()),
    ]);
    environment.extend(programs.agent_env.iter().cloned());
    environment
}

/// Starts the init in new namespaces, which end with it, and it with `unshare`, and that with us.
fn spawn(program: &Path, place: &Place) -> Result<Child> {
    let console = File::create(place.console()).context("cannot make the console")?;
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--net",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "--",
    ]);
    command.arg(program).arg("machine-init").arg(place.spec());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(console)
        .kill_on_drop(true);
    command.spawn().context("cannot run unshare: install util-linux")
}

/// From the first sign of life to the running agent. The way to the init closes with this function.
async fn bring_up(
    child: &mut Child,
    spec: InstanceSpec,
    running: Running,
    public: Vec<std::net::TcpListener>,
    endpoint: SocketAddr,
) -> Result<(Pid, Arc<Metadata>, JoinSet<()>)> {
    let mut stdin = child.stdin.take().context("no way to the init")?;
    let init = booted(child).await.context("it did not boot")?;
    let network = blocking(move || Network::lay(init, running.private_ip)).await?;
    let metadata = Metadata::new(spec, running);
    let services = serve(&network, metadata.clone(), public, endpoint).await?;
    stdin.write_all(b"go\n").await.context("the init is gone")?;
    Ok((init, metadata, services))
}

/// Waits for the end of an init that was not told to go on: it ends by itself when the way to it closes.
async fn give_up(mut child: Child) {
    if tokio::time::timeout(BOOT_WAIT, child.wait()).await.is_err() {
        child
            .kill()
            .await
            .inspect_err(|error| tracing::error!("cannot kill a failed instance: {error}"))
            .ok();
    }
}

/// Waits for the init's number.
async fn booted(child: &mut Child) -> Result<Pid> {
    let stdout = child.stdout.take().context("no way from the init")?;
    let mut line = String::new();
    match tokio::time::timeout(BOOT_WAIT, BufReader::new(stdout).read_line(&mut line)).await {
        Ok(read) => read.context("cannot hear the init")?,
        Err(_) => bail!("no sign of life within {BOOT_WAIT:?}"),
    };
    let number = line
        .trim()
        .parse()
        .with_context(|| format!("the init said {line:?} instead of its number"))?;
    Ok(Pid::from_raw(number))
}

/// Opens metadata service, AWS endpoint and the relay of the public address.
async fn serve(
    network: &Network,
    metadata: Arc<Metadata>,
    public: Vec<std::net::TcpListener>,
    endpoint: SocketAddr,
) -> Result<JoinSet<()>> {
    let inside = network.clone();
    let (service, aws) = blocking(move || Ok((inside.listen(METADATA_PORT)?, inside.listen(ENDPOINT_PORT)?))).await?;
    let mut services = JoinSet::new();
    let service = listener(service)?;
    services.spawn(async move {
        if let Err(error) = axum::serve(service, metadata.routes()).await {
            tracing::error!("the metadata service ended: {error}");
        }
    });
    services.spawn(relay(listener(aws)?, move || {
        Ok(std::net::TcpStream::connect(endpoint)?)
    }));
    for outer in public {
        let (port, inside) = (outer.local_addr()?.port(), network.clone());
        services.spawn(relay(listener(outer)?, move || inside.connect(port)));
    }
    Ok(services)
}

fn listener(listener: std::net::TcpListener) -> Result<TcpListener> {
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}
