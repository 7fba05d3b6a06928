//! The twin's init: first process of the pid namespace, owner of everything the twin is made of.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::{Level, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Options;
use super::ready::{Ready, lock};
use crate::base::Base;
use crate::ec2::Ec2;
use crate::machine::{Machines, Programs};
use crate::port;
use crate::proxy::{self, Twin};

/// Instances that have not ended by then are killed with the namespace.
const INSTANCES_END_WITHIN: Duration = Duration::from_secs(10);

/// Runs the twin until SIGTERM; `parent` is the foreground process, whose death is this process's death.
pub fn run(parent: i32, options: Options) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The foreground process waits for its signals and has them blocked; we and our children have not.
    SigSet::all().thread_unblock()?;
    ensure!(std::io::stdin().read(&mut [0])? == 1, "the foreground process is gone");
    ensure!(
        nix::unistd::getpid().as_raw() == 1,
        "`inside` is not for people: use `vibes-twin start`"
    );
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    // Nothing mounted here shall be seen on the host, and /proc must be that of our pid namespace.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).context("cannot mount /proc")?;
    let wished = std::env::var("VIBES_TWIN_LOG").ok().and_then(|text| text.parse().ok());
    let filter: Targets = wished.unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    let lines = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).init();
    tokio::runtime::Runtime::new()?.block_on(serve(parent, options))
}

async fn serve(parent: i32, options: Options) -> Result<()> {
    let state = options.state.as_path();
    let Some(_lock) = lock(state)? else {
        bail!("a twin is already up in {}", state.display())
    };
    Ready::remove(state);
    let mut terminate = signal(SignalKind::terminate())?;

    let listener = port::listen(options.port, &state.join("port"))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let endpoint = listener.local_addr()?;
    let mut base = Base::start(&options.base, state, endpoint, options.wait_scale).await?;
    let programs = Programs {
        agent: options.agent.clone().context("no agent")?,
        compile: options.compile.clone().context("no compiler")?,
        init: PathBuf::from(format!("/proc/{}/exe", std::process::id())),
        images: options.images.clone(),
        agent_env: options.agent_env.clone(),
    };
    let machines = Machines::open(&state.join("machine"), programs, endpoint).await?;
    let twin = Twin::open(state, base.client().clone(), machines, options.wait_scale)?;
    tokio::spawn(Arc::clone(&twin.ec2).follow_exits());
    tokio::spawn(proxy::accept(listener, Arc::clone(&twin)));
    Ready {
        endpoint: format!("http://{endpoint}"),
        pid: parent,
    }
    .write(state)?;
    info!(%endpoint, "the twin is ready");

    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        status = base.ended() => Err(anyhow::anyhow!("the base ended by itself: {status:?}; see {}", base.log().display())),
    };
    info!("the twin ends");
    Ready::remove(state);
    end_instances(&twin.ec2).await;
    base.stop().await?;
    result
}

async fn end_instances(ec2: &Arc<Ec2>) {
    if timeout(INSTANCES_END_WITHIN, ec2.end_all()).await.is_err() {
        tracing::warn!(
            "some instances did not end within {} s and are killed",
            INSTANCES_END_WITHIN.as_secs()
        );
    }
}
