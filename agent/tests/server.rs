//! The agent as a server, pulled from by the clients that people have: rsync, ssh, sftp, curl.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use contract::objects;
use contract::serve::Protocol;
use support::server::{Named, PASSWORD, Transfer, World, fail, succeed};

/// Bytes of the big file: more than a connection has under way, and 16 seconds of a slow transfer.
const BIG: usize = 32 << 20;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Two shards: one holds the big file, filled with this byte.
fn fill(world: &mut World, [first, second]: [&str; 2], byte: u8) {
    world.attach(
        first,
        &[("home/a/big.flac", &vec![byte; BIG]), ("phone/a/1.opus", b"1")],
    );
    world.attach(second, &[("home/b/2.flac", &[byte; 10])]);
}

#[tokio::test]
async fn a_link_in_a_release_leads_nobody_out_of_it() {
    let mut world = World::new().await;
    let outside = world.path().join("outside");
    fs::write(&outside, "SECRET").unwrap();
    world.attach("vol-0a", &[("home/a/1.flac", b"1")]);
    world.link("home/file", &outside);
    world.link("home/folder", world.path());
    world.link("home/up", std::path::Path::new("../../../../../../../../etc"));
    world.grant(Some(PASSWORD), true).await;
    let (agent, _metadata) = world.serve(&[]).await;
    world.wish("b-00001", &[("b-00001", &["vol-0a"])]).await;
    world.until_served(&agent, "b-00001").await;
    let to = |name: &str| world.path().join(name).display().to_string();

    let paths = ["file", "folder/outside", "up/passwd"];
    let (daemon, ssh) = (world.rsync_url("home/"), "rsync@127.0.0.1:home/".to_owned());
    for (name, from) in [("daemon", &daemon), ("ssh", &ssh)] {
        // Whatever it says about the links; over SSH, who wants them followed is refused as a whole.
        world.rsync(&["-rL", from, &to(name)]).output().unwrap();
        world.rsync(&["-r", from, &to(name)]).output().unwrap();
        assert!(world.path().join(name).join("a/1.flac").exists(), "{name} works");
        for path in paths {
            assert!(!world.path().join(name).join(path).exists(), "{name} gave {path}");
            fail(&mut world.rsync(&["-L", &format!("{from}{path}"), &to("none")]));
        }
    }
    for path in paths {
        fail(&mut world.sftp(&[], &format!("get /home/{path} {}\n", to("none"))));
        fail(&mut world.curl(&[&world.http_url(&format!("home/{path}"))]));
    }

    // What a client asks the server's rsync for: a program, a file to write, a file to read, a shell.
    let written = std::path::Path::new("/tmp/vibes-server-test");
    for from in [&daemon, &ssh] {
        for argument in [
            "--rsync-path=touch /tmp/vibes-server-test;",
            "--remote-option=--log-file=/tmp/vibes-server-test",
            "--remote-option=--backup-dir=/tmp/vibes-server-test",
            "--remote-option=--daemon",
            "--files-from=:/etc/passwd",
        ] {
            world.rsync(&["-r", argument, from, &to("options")]).output().unwrap();
            assert!(!written.exists(), "{argument} {from}");
            assert!(
                !world.path().join("options/root:x:0:0:root:").exists(),
                "{argument} {from}"
            );
        }
        fail(&mut world.rsync(&[
            "-r",
            &format!("{from};touch${{IFS}}/tmp/vibes-server-test"),
            &to("options"),
        ]));
        assert!(!written.exists(), "{from}");
    }
}

