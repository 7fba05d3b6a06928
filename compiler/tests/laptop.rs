//! A build on one's own machine: it shows what it does, says what it lacks, and needs no root.

mod support;

use std::path::Path;
use std::process::Command;

use support::{World, tone};

#[test]
fn a_build_says_where_it_is() {
    let world = World::new();
    for number in 0..3 {
        world.write(format!("a/{number}.wav"), tone(number));
    }
    let output = world.command().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "looking at the collection",
            "reading folders",
            "home 0/3",
            "home 3/3",
            "comparing outputs and sources"
        ]
    );
}

#[test]
fn on_a_terminal_a_bar_shows_it() {
    let world = World::new();
    for number in 0..3 {
        world.write(format!("a/{number}.wav"), tone(number));
    }
    let command = world.command();
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // `script` gives a terminal and writes down what appears on it.
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    // Not every state is drawn, the last one neither: twenty in a second at most are.
    for word in ["looking at the collection", "/3, ", "left: home "] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let world = World::new();
    world.write("01.wav", tone(1));
    let refused = |change: &dyn Fn(&mut Command)| {
        let mut command = world.command();
        change(&mut command);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let cases = [
        (
            "--sources",
            "/nowhere",
            "/nowhere does not exist; name another with --sources",
        ),
        (
            "--profiles",
            "/nowhere",
            "/nowhere does not exist; name another with --profiles",
        ),
        (
            "--sources",
            "/dev/null",
            "/dev/null is no folder; name its folder with --sources",
        ),
        ("--builds", "/proc/x", "nothing can be written to /proc/x: "),
        ("--out", "/proc/x", "make it writable, or name another with --out"),
        ("--out", world.source("a").to_str().unwrap(), "lies in the collection"),
    ]
    .map(|(option, value, expected)| {
        let said = refused(&|command| {
            let folders = ["sources", "profiles", "builds"].map(|name| (format!("--{name}"), world.folder(name)));
            *command = Command::new(env!("CARGO_BIN_EXE_vibes-compile"));
            command.args(["build", option, value]);
            for (name, folder) in folders.iter().filter(|(name, _)| name != option) {
                command.arg(name).arg(folder);
            }
        });
        (said, expected)
    });
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!world.source("a").exists());
}

/// Runs a build in a mount namespace that `prepare` has changed.
fn in_another_machine(world: &World, prepare: &str) -> std::process::Output {
    let command = world.command();
    let script = format!("{prepare}\nexec \"$@\"");
    Command::new("unshare")
        .args(["--mount", "sh", "-ec", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .unwrap()
}

#[test]
fn music_on_a_mount_below_the_collection_is_built_and_stays_as_it_is() {
    let world = World::new();
    world.write("a/01.wav", tone(1));
    world.write("b/c/empty", "");
    let mounted = |world: &World| {
        let (a, b) = (world.source("a"), world.source("b/c"));
        let prepare = format!(
            "mount -t tmpfs -o nosuid,nodev none {0}; cp {1}/01.wav {0}/",
            b.display(),
            a.display()
        );
        in_another_machine(world, &prepare)
    };
    let output = mounted(&world);
    assert!(output.status.success(), "{output:?}");
    assert!(world.output("home/b/c/01.flac").exists());

    // Instead of encoding, this says how the folder is mounted.
    let encoder = world.folder("how");
    let script = "#!/bin/sh\ncase \"$*\" in *silence*|--version) exec flac \"$@\";; esac\n\
        grep '/work/collection/b/c ' /proc/self/mountinfo >&2; exit 1\n";
    std::fs::write(&encoder, script).unwrap();
    std::fs::set_permissions(&encoder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.profile(
        "home",
        &format!("CONFIG_ENCODER=flac\nCONFIG_FLAC={}\n", encoder.display()),
    );
    let said = String::from_utf8(mounted(&world).stdout).unwrap();
    assert!(said.contains("/b/c ro,nosuid,nodev"), "{said}");

    world.write("a/Tupfile", "nonsense");
    let said = String::from_utf8(mounted(&world).stderr).unwrap();
    assert!(
        said.contains("/b/c is a mount of its own") && said.contains("a/Tupfile"),
        "{said}"
    );
}

#[test]
fn without_tup_or_fuse_a_build_says_what_to_do() {
    let world = World::new();
    world.write("01.wav", tone(1));
    let said = |prepare: &str| String::from_utf8(in_another_machine(&world, prepare).stderr).unwrap();
    let fuse = said("mount -t tmpfs none /dev; touch /dev/null");
    assert!(
        fuse.contains("/dev/fuse cannot be opened: ") && fuse.contains("modprobe fuse"),
        "{fuse}"
    );
    let tup = said("mount --bind /dev/null \"$(command -v tup)\"");
    assert!(
        tup.contains("tup cannot be started: ") && tup.contains("install the package tup"),
        "{tup}"
    );
}

#[test]
fn whoever_is_not_root_builds_too() {
    let world = World::new();
    world.write("a/01.wav", tone(1));
    world.write("a/Tupfile", "nonsense");
    let output = world.command_without_root().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(Path::new(&world.output("home/a/01.flac")).exists());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("a/Tupfile was left out"), "{said}");
}
