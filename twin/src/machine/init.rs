//! The first process of an instance: makes its root directory, runs the agent, and takes the instance along when that ends.
//!
//! It speaks to the twin over its standard streams: the process id that the twin knows it by goes out when the root is
//! ready, one line comes back when network and metadata are; standard error is the console.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pivot_root};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::image;

/// What the host has under these names is not shown: they are made for every instance. `/root` is among them because the
/// credentials in a person's `~/.aws` would win over the instance's role.
const OWN: [&str; 8] = ["dev", "proc", "root", "run", "srv", "sys", "tmp", "var"];

/// Directories that an instance finds empty and writable.
const EMPTY: [(&str, u32); 9] = [
    ("root", 0o700),
    ("run", 0o755),
    ("run/vibes/bin", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var/lib/vibes", 0o755),
    ("var/log", 0o755),
    ("var/cache", 0o755),
    ("var/tmp", 0o1777),
];

/// The users of an instance: the image has more, the agent needs these.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
sshd:x:102:65534::/run/sshd:/usr/sbin/nologin
vibes:x:900:900:vibes:/var/lib/vibes:/usr/sbin/nologin
rsync:x:901:901:rsync:/:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

/// The groups of those users.
const GROUP: &str = "root:x:0:
vibes:x:900:
rsync:x:901:
nogroup:x:65534:
";

/// Where the agent and its helpers are found; ours first.
const PATH: &str = "/run/vibes/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the twin tells the init of an instance (a JSON file).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    /// An empty directory for the instance's root.
    pub(super) root: PathBuf,
    /// The directory that the twin keeps as the instance's `/dev`.
    pub(super) dev: PathBuf,
    /// Host name.
    pub(super) hostname: String,
    /// The image, if it is a tree of its own; else the instance sees the host's directories.
    pub(super) tree: Option<PathBuf>,
    /// Programs by the name that they have in an instance without a tree.
    pub(super) programs: BTreeMap<String, PathBuf>,
    /// Environment of the agent besides what its unit or we set.
    pub(super) environment: BTreeMap<String, String>,
}

