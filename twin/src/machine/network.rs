//! An instance's network: one cable between its own namespace and a second one, where the metadata service listens.
//!
//! The metadata address is not on the instance itself, because a server inside that listens on port 80 of every address
//! would then collide with it. Nothing is added to the host's own network.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;

/// Where every instance finds the metadata service and the AWS endpoint.
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Inside one machine a connection is accepted, refused, or its listener is stuck.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The two network namespaces. They end when this, the instance and every socket in them are gone.
#[derive(Clone)]
pub(super) struct Network {
    instance: Arc<File>,
    metadata: Arc<File>,
    private_ip: Ipv4Addr,
}

impl Network {
    /// Gives the process' namespace an `eth0` with this address, and reaches it from a new namespace. Blocks.
    pub(super) fn lay(process: Pid, private_ip: Ipv4Addr) -> Result<Self> {
        let path = format!("/proc/{process}/ns/net");
        let instance = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        let metadata = on_own_thread(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })
        .context("cannot make a network namespace")?;
        let network = Self {
            instance: instance.into(),
            metadata: metadata.into(),
            private_ip,
        };
        network.within(&network.metadata, move || {
            ip(&format!(
                "link set lo up\n\
                 link add metadata type veth peer name eth0 netns {process}\n\
                 address add {METADATA}/32 dev metadata\n\
                 link set metadata up\n\
                 route add {private_ip} dev metadata\n"
            ))
        })?;
        network.within(&network.instance, move || {
            ip(&format!(
                "link set lo up\n\
                 address add {private_ip}/32 dev eth0\n\
                 link set eth0 up\n\
                 route add {METADATA} dev eth0\n"
            ))
        })?;
        Ok(network)
    }

    /// Listens on a port of the metadata address. Blocks shortly.
    pub(super) fn listen(&self, port: u16) -> Result<TcpListener> {
        self.within(&self.metadata, move || TcpListener::bind((METADATA, port)))
            .with_context(|| format!("cannot listen on {METADATA}:{port}"))
    }

    /// Connects to a port of the instance, as from outside. Blocks shortly.
    pub(super) fn connect(&self, port: u16) -> Result<TcpStream> {
        let address = SocketAddr::from((self.private_ip, port));
        self.within(&self.instance, move || {
            TcpStream::connect_timeout(&address, CONNECT_WAIT)
        })
        .with_context(|| format!("cannot connect to {address}"))
    }

    fn within<T: Send>(&self, namespace: &File, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
        Ok(on_own_thread(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        })?)
    }
}

/// A thread that has changed its namespace must not be used for anything else: this one ends with its work.
fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// Runs iproute2 on several lines, in the thread's namespace.
fn ip(lines: &str) -> io::Result<()> {
    let mut command = Command::new("ip");
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run ip: install iproute2 ({error})")))?;
    io::Write::write_all(&mut child.stdin.take().expect("is piped"), lines.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "ip failed on {lines:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