#[tokio::test]
async fn every_protocol_gives_everything_and_takes_nothing() {
    let mut world = World::new().await;
    fill(&mut world, ["vol-0a", "vol-0b"], 1);
    world.grant(Some(PASSWORD), true).await;
    let (agent, _metadata) = world.serve(&[]).await;
    let status = world.until(&agent, |status| status.sequence > 1).await;
    assert_eq!(
        (status.current, status.problem),
        (None, None),
        "nothing to serve is no problem"
    );
    world.wish("b-00001", &[("b-00001", &["vol-0a", "vol-0b"])]).await;
    let status = world.until_served(&agent, "b-00001").await;
    assert!(status.protocols.values().all(Option::is_none), "{:?}", status.protocols);
    let (folder, big) = (world.path().to_owned(), vec![1; BIG]);
    let to = |name: &str| folder.join(name).display().to_string();
    fs::write(to("mine"), "mine").unwrap();

    // The rsync daemon.
    let list = text(succeed(&mut world.rsync(&[&world.rsync_url("")])));
    assert!(list.contains("home") && list.contains("phone"), "{list}");
    succeed(&mut world.rsync(&["-a", &world.rsync_url("home/"), &to("by-rsync/")]));
    assert!(fs::read(to("by-rsync/a/big.flac")).unwrap() == big);
    assert_eq!(fs::read(to("by-rsync/b/2.flac")).unwrap(), [1; 10], "shards are joined");
    let home = world.rsync_url("home/");
    assert!(fail(&mut world.rsync(&[&to("mine"), &home])).contains("read only"));
    fail(&mut world.rsync(&["-a", "--delete", &to("by-rsync/a/"), &home]));
    let wrong = fail(
        world
            .rsync(&["-a", &home, &to("none/")])
            .env("RSYNC_PASSWORD", "another-password"),
    );
    assert!(wrong.contains("auth failed"), "{wrong}");
    assert!(
        fail(
            world
                .rsync(&["-a", &home.replace("vibes@", "root@"), &to("none/")])
                .env("USER", "root")
        )
        .contains("auth failed")
    );

    // rsync over SSH.
    succeed(&mut world.rsync(&["-a", "rsync@127.0.0.1:home/", &to("by-ssh/")]));
    assert!(fs::read(to("by-ssh/a/big.flac")).unwrap() == big);
    fail(&mut world.rsync(&[&to("mine"), "rsync@127.0.0.1:home/"]));
    fail(&mut world.rsync(&["-a", "--delete", &to("by-ssh/a/"), "rsync@127.0.0.1:home/"]));
    for outside in ["/etc/passwd", "../../../etc/passwd", "home/../../../../etc/passwd"] {
        fail(&mut world.rsync(&["-a", &format!("rsync@127.0.0.1:{outside}"), &to("none/")]));
    }

    // SFTP.
    let said = text(succeed(&mut world.sftp(&[], "ls -1\nls -1 /home/a\n")));
    assert!(
        said.contains("home") && said.contains("phone") && said.contains("big.flac"),
        "{said}"
    );
    succeed(&mut world.sftp(&[], &format!("get /home/a/big.flac {}\n", to("by-sftp"))));
    assert!(fs::read(to("by-sftp")).unwrap() == big);
    for refused in [
        &format!("put {} /home/mine", to("mine")),
        "rm /home/b/2.flac",
        "rename /home/b/2.flac /home/b/3.flac",
        "mkdir /home/c",
        "chmod 777 /home/b/2.flac",
        "get /etc/passwd /dev/null",
        "get ../../../../../etc/passwd /dev/null",
    ] {
        fail(&mut world.sftp(&[], &format!("{refused}\n")));
    }

    // No shell, no way through, no password: neither for one user nor for the other.
    for user in ["vibes@127.0.0.1", "rsync@127.0.0.1"] {
        let said = fail(world.ssh("ssh").args([user, "echo", "$((40+2))"]));
        assert!(!said.contains("42"), "{said}");
        fail(world.ssh("ssh").args([user]));
        fail(world.ssh("ssh").args(["-W", "127.0.0.1:1", user]));
        let said = fail(world.ssh("ssh").args(["-oPubkeyAuthentication=no", user]));
        assert!(said.contains("(publickey)"), "only a key is asked for: {said}");
    }
    fail(world.ssh("ssh").args(["root@127.0.0.1", "true"]));

    // HTTP.
    let page = text(succeed(&mut world.curl(&[&world.http_url("home/")])));
    assert!(page.contains("./a/") && page.contains("./b/"), "{page}");
    let big_url = world.http_url("home/a/big.flac");
    assert!(succeed(&mut world.curl(&[&big_url])) == big);
    let part = succeed(&mut world.curl(&["--include", "--range", "5-9", &world.http_url("home/b/2.flac")]));
    let part = String::from_utf8_lossy(&part);
    assert!(
        part.starts_with("HTTP/1.1 206")
            && part.contains("bytes 5-9/10")
            && part.ends_with("\u{1}\u{1}\u{1}\u{1}\u{1}"),
        "{part:?}"
    );
    assert!(fail(&mut world.curl(&["--user", "vibes:another-password", &big_url])).contains("401"));
    assert!(fail(&mut world.curl(&["--user", "root:", &big_url])).contains("401"));
    for refused in [
        &["--upload-file", &to("mine")][..],
        &["-XDELETE"],
        &["--data", "x"],
        &["-XMOVE"],
    ] {
        fail(&mut world.curl(&[refused, &[&world.http_url("home/b/2.flac")]].concat()));
    }
    let outside = world.http_url("home/../../../../etc/passwd");
    assert!(fail(&mut world.curl(&["--path-as-is", &outside])).contains("404"));

    assert_eq!(
        succeed(&mut world.curl(&[&world.http_url("home/b/2.flac")])),
        [1; 10],
        "nothing has changed"
    );
    for secret in ["rsync/secrets", "ssh/host_key", "http/Caddyfile"] {
        let mode = fs::metadata(folder.join("root").join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o007, 0, "{secret} is not for everybody");
    }
    assert!(!agent.console().contains(PASSWORD), "the password is in no log");

    agent.shut_down();
    assert!(agent.ended().await.success());
    assert_eq!(world.status().await.unwrap().mounted, [""; 0]);
    assert!(!folder.join("serve/b-00001").exists(), "it is unmounted");
    assert!(folder.join("powered-off").exists());
}