/// Runs an instance from its spec, until its agent ends; fails if the agent did.
pub fn run(spec: &Path) -> Result<()> {
    // Handled, not blocked: the agent would inherit a mask, and never hear that it shall stop.
    let mut signals = Signals::new([SIGTERM, SIGCHLD, SIGUSR1]).context("cannot handle signals")?;
    // Read before the instance has its own /proc: this is the number that the twin sees.
    let number = std::fs::read_link("/proc/self").context("cannot read /proc/self")?;
    ensure!(
        std::process::id() == 1,
        "machine-init is the first process of an instance; the twin starts it"
    );
    let text = std::fs::read(spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let spec: Spec = serde_json::from_slice(&text).context("cannot read the instance's spec")?;
    enter_root(&spec)?;
    std::fs::write("/proc/sys/kernel/hostname", &spec.hostname).context("cannot set the host name")?;
    println!("{}", number.display());
    std::io::stdout().flush().context("the twin is gone")?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot hear the twin")?;
    ensure!(!line.is_empty(), "the twin gave up on this instance");
    let status = run_agent(&spec, &mut signals)?;
    ensure!(status.success(), "the agent failed ({status})");
    Ok(())
}

/// Makes the instance's root, adds what a kernel and udev would, and leaves the host's root behind.
fn enter_root(spec: &Spec) -> Result<()> {
    let none = None::<&str>;
    mount(
        Some("root"),
        &spec.root,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .context("cannot mount the root")?;
    let root = match &spec.tree {
        Some(tree) => image::show(tree, &spec.root)?,
        None => own_root(spec)?,
    };
    mount(Some(&spec.dev), &root.join("dev"), none, MsFlags::MS_BIND, none).context("cannot mount /dev")?;
    let pts = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(
        Some("devpts"),
        &root.join("dev/pts"),
        Some("devpts"),
        MsFlags::MS_NOSUID,
        pts,
    )
    .context("cannot mount /dev/pts")?;
    mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::empty(), none).context("cannot mount /proc")?;
    mount(
        Some("sysfs"),
        &root.join("sys"),
        Some("sysfs"),
        MsFlags::MS_RDONLY,
        none,
    )
    .context("cannot mount /sys")?;

    let host = root.join("run/host");
    std::fs::create_dir(&host)?;
    pivot_root(&root, &host).context("cannot change the root")?;
    std::env::set_current_dir("/")?;
    umount2("/run/host", MntFlags::MNT_DETACH).context("cannot leave the host's root")?;
    std::fs::remove_dir("/run/host").context("cannot remove /run/host")
}

/// Makes a root of the host's directories (read-only) and of the instance's own.
fn own_root(spec: &Spec) -> Result<PathBuf> {
    let root = spec.root.clone();
    for (directory, mode) in EMPTY {
        let path = root.join(directory);
        DirBuilder::new()
            .recursive(true)
            .create(&path)
            .with_context(|| format!("cannot make /{directory}"))?;
        // Set afterwards, because mkdir obeys the umask.
        std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    show_host(&root)?;
    for (name, program) in &spec.programs {
        show_file(program, &root.join("run/vibes/bin").join(name))?;
    }
    for (name, content) in [("passwd", PASSWD), ("group", GROUP)] {
        let file = root.join("run/vibes").join(name);
        std::fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        bind(&file, &root.join("etc").join(name))?;
    }
    for directory in ["dev", "proc", "sys"] {
        DirBuilder::new().mode(0o755).create(root.join(directory))?;
    }
    Ok(root)
}

/// Shows the host's top-level directories read-only and its links (`/bin` is one) as they are. What is mounted further
/// down stays behind, the twin's store of volumes above all.
fn show_host(root: &Path) -> Result<()> {
    for entry in std::fs::read_dir("/").context("cannot list /")? {
        let entry = entry?;
        let (from, to) = (entry.path(), root.join(entry.file_name()));
        if OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(std::fs::read_link(&from)?, &to).with_context(|| format!("cannot link {}", to.display()))?;
        } else if kind.is_dir() {
            std::fs::create_dir(&to).with_context(|| format!("cannot make {}", to.display()))?;
            bind(&from, &to)?;
        }
    }
    Ok(())
}

fn show_file(from: &Path, to: &Path) -> Result<()> {
    File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
    bind(from, to)
}

/// Shows a file or directory at a second place, read-only.
fn bind(from: &Path, to: &Path) -> Result<()> {
    let none = None::<&str>;
    mount(Some(from), to, none, MsFlags::MS_BIND, none)
        .and_then(|()| {
            mount(
                none,
                to,
                none,
                MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
                none,
            )
        })
        .with_context(|| format!("cannot show {} in the instance", from.display()))
}

/// The agent of an instance without a tree.
fn own_agent() -> Command {
    let mut agent = Command::new("/run/vibes/bin/vibes-agent");
    agent.env_clear().env("PATH", PATH).env("HOME", "/root");
    // The end of the agent is the end of the machine: there is nothing left to switch off.
    agent.env("VIBES_POWER_OFF", "true");
    agent
}

/// Runs the agent to its end, passes SIGTERM on to it, lets everything hang on SIGUSR1, and reaps whatever else ends meanwhile.
fn run_agent(spec: &Spec, signals: &mut Signals) -> Result<ExitStatus> {
    let console = std::io::stderr();
    let mut agent = match &spec.tree {
        Some(_) => image::agent()?,
        None => own_agent(),
    };
    agent.envs(&spec.environment);
    agent.stdin(Stdio::null()).stdout(console).stderr(Stdio::inherit());
    let agent = agent.spawn().context("cannot run vibes-agent")?;
    let agent = Pid::from_raw(agent.id().try_into().context("a process id is positive")?);
    loop {
        for signal in signals.wait() {
            match signal {
                SIGTERM => kill(agent, Signal::SIGTERM).context("cannot stop the agent")?,
                // Everybody in this namespace but us.
                SIGUSR1 => kill(Pid::from_raw(-1), Signal::SIGSTOP).context("cannot stop all processes")?,
                _ => {}
            }
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)).context("cannot wait for processes")? {
                WaitStatus::Exited(pid, code) if pid == agent => return Ok(ExitStatus::from_raw(code << 8)),
                WaitStatus::Signaled(pid, signal, _) if pid == agent => {
                    return Ok(ExitStatus::from_raw(signal as i32));
                }
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
    }
}
