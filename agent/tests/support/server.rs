//! A server's world: volumes with releases, an owner with a password and a key, and the clients that pull.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use contract::job::{Role, UserData};
use contract::objects;
use contract::serve::{Access, MountedRelease, ServerStatus, Volumes};

use super::agent::{Agent, become_instance};
use super::devices::{Volume, run};
use super::metadata::Metadata;
use super::s3::{S3, STATE};

/// The owner's password.
pub const PASSWORD: &str = "a-long:pa$$word#";

/// A release: its name, and its volumes in shard order.
pub type Named<'a> = (&'a str, &'a [&'a str]);

/// Everything that a server needs but the agent.
pub struct World {
    pub s3: S3,
    folder: PathBuf,
    ports: [String; 4],
    volumes: Vec<Volume>,
}

impl World {
    pub async fn new() -> Self {
        let folder = become_instance();
        // Held together until all are known, so that no two are the same.
        let listeners = [0; 4].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let key = folder.join("key");
        run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()],
        );
        Self {
            s3: S3::start().await,
            folder,
            ports: listeners.map(|listener| listener.local_addr().unwrap().port().to_string()),
            volumes: Vec::new(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Starts the agent as a server, with these settings beside its ports.
    pub async fn serve(&self, settings: &[(&str, &str)]) -> (Agent, Metadata) {
        let metadata = Metadata::start(&UserData {
            stack: "vibes".to_owned(),
            region: "us-east-1".to_owned(),
            state_bucket: STATE.to_owned(),
            role: Role::Server,
            build: None,
            shard: 0,
            attempt: 0,
        })
        .await;
        let names = [
            "VIBES_RSYNC_PORT",
            "VIBES_SSH_PORT",
            "VIBES_HTTP_PORT",
            "VIBES_HTTPS_PORT",
        ];
        let ports = names.into_iter().zip(self.ports.iter().map(String::as_str));
        let settings: Vec<_> = ports.chain(settings.iter().copied()).collect();
        (Agent::start(self.path(), &self.s3, &metadata, &settings), metadata)
    }

    /// Attaches a builds volume that holds these outputs.
    pub fn attach(&mut self, id: &str, outputs: &[(&str, &[u8])]) {
        let volume = Volume::attach(self.path(), id, 96);
        let (device, at) = (volume.device.to_str().unwrap(), self.path().join("fill"));
        fs::create_dir_all(&at).unwrap();
        run("mkfs.ext4", &["-q", device]);
        run("mount", &[device, at.to_str().unwrap()]);
        for (path, content) in outputs {
            let file = at.join("out").join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        run("umount", &[at.to_str().unwrap()]);
        self.volumes.push(volume);
    }

    /// Puts a link among the outputs of the volume that was attached last.
    pub fn link(&self, path: &str, target: &Path) {
        let (device, at) = (&self.volumes.last().unwrap().device, self.path().join("fill"));
        run("mount", &[device.to_str().unwrap(), at.to_str().unwrap()]);
        std::os::unix::fs::symlink(target, at.join("out").join(path)).unwrap();
        run("umount", &[at.to_str().unwrap()]);
    }

    /// What the function serve writes.
    pub async fn wish(&self, current: &str, releases: &[Named<'_>]) {
        let named = |(release, volumes): &Named| MountedRelease {
            release: release.to_string(),
            volumes: volumes.iter().map(|volume| volume.to_string()).collect(),
        };
        let volumes = Volumes {
            current: Some(current.to_owned()),
            releases: releases.iter().map(named).collect(),
            profiles: vec!["home".to_owned(), "phone".to_owned()],
        };
        self.s3.put(objects::SERVE_VOLUMES, &volumes).await;
    }

    /// What the function serve writes about who may pull: the owner's key, if at all, and this password.
    pub async fn grant(&self, password: Option<&str>, key: bool) {
        let access = Access {
            prefix: "/vibes".to_owned(),
            password: password.map(str::to_owned),
            keys: key.then(|| fs::read_to_string(self.path().join("key.pub")).unwrap()),
            domain: None,
        };
        self.s3.put(objects::SERVE_ACCESS, &access).await;
    }

    pub async fn status(&self) -> Option<ServerStatus> {
        self.s3.get(objects::SERVE_STATUS).await
    }

    /// Waits until the server's status is like this.
    pub async fn until(&self, agent: &Agent, like_this: impl Fn(&ServerStatus) -> bool) -> ServerStatus {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            match self.status().await {
                Some(status) if like_this(&status) => return status,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("it never came to that: {:?}\n{}", self.status().await, agent.console());
    }

    /// Waits until this release is served, and notes the server's key as a client does.
    pub async fn until_served(&self, agent: &Agent, release: &str) -> ServerStatus {
        let status = self
            .until(agent, |status| status.current.as_deref() == Some(release))
            .await;
        if let Some(key) = &status.host_key {
            let line = format!("[127.0.0.1]:{} {key}\n", self.ports[1]);
            fs::write(self.path().join("known_hosts"), line).unwrap();
        }
        status
    }

    /// Where the rsync daemon offers a module.
    pub fn rsync_url(&self, module: &str) -> String {
        format!("rsync://vibes@127.0.0.1:{}/{module}", self.ports[0])
    }

    /// Where HTTP offers a path.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.ports[2])
    }

    /// rsync, with the password for the daemon and the key for SSH.
    pub fn rsync(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("rsync");
        let ssh = format!("ssh -p {} {}", self.ports[1], self.ssh_options().join(" "));
        command
            .args(arguments)
            .env("RSYNC_RSH", ssh)
            .env("RSYNC_PASSWORD", PASSWORD);
        command
    }

    /// An SSH client (`ssh`, `sftp`) with the owner's key, which knows the server's.
    pub fn ssh(&self, client: &str) -> Command {
        let port = if client == "sftp" { "-P" } else { "-p" };
        let mut command = Command::new(client);
        command.args([port, &self.ports[1]]).args(self.ssh_options());
        command
    }

    fn ssh_options(&self) -> Vec<String> {
        let file = |name: &str| self.path().join(name).display().to_string();
        vec![
            "-F/dev/null".to_owned(),
            format!("-i{}", file("key")),
            format!("-oUserKnownHostsFile={}", file("known_hosts")),
            "-oStrictHostKeyChecking=yes".to_owned(),
            "-oBatchMode=yes".to_owned(),
        ]
    }

    /// SFTP with these commands; ends with the first that fails.
    pub fn sftp(&self, options: &[&str], commands: &str) -> Command {
        let batch = self.path().join(format!("batch-{}", commands.len()));
        fs::write(&batch, commands).unwrap();
        let mut command = self.ssh("sftp");
        command.arg("-b").arg(batch).args(options).arg("vibes@127.0.0.1");
        command
    }

    /// curl, with the password; an HTTP error is a failure.
    pub fn curl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command
            .args([
                "-sS",
                "--fail",
                "--noproxy",
                "*",
                "--user",
                &format!("vibes:{PASSWORD}"),
            ])
            .args(arguments);
        command
    }
}

/// Runs a client that must succeed, and returns what it printed.
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = answer(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

/// Runs a client that must fail, and returns everything that it said.
pub fn fail(command: &mut Command) -> String {
    let output = answer(command);
    assert!(
        !output.status.success(),
        "this must be refused: {command:?}: {output:?}"
    );
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn answer(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// A transfer that goes on while the test does. Killed when dropped.
pub struct Transfer {
    client: Child,
    /// What it writes.
    pub to: PathBuf,
}

impl Transfer {
    /// Begins it, and waits until something has arrived in `to`.
    pub async fn begin(command: &mut Command, to: &Path) -> Self {
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        while !arrives(to) {
            assert!(
                client.try_wait().unwrap().is_none(),
                "{command:?} ended before anything arrived"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            client,
            to: to.to_owned(),
        }
    }

    pub fn is_under_way(&mut self) -> bool {
        self.client.try_wait().unwrap().is_none()
    }

    /// Waits for its end; says whether it went well.
    pub async fn ended(&mut self) -> bool {
        loop {
            if let Some(status) = self.client.try_wait().unwrap() {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.client.kill().ok();
        self.client.wait().ok();
    }
}

/// Any byte: rsync writes into a temporary file beside the one that it brings.
fn arrives(to: &Path) -> bool {
    match fs::metadata(to) {
        Ok(found) if found.is_dir() => fs::read_dir(to).unwrap().any(|entry| arrives(&entry.unwrap().path())),
        Ok(found) => found.len() > 0,
        Err(_) => false,
    }
}