/// Begins a slow transfer of the big file by every protocol, at so many KiB a second.
async fn slow_transfers(world: &World, rate: u32) -> Vec<Transfer> {
    let to = |name: &str| world.path().join(name);
    let (by_rsync, by_ssh, by_sftp, by_http) = (to("slow-rsync"), to("slow-ssh"), to("slow-sftp"), to("slow-http"));
    fs::create_dir(&by_ssh).unwrap();
    fs::create_dir(&by_rsync).unwrap();
    let (limit, kilobits, kilobytes) = (format!("--bwlimit={rate}"), (8 * rate).to_string(), format!("{rate}k"));
    let name = |path: &std::path::Path| path.display().to_string();
    vec![
        Transfer::begin(
            &mut world.rsync(&["-a", &limit, &world.rsync_url("home/a/"), &name(&by_rsync)]),
            &by_rsync,
        )
        .await,
        Transfer::begin(
            &mut world.rsync(&["-a", &limit, "rsync@127.0.0.1:home/a/", &name(&by_ssh)]),
            &by_ssh,
        )
        .await,
        Transfer::begin(
            &mut world.sftp(
                &["-l", &kilobits],
                &format!("get /home/a/big.flac {}\n", name(&by_sftp)),
            ),
            &by_sftp,
        )
        .await,
        Transfer::begin(
            &mut world.curl(&[
                "--limit-rate",
                &kilobytes,
                "-o",
                &name(&by_http),
                &world.http_url("home/a/big.flac"),
            ]),
            &by_http,
        )
        .await,
    ]
}

/// What a new connection gets by every protocol: the first byte of the big file.
fn new_connections(world: &World, run: u32) -> Vec<u8> {
    let to = |by: &str| world.path().join(format!("new-{by}-{run}")).display().to_string();
    succeed(&mut world.rsync(&[&world.rsync_url("home/b/2.flac"), &to("rsync")]));
    succeed(&mut world.rsync(&["rsync@127.0.0.1:home/b/2.flac", &to("ssh")]));
    succeed(&mut world.sftp(&[], &format!("get /home/b/2.flac {}\n", to("sftp"))));
    succeed(&mut world.curl(&["-o", &to("http"), &world.http_url("home/b/2.flac")]));
    ["rsync", "ssh", "sftp", "http"]
        .map(|by| fs::read(to(by)).unwrap()[0])
        .into()
}

