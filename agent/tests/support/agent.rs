//! The agent as a process, as on an instance: own mounts, an unprivileged user, `/dev/fuse`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::Pid;

use super::devices::{by_id, private_place};
use super::metadata::Metadata;
use super::s3::S3;

/// A running agent. Killed when dropped.
pub struct Agent {
    process: Child,
    log: PathBuf,
}

/// Where the agent mounts a worker's volumes.
pub fn root(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// Makes this thread's view of the machine an instance's: a folder of its own, `/dev/fuse` for everybody, and the
/// programs. Returns the folder.
pub fn become_instance() -> PathBuf {
    let folder = private_place();
    // tup runs as nobody, who need not be able to read the folder that this test was built in.
    let (bin, fuse) = (folder.join("bin"), folder.join("fuse"));
    fs::create_dir(&bin).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_vibes-agent"));
    for program in ["vibes-agent", "vibes-compile"] {
        let from = built.with_file_name(program);
        fs::copy(&from, bin.join(program)).unwrap_or_else(|error| {
            panic!("{}: {error}; `cargo build --workspace --bins` makes it", from.display());
        });
    }
    mknod(&fuse, SFlag::S_IFCHR, Mode::empty(), makedev(10, 229)).unwrap();
    fs::set_permissions(&fuse, fs::Permissions::from_mode(0o666)).unwrap();
    mount(Some(&fuse), "/dev/fuse", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let users = folder.join("passwd");
    fs::write(&users, USERS).unwrap();
    mount(
        Some(&users),
        "/etc/passwd",
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .unwrap();
    mount(None::<&str>, "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    folder
}

/// The users of the server's image that matter, beside those that every machine has.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh
sshd:x:102:65534::/run/sshd:/usr/sbin/nologin
vibes:x:900:65534::/nonexistent:/usr/sbin/nologin
rsync:x:901:65534::/:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

impl Agent {
    /// Starts it, with short periods.
    pub fn start(folder: &Path, s3: &S3, metadata: &Metadata, settings: &[(&str, &str)]) -> Self {
        let log = folder.join("console.txt");
        let console = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        // The kernel ends whatever the agent started with it, and it with `unshare`, and that with this test.
        let process = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .arg(folder.join("bin/vibes-agent"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint)
            .env("AWS_ENDPOINT_URL", &s3.endpoint)
            .env("VIBES_ROOT", root(folder))
            .env("VIBES_SERVE_ROOT", folder.join("serve"))
            .env("VIBES_DEVICES", by_id(folder))
            .env("VIBES_USER", "nobody")
            .env(
                "VIBES_POWER_OFF",
                format!("touch {}", folder.join("powered-off").display()),
            )
            .env("VIBES_STATUS_SECONDS", "1")
            .env("VIBES_CONTROL_SECONDS", "1")
            .env("VIBES_SPOT_SECONDS", "1")
            .env("VIBES_SERVE_SECONDS", "1")
            .env("VIBES_DRAIN_SECONDS", "60")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        Self { process, log }
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                began.elapsed() < Duration::from_secs(120),
                "the agent does not end:\n{}",
                self.console()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Tells it that the machine shuts down.
    pub fn shut_down(&self) {
        let unshare = self.process.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        kill(Pid::from_raw(children.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Everything that it said.
    pub fn console(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.console());
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
