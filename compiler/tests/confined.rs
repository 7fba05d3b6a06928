//! An encoder that was taken over by what it reads: what it tries, and that it gets nothing of it.

mod support;

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{Built, World, tone};

/// Encodes as flac does, but sources of these names make it do something else.
const STAND_IN: &str = r#"#!/bin/bash
output=$(dirname "$0")/unset
for ((i = 1; i <= $#; i++)); do
  [ "${!i}" != -o ] || { j=$((i + 1)); output=${!j}; }
done
case ${!#} in
  */tcp.wav) exec 3<>/dev/tcp/127.0.0.1/PORT ;;
  */udp.wav) echo hello >/dev/udp/127.0.0.1/PORT ;;
  */fork.wav) while sleep 6PORT & do :; done ;;
  */memory.wav) exec perl -e '$x = "a" x (3 << 30)' ;;
  */write.wav) exec cat /dev/zero >"$output" ;;
  */elsewhere.wav)
    out=${output%/*/*}
    mkdir "$out/new" && echo "made a folder" >&2
    for path in "$out/x" "$out/good.flac" "$out/../x" "$out/../../work/x" /tmp/vibes-elsewhere "$(dirname "$0")/x"; do
      { echo x >"$path"; } 2>/dev/null && echo "wrote $path" >&2
    done
    echo "nothing else" >&2
    exit 1
    ;;
  */powers.wav)
    grep -E '^(NoNewPrivs|CapEff)' /proc/self/status >&2
    [ "$(ulimit -Hc)" = 0 ] && echo "no core" >&2
    exit 1
    ;;
  */link.wav)
    ln -sf /etc/passwd "$output"
    exit 0
    ;;
  */leave.wav) setsid sleep 6PORT & ;;
esac
case ${!#} in
  */good.wav | */leave.wav | */silence.wav | --version) exec flac "$@" ;;
esac
exit 1
"#;

/// A world with that encoder, and who listens outside of its network.
fn world(names: &[&str]) -> (World, TcpListener, UdpSocket) {
    let world = World::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    for (seed, name) in names.iter().enumerate() {
        world.write(format!("{name}.wav"), tone(seed as u32));
    }
    let path = world.folder("stand-in");
    fs::write(&path, STAND_IN.replace("PORT", &port)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (world, tcp, udp)
}

/// Builds, as root or without it.
fn build(world: &World, with_root: bool) -> Built {
    let (mut command, root) = match with_root {
        true => (world.command(), world.folder("")),
        false => (world.command_without_root(), "/mnt/".into()),
    };
    if !with_root {
        command.arg("--json");
    }
    let stand_in = root.join("stand-in");
    world.profile(
        "home",
        &format!("CONFIG_ENCODER=flac\nCONFIG_FLAC={}\n", stand_in.display()),
    );
    World::built(&mut command)
}

/// Whether something that the stand-in of this world has started still runs.
fn is_left(listener: &TcpListener) -> bool {
    let words = format!("sleep 6{}", listener.local_addr().unwrap().port());
    let found = Command::new("pgrep").args(["--full", &words]).status().unwrap();
    found.success()
}

/// What is tried by every user.
fn nothing_is_given(with_root: bool) {
    let (world, tcp, udp) = world(&[
        "good",
        "link",
        "tcp",
        "udp",
        "memory",
        "write",
        "elsewhere",
        "powers",
        "leave",
    ]);
    let built = build(&world, with_root);
    let failures = built.failures();
    let said = |name: &str, words: &str| {
        let reason = &failures[&format!("{name}.wav")];
        assert!(reason.contains(words), "{name}: {reason}");
    };
    // The namespace says no, and before it Landlock, where the kernel knows of TCP.
    let tcp_failed = &failures["tcp.wav"];
    assert!(
        ["Permission denied", "Network is unreachable"]
            .iter()
            .any(|words| tcp_failed.contains(words)),
        "{tcp_failed}"
    );
    said("udp", "Network is unreachable");
    assert!(tcp.accept().is_err() && udp.recv(&mut [0]).is_err());
    said("link", "flac ended well and has written no file");
    said("memory", "may use 2048 MiB of memory and wants more");
    said("write", "wrote 64 MiB and was not done");
    said("elsewhere", ": mkdir: cannot create directory");
    said("elsewhere", "Permission denied / nothing else");
    // Only the right to use files of others is left, to root.
    said("powers", ": CapEff:\t0000000000000002 / NoNewPrivs:\t1 / no core");
    assert_eq!(failures.len(), 7, "{failures:?}");

    let outputs: Vec<_> = world.outputs().into_keys().collect();
    assert_eq!(outputs, ["home/good.flac", "home/leave.flac"]);
    assert!(!is_left(&tcp));
}

#[test]
fn an_encoder_has_no_network_no_powers_no_other_folder_and_only_so_much_of_everything() {
    nothing_is_given(true);
}

#[test]
fn without_root_an_encoder_has_no_more() {
    nothing_is_given(false);
}

#[test]
fn an_encoder_that_forks_without_end_is_stopped_and_leaves_nothing() {
    let (world, tcp, _) = world(&["good", "fork"]);
    let built = build(&world, false);
    let reason = &built.failures()["fork.wav"];
    assert!(reason.contains("may start processes until there are"), "{reason}");
    assert!(!is_left(&tcp));
}
