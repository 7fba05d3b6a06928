//! The agent as a server: releases side by side, whole per connection, gone when nobody reads them any more.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use contract::job::{Role, UserData};
use contract::objects;
use contract::serve::{MountedRelease, ServerStatus, Volumes};
use support::agent::{Agent, become_instance};
use support::devices::{Volume, run};
use support::metadata::Metadata;
use support::s3::{S3, STATE};

struct World {
    s3: S3,
    folder: PathBuf,
    port: String,
    volumes: Vec<Volume>,
}

impl World {
    async fn new() -> Self {
        let folder = become_instance();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        Self {
            s3: S3::start().await,
            folder,
            port,
            volumes: Vec::new(),
        }
    }

    fn path(&self) -> &Path {
        &self.folder
    }

    /// Attaches a builds volume that holds these outputs.
    fn attach(&mut self, id: &str, outputs: &[(&str, &[u8])]) {
        let volume = Volume::attach(self.path(), id, 64);
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

    /// What the function serve writes.
    async fn wish(&self, current: &str, releases: &[(&str, &[&str])]) {
        let named = |(release, volumes): &(&str, &[&str])| MountedRelease {
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

    async fn status(&self) -> Option<ServerStatus> {
        self.s3.get(objects::SERVE_STATUS).await
    }

    async fn until(&self, agent: &Agent, like_this: impl Fn(&ServerStatus) -> bool) -> ServerStatus {
        for _ in 0..300 {
            match self.status().await {
                Some(status) if like_this(&status) => return status,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("it never came to that: {:?}\n{}", self.status().await, agent.console());
    }

    fn url(&self, module: &str) -> String {
        format!("rsync://127.0.0.1:{}/{module}", self.port)
    }

    /// Pulls a module; returns the folder.
    fn pull(&self, module: &str, to: &str) -> PathBuf {
        let to = self.path().join(to);
        run(
            "rsync",
            &["--archive", &self.url(&format!("{module}/")), to.to_str().unwrap()],
        );
        to
    }
}

#[tokio::test]
async fn a_release_is_whole_per_connection_and_goes_when_nobody_reads_it() {
    let mut world = World::new().await;
    let (old, new) = (vec![1_u8; 8 << 20], vec![2_u8; 8 << 20]);
    world.attach("vol-0a", &[("home/a/big.flac", &old), ("phone/a/1.opus", b"1")]);
    world.attach("vol-0b", &[("home/b/2.flac", b"2")]);
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
    let agent = Agent::start(world.path(), &world.s3, &metadata, &[("VIBES_RSYNC_PORT", &world.port)]);

    let status = world.until(&agent, |status| status.sequence > 1).await;
    assert_eq!(
        (status.current, status.problem),
        (None, None),
        "nothing to serve is no problem"
    );
    let r1: (&str, &[&str]) = ("b-00001", &["vol-0a", "vol-0b"]);
    world.wish("b-00001", &[r1]).await;
    world
        .until(&agent, |status| status.current.as_deref() == Some("b-00001"))
        .await;
    let list = run("rsync", &[&world.url("")]);
    assert!(list.contains("home") && list.contains("phone"), "{list}");
    let pulled = world.pull("home", "home-1");
    assert_eq!(fs::read(pulled.join("a/big.flac")).unwrap(), old);
    assert_eq!(fs::read(pulled.join("b/2.flac")).unwrap(), b"2", "shards are joined");
    assert_eq!(fs::read(world.pull("phone", "phone-1").join("a/1.opus")).unwrap(), b"1");
    let push = Command::new("rsync")
        .arg(world.path().join("bin/vibes-agent"))
        .arg(world.url("home/"))
        .output()
        .unwrap();
    assert!(!push.status.success(), "a module is read-only");

    // A slow client begins to read the old release ...
    let slow = world.path().join("slow");
    let mut reader = Command::new("rsync")
        .args(["--archive", "--bwlimit=2m", &world.url("home/"), slow.to_str().unwrap()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    while !slow.join("a").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // ... and while it does, the new one comes.
    let r2: (&str, &[&str]) = ("b-00002", &["vol-0c"]);
    world.wish("b-00002", &[r1, r2]).await;
    let status = world.until(&agent, |status| status.problem.is_some()).await;
    assert!(status.problem.unwrap().contains("not attached yet"));
    assert_eq!(
        status.current.as_deref(),
        Some("b-00001"),
        "the old one is served until the new one is there"
    );
    world.attach("vol-0c", &[("home/a/big.flac", &new)]);
    world
        .until(&agent, |status| status.current.as_deref() == Some("b-00002"))
        .await;
    world.wish("b-00002", &[r2]).await;
    assert_eq!(fs::read(world.pull("home", "home-2").join("a/big.flac")).unwrap(), new);
    assert!(
        fs::read_dir(world.pull("phone", "phone-2")).unwrap().next().is_none(),
        "a profile without outputs"
    );
    let status = world.status().await.unwrap();
    assert_eq!(
        status.mounted,
        ["b-00001", "b-00002"],
        "somebody still reads the old one"
    );
    assert!(
        reader.try_wait().unwrap().is_none(),
        "the slow client was too fast for this test"
    );
    while reader.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        fs::read(slow.join("a/big.flac")).unwrap(),
        old,
        "it got the release that it began with"
    );
    assert_eq!(fs::read(slow.join("b/2.flac")).unwrap(), b"2");
    let status = world.until(&agent, |status| status.mounted == ["b-00002"]).await;
    assert_eq!(status.problem, None);

    agent.shut_down();
    assert!(agent.ended().await.success());
    assert_eq!(world.status().await.unwrap().mounted, [""; 0]);
    assert!(!world.path().join("serve/b-00002").exists(), "it is unmounted");
    assert!(world.path().join("powered-off").exists());
}
