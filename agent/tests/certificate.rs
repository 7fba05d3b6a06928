//! A server with a name in the DNS: it gets its certificate from an authority, as from the public ones, by ACME.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contract::objects;
use contract::serve::Access;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use support::devices::run;
use support::server::{PASSWORD, World, fail, succeed};

const NAME: &str = "music.example.org";
const AUTHORITY: &str = "authority.example.org";

/// A certificate authority that asks the name for proof. Ends with the test.
struct Authority {
    process: Child,
    root: PathBuf,
}

impl Authority {
    async fn start(folder: &Path) -> Self {
        let data = folder.join("authority");
        let file = folder.join("Authority");
        let text = format!(
            "{{\nadmin off\nhttp_port 8080\nhttps_port 8443\nskip_install_trust\nstorage file_system {}\n}}\n\
             https://{AUTHORITY} {{\ntls internal\nacme_server\n}}\n",
            data.display()
        );
        fs::write(&file, text).unwrap();
        let process = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "caddy",
                "run",
                "--adapter",
                "caddyfile",
                "--config",
            ])
            .arg(file)
            .env("HOME", &data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let root = data.join("pki/authorities/local/root.crt");
        while !root.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { process, root }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Shows a file in place of another.
fn show(file: &Path, at: &str) {
    mount(Some(file), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

#[tokio::test]
async fn with_a_name_http_is_encrypted_and_the_next_server_has_the_same_certificate() {
    // The authority asks on the ports of the web: they are free on a network of our own.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip", &["link", "set", "lo", "up"]);
    let mut world = World::new().await;
    let hosts = world.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost {NAME} {AUTHORITY}\n")).unwrap();
    show(&hosts, "/etc/hosts");
    let authority = Authority::start(world.path()).await;
    // Everybody may know whom to trust.
    let trusted = world.path().join("trusted");
    fs::write(&trusted, fs::read(&authority.root).unwrap()).unwrap();
    show(&trusted, "/etc/ssl/certs/ca-certificates.crt");

    world.attach("vol-0a", &[("home/a.flac", b"music")]);
    world.wish("b-00001", &[("b-00001", &["vol-0a"])]).await;
    let access = Access {
        prefix: "/vibes".to_owned(),
        password: Some(PASSWORD.to_owned()),
        keys: None,
        domain: Some(NAME.to_owned()),
    };
    world.s3.put(objects::SERVE_ACCESS, &access).await;
    let directory = format!("https://{AUTHORITY}:8443/acme/local/directory");
    let settings = [
        ("VIBES_HTTP_PORT", "80"),
        ("VIBES_HTTPS_PORT", "443"),
        ("VIBES_ACME_DIRECTORY", &directory),
    ];
    let (agent, metadata) = world.serve(&settings).await;
    world.until_served(&agent, "b-00001").await;
    let (url, plain) = (
        format!("https://{NAME}/home/a.flac"),
        format!("http://{NAME}/home/a.flac"),
    );
    let certified = async || {
        while !world.curl(&[&url]).output().unwrap().status.success() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), certified())
        .await
        .unwrap_or_else(|_| panic!("no certificate:\n{}", agent.console()));
    assert_eq!(succeed(&mut world.curl(&[&url])), b"music");
    assert!(fail(&mut world.curl(&["--user", "vibes:another-password", &url])).contains("401"));
    let redirected = succeed(&mut world.curl(&["--include", &plain]));
    let redirected = String::from_utf8_lossy(&redirected);
    assert!(
        redirected.starts_with("HTTP/1.1 308") && redirected.contains(&url),
        "{redirected}"
    );
    let first = certificate(&world, &url);

    // It is kept a round later.
    let sequence = world.status().await.unwrap().sequence;
    world.until(&agent, |status| status.sequence > sequence + 1).await;
    agent.shut_down();
    assert!(agent.ended().await.success());
    drop(metadata);
    drop(authority);
    fs::remove_dir_all(support::agent::root(world.path())).unwrap();
    let (agent, _metadata) = world.serve(&settings).await;
    world
        .until(&agent, |status| status.sequence == 2 && status.current.is_some())
        .await;
    assert_eq!(succeed(&mut world.curl(&[&url])), b"music");
    assert_eq!(certificate(&world, &url), first, "nobody was asked for another one");
}

/// What the server shows.
fn certificate(world: &World, url: &str) -> String {
    let shown = succeed(&mut world.curl(&["--output", "/dev/null", "--write-out", "%{certs}", url]));
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("BEGIN CERTIFICATE"), "{shown}");
    shown
}