const R1: Named = ("b-00001", &["vol-0a", "vol-0b"]);
const R2: Named = ("b-00002", &["vol-0c", "vol-0d"]);

#[tokio::test]
async fn a_release_is_whole_per_connection_and_goes_when_nobody_reads_it() {
    let mut world = World::new().await;
    fill(&mut world, ["vol-0a", "vol-0b"], 1);
    world.grant(Some(PASSWORD), true).await;
    let (agent, _metadata) = world.serve(&[]).await;
    world.wish("b-00001", &[R1]).await;
    world.until_served(&agent, "b-00001").await;
    assert_eq!(new_connections(&world, 1), [1; 4]);

    world.wish("b-00002", &[R1, R2]).await;
    let status = world.until(&agent, |status| status.problem.is_some()).await;
    assert!(status.problem.unwrap().contains("not attached yet"));
    assert_eq!(
        status.current.as_deref(),
        Some("b-00001"),
        "the old one is served until the new one is there"
    );
    let mut slow = slow_transfers(&world, 2048).await;
    fill(&mut world, ["vol-0c", "vol-0d"], 2);
    world.until_served(&agent, "b-00002").await;
    world.wish("b-00002", &[R2]).await;
    assert_eq!(new_connections(&world, 2), [2; 4]);
    assert_eq!(
        world.status().await.unwrap().mounted,
        ["b-00001", "b-00002"],
        "somebody still reads the old one"
    );
    for transfer in &mut slow {
        assert!(
            transfer.is_under_way(),
            "{} was too fast for this test",
            transfer.to.display()
        );
    }
    for transfer in &mut slow {
        assert!(transfer.ended().await, "{}", transfer.to.display());
        let file = if transfer.to.is_dir() {
            transfer.to.join("a/big.flac")
        } else {
            transfer.to.clone()
        };
        let file = if file.exists() {
            file
        } else {
            transfer.to.join("big.flac")
        };
        assert!(
            fs::read(&file).unwrap() == [1; BIG],
            "{} is of the release that it began with",
            file.display()
        );
    }
    let status = world.until(&agent, |status| status.mounted == ["b-00002"]).await;
    assert_eq!(status.problem, None);
}

#[tokio::test]
async fn who_reads_an_old_release_for_too_long_is_cut_off_and_nobody_else() {
    let mut world = World::new().await;
    fill(&mut world, ["vol-0a", "vol-0b"], 1);
    fill(&mut world, ["vol-0c", "vol-0d"], 2);
    world.grant(Some(PASSWORD), true).await;
    let (agent, _metadata) = world.serve(&[("VIBES_DRAIN_SECONDS", "1")]).await;
    world.wish("b-00001", &[R1]).await;
    world.until_served(&agent, "b-00001").await;
    // They would take two minutes, also where a busy machine takes its time to cut them off.
    let mut slow = slow_transfers(&world, 256).await;
    world.wish("b-00002", &[R1, R2]).await;
    world.until_served(&agent, "b-00002").await;
    let new = world.path().join("new");
    let url = world.http_url("home/a/big.flac");
    let mut current = Transfer::begin(
        &mut world.curl(&["--limit-rate", "8m", "-o", new.to_str().unwrap(), &url]),
        &new,
    )
    .await;
    world.wish("b-00002", &[R2]).await;
    let status = world.until(&agent, |status| status.mounted == ["b-00002"]).await;
    assert_eq!(status.problem, None);
    for transfer in &mut slow {
        assert!(!transfer.ended().await, "{} was cut off", transfer.to.display());
    }
    assert!(current.ended().await, "who reads the current one goes on");
    assert_eq!(new_connections(&world, 1), [2; 4]);
}

