//! Runs a test in pid and mount namespaces of its own, with a fresh state directory, and checks what it leaves behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use twin::machine::{Credentials, InstanceSpec, Machines, Programs};

/// Tells the second run of the test binary that it is inside, and where.
const DIR: &str = "MACHINE_TEST_DIR";

/// Tells the inside that it will be killed.
const DOOMED: &str = "MACHINE_TEST_DOOMED";

/// Everything that a test waits for takes less than a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The inside of a test.
pub(crate) struct World {
    dir: PathBuf,
    endpoint: SocketAddr,
}

/// Runs the body of the test `name` inside, and fails if it fails or leaves something behind.
pub(crate) fn inside(name: &str, body: impl AsyncFnOnce(World)) {
    match std::env::var_os(DIR) {
        Some(dir) => run(dir.into(), body),
        None => outside(name, |dir| {
            assert!(
                enter(name, dir, false).wait().unwrap().success(),
                "{name} failed inside"
            )
        }),
    }
}

/// Runs the body twice on one state directory; the first run is killed where it calls `die`.
pub(crate) fn killed_once(name: &str, body: impl AsyncFnOnce(World)) {
    match std::env::var_os(DIR) {
        Some(dir) => run(dir.into(), body),
        None => outside(name, |dir| {
            let mut child = enter(name, dir, true);
            eventually("the first run waits for its death", || dir.join("doomed").exists());
            child.kill().unwrap();
            child.wait().unwrap();
            eventually("the killed twin leaves nothing", || left_behind(dir).is_empty());
            assert!(
                enter(name, dir, false).wait().unwrap().success(),
                "the second run failed"
            );
        }),
    }
}

/// Processes, mounts and loop devices that have to do with `dir`, as the host sees them.
fn left_behind(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let text = dir.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&text)).map(str::to_owned));
    // The devices of the volumes hold the store's filesystem, and that the store's device.
    found.extend(loops(&dir.join("store.xfs")));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let cwd = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
        let root = std::fs::read_link(process.path().join("root")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&text) || cwd.starts_with(dir) || root.starts_with(dir) {
            found.push(format!("{}: {command}", process.path().display()));
        }
    }
    found
}

/// An instance like any other.
pub(crate) fn spec(id: &str) -> InstanceSpec {
    InstanceSpec {
        id: id.to_owned(),
        user_data: br#"{"role":"worker"}"#.to_vec(),
        role_name: Some("worker".to_owned()),
        role_credentials: Some(Credentials {
            access_key: "key".to_owned(),
            secret_key: "secret".to_owned(),
            token: "token".to_owned(),
        }),
        region: "us-east-1".to_owned(),
        zone: "us-east-1a".to_owned(),
        instance_type: "c7g.large".to_owned(),
        image: "ami-1".to_owned(),
        spot: true,
    }
}

/// What a server answers to a plain GET; nothing if it closes the connection.
pub(crate) async fn get(address: Ipv4Addr, port: u16) -> String {
    let mut stream = TcpStream::connect((address, port)).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes at once may reset the connection.
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

impl World {
    /// Machines whose agent is a shell script made of these parts.
    pub(crate) async fn machines(&self, agent: &[&str]) -> Machines {
        self.try_machines(agent).await.unwrap()
    }

    /// The same, when it may fail.
    pub(crate) async fn try_machines(&self, agent: &[&str]) -> anyhow::Result<Machines> {
        let script = self.dir.join("agent");
        std::fs::write(&script, format!("#!/bin/sh\n{}\n", agent.join("\n"))).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let programs = Programs {
            agent: script,
            compile: "/usr/bin/true".into(),
            init: env!("CARGO_BIN_EXE_vibes-twin").into(),
            images: None,
            agent_env: vec![("EXTRA".to_owned(), "1".to_owned())],
        };
        Machines::open(&self.dir, programs, self.endpoint).await
    }

    /// Waits until the console has this text, and returns the console.
    pub(crate) async fn console(&self, machines: &Machines, id: &str, text: &str) -> String {
        let start = Instant::now();
        loop {
            let console = machines.console(id).await.unwrap();
            if console.contains(text) {
                return console;
            }
            assert!(start.elapsed() < PATIENCE, "{id} never says {text:?}:\n{console}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the check after every test would find now.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        left_behind(&self.dir)
    }

    /// No process but this one, no mount but the store, no device of a volume, no network namespace, no instance's files
    /// but its console: now, without waiting.
    pub(crate) fn assert_only_the_store_is_left(&self) {
        let numbers = entries(Path::new("/proc"))
            .into_iter()
            .filter(|name| name.parse::<u32>().is_ok());
        assert_eq!(numbers.collect::<Vec<_>>(), ["1"]);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let ours: Vec<_> = mounts
            .lines()
            .filter(|line| line.contains(self.dir.to_str().unwrap()))
            .collect();
        assert!(ours.len() == 1 && ours[0].contains(" xfs "), "{ours:?}");
        for volume in entries(&self.dir.join("store")) {
            assert_eq!(loops(&self.dir.join("store").join(&volume)), [""; 0], "{volume}");
        }
        for number in entries(Path::new("/proc/self/fd")) {
            let target = std::fs::read_link(Path::new("/proc/self/fd").join(number)).unwrap_or_default();
            assert!(
                !target.to_string_lossy().starts_with("net:"),
                "a network namespace is held"
            );
        }
        for instance in entries(&self.dir.join("instances")) {
            assert_eq!(entries(&self.dir.join("instances").join(instance)), ["console.log"]);
        }
    }

    /// Takes the agent away, so that no instance can start.
    pub(crate) fn remove_agent(&self) {
        std::fs::remove_file(self.dir.join("agent")).unwrap();
    }

    /// Whether this is the run that will be killed.
    pub(crate) fn doomed(&self) -> bool {
        std::env::var_os(DOOMED).is_some()
    }

    /// Waits to be killed from outside.
    pub(crate) fn die(&self) -> ! {
        std::fs::write(self.dir.join("doomed"), "").unwrap();
        loop {
            std::thread::park();
        }
    }
}

fn run(dir: PathBuf, body: impl AsyncFnOnce(World)) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                stream
                    .write_all(b"HTTP/1.0 200 OK\r\n\r\nthe endpoint of the host")
                    .await
                    .ok();
            }
        });
        body(World { dir, endpoint }).await;
    });
}

/// Gives the work a directory, looks at what is left, and keeps the directory if anything is wrong. It lies in the build
/// directory under the test's name: an interrupted run leaves one at most, and the next run takes it away.
fn outside(name: &str, work: impl FnOnce(&Path)) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests mount filesystems: run them as root"
    );
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    std::fs::create_dir_all(&dir).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        work(&dir);
        eventually("nothing is left behind", || left_behind(&dir).is_empty());
    }));
    if let Err(panic) = result {
        eprintln!("see {}; left behind: {:?}", dir.display(), left_behind(&dir));
        std::panic::resume_unwind(panic);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Runs one test of this program inside. It dies with the test's thread, so also when somebody interrupts the tests.
fn enter(name: &str, dir: &Path, doomed: bool) -> Child {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "-q"])
        .env(DIR, dir);
    if doomed {
        command.env(DOOMED, "1");
    }
    command.spawn().unwrap()
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "it takes too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn loops(backing: &Path) -> Vec<String> {
    if !backing.exists() {
        return Vec::new();
    }
    let output = Command::new("losetup")
        .arg("--associated")
        .arg(backing)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn entries(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