#[tokio::test]
async fn nothing_is_open_before_the_owner_opens_it() {
    let mut world = World::new().await;
    fill(&mut world, ["vol-0a", "vol-0b"], 1);
    let (agent, _metadata) = world.serve(&[]).await;
    world.wish("b-00001", &[R1]).await;
    world.grant(None, false).await;
    let status = world.until_served(&agent, "b-00001").await;
    let why = |protocol| status.protocols[&protocol].clone().unwrap();
    for protocol in [Protocol::Rsync, Protocol::Http] {
        assert!(
            why(protocol).contains("aws ssm put-parameter --name /vibes/serve/password"),
            "{}",
            why(protocol)
        );
    }
    assert!(
        why(Protocol::Ssh).contains("aws ssm put-parameter --name /vibes/serve/keys"),
        "{}",
        why(Protocol::Ssh)
    );
    assert!(fail(&mut world.rsync(&[&world.rsync_url("")])).contains("Connection refused"));
    assert!(fail(&mut world.curl(&[&world.http_url("")])).contains("Failed to connect"));

    let open = |protocol| move |status: &contract::serve::ServerStatus| status.protocols[&protocol].is_none();
    world.grant(None, true).await;
    world.until(&agent, open(Protocol::Ssh)).await;
    world.until_served(&agent, "b-00001").await;
    succeed(&mut world.sftp(&[], "ls\n"));
    assert!(
        fail(&mut world.rsync(&[&world.rsync_url("")])).contains("Connection refused"),
        "a key is no password"
    );

    world.grant(Some("another-password"), true).await;
    world.until(&agent, open(Protocol::Http)).await;
    let (home, url) = (world.rsync_url("home/"), world.http_url("home/"));
    fail(&mut world.rsync(&[&home]));
    world.grant(Some(PASSWORD), true).await;
    let changed = async || {
        while !world.rsync(&[&home]).output().unwrap().status.success() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), changed())
        .await
        .expect("a new password is taken");
    world.until(&agent, |status| status.sequence > 0).await;
    fail(world.rsync(&[&home]).env("RSYNC_PASSWORD", "another-password"));
    let sequence = world.status().await.unwrap().sequence;
    world.until(&agent, |status| status.sequence > sequence).await;
    succeed(&mut world.curl(&[&url]));
    assert!(fail(&mut world.curl(&["--user", "vibes:another-password", &url])).contains("401"));

    world.grant(None, false).await;
    world
        .until(&agent, |status| status.protocols.values().all(Option::is_some))
        .await;
    assert!(fail(&mut world.rsync(&[&home])).contains("Connection refused"));
    assert!(fail(&mut world.curl(&[&url])).contains("Failed to connect"));
    assert!(fail(&mut world.sftp(&[], "ls\n")).contains("Connection refused"));
}

#[tokio::test]
async fn a_server_that_replaces_another_has_the_same_key() {
    let mut world = World::new().await;
    fill(&mut world, ["vol-0a", "vol-0b"], 1);
    world.grant(None, true).await;
    world.wish("b-00001", &[R1]).await;
    let (agent, metadata) = world.serve(&[]).await;
    let first = world.until_served(&agent, "b-00001").await;
    agent.shut_down();
    assert!(agent.ended().await.success());
    drop(metadata);
    fs::remove_dir_all(support::agent::root(world.path())).unwrap();

    let (agent, _metadata) = world.serve(&[]).await;
    world
        .until(&agent, |status| status.sequence == 2 && status.current.is_some())
        .await;
    assert_eq!(world.status().await.unwrap().host_key, first.host_key);
    succeed(&mut world.sftp(&[], "ls\n"));
    let kept = world.s3.store().text(objects::SERVE_HOST_KEY).await.unwrap().unwrap();
    assert!(kept.contains("OPENSSH PRIVATE KEY"));
}

#[tokio::test]
async fn a_server_says_at_once_what_is_new_and_else_now_and_then_that_it_lives() {
    let mut world = World::new().await;
    fill(&mut world, ["vol-0a", "vol-0b"], 1);
    let (agent, _metadata) = world.serve(&[("VIBES_STATUS_SECONDS", "3")]).await;
    world.wish("b-00001", &[R1]).await;
    let mut said = world.until_served(&agent, "b-00001").await;
    let begin = Instant::now();
    for _ in 0..2 {
        let sequence = said.sequence;
        said = world.until(&agent, |status| status.sequence > sequence).await;
    }
    assert!(begin.elapsed() > Duration::from_secs(12), "{:?}", begin.elapsed());
}
