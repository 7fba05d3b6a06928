//! What changed is built again, and nothing else.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use support::{World, png, tone};

/// Two albums of two tracks in two profiles.
fn world() -> World {
    let world = World::new();
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    let tracks = [
        "a/one/01-first.wav",
        "a/one/02-second.wav",
        "b/two/01-third.wav",
        "b/two/02-fourth.wav",
    ];
    for (seed, track) in (0..).zip(tracks) {
        world.write(track, tone(seed));
    }
    world.write("a/tags.vc", "ARTIST=A\n");
    world.write("a/one/02-second.tags.vc", "TITLE=Second\n");
    world.write("a/one/cover.png", png(1, 10));
    world.write("b/two/cover.png", png(2, 10));
    world
}

/// Outputs that a change makes or removes: those of these tracks in these profiles.
type Outputs = (&'static [&'static str], &'static [&'static str]);

/// What changes, the change, and the only encodes and removals that follow.
type Row = (&'static str, fn(&World), Outputs, Outputs);

const NONE: Outputs = (&[], &[]);
const BOTH: &[&str] = &["home", "phone"];
const ONE: &[&str] = &["a/one/01-first", "a/one/02-second"];
const TWO: &[&str] = &["b/two/01-third", "b/two/02-fourth"];
const ALL: &[&str] = &["a/one/01-first", "a/one/02-second", "b/two/01-third", "b/two/02-fourth"];
const MOVED: &[&str] = &["b/zwei/01-third", "b/zwei/02-fourth"];
const NOW: &[&str] = &[
    "a/one/01-first",
    "a/one/02-second",
    "b/zwei/01-third",
    "b/zwei/02-fourth",
];

/// Each row changes what the rows before it left.
const CHANGES: &[Row] = &[
    ("nothing", |_| {}, NONE, NONE),
    (
        "a title",
        |world| world.write("a/one/02-second.tags.vc", "TITLE=Zweites\n"),
        (BOTH, &["a/one/02-second"]),
        NONE,
    ),
    (
        "a tag of an album",
        |world| world.write("a/one/tags.vc", "GENRE=Rock\n"),
        (BOTH, ONE),
        NONE,
    ),
    (
        "a tag of an artist",
        |world| world.write("b/tags.vc", "ARTIST=B\n"),
        (BOTH, TWO),
        NONE,
    ),
    (
        "a tag file that says the same",
        |world| world.write("a/tags.vc", "# a comment\nartist=A\n"),
        NONE,
        NONE,
    ),
    (
        "a tag that moves to where it says the same",
        |world| {
            fs::remove_file(world.source("b/tags.vc")).unwrap();
            world.write("b/two/tags.vc", "ARTIST=B\n");
        },
        NONE,
        NONE,
    ),
    (
        "a cover",
        |world| world.write("a/one/cover.png", png(3, 10)),
        (BOTH, ONE),
        NONE,
    ),
    (
        "a picture",
        |world| {
            world.write("b/two/scans/picture-04.png", png(4, 10));
            world.write("b/two/vibes.txt", "apic=4:png:scans\n");
        },
        (BOTH, TWO),
        NONE,
    ),
    (
        "the path of a picture",
        |world| {
            fs::rename(world.source("b/two/scans"), world.source("b/two/art")).unwrap();
            world.write("b/two/vibes.txt", "apic=4:png:art\n");
        },
        NONE,
        NONE,
    ),
    (
        "a source",
        |world| world.write("b/two/01-third.wav", tone(77)),
        (BOTH, &["b/two/01-third"]),
        NONE,
    ),
    (
        "files that are touched",
        |world| {
            for path in ["a/one/01-first.wav", "a/one/cover.png", "a/tags.vc"] {
                let path = world.source(path);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                fs::File::options()
                    .append(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(SystemTime::now())
                    .unwrap();
            }
        },
        NONE,
        NONE,
    ),
    (
        "files that are written again as they were",
        |world| {
            for path in ["b/two/02-fourth.wav", "b/two/cover.png", "b/two/tags.vc"] {
                let bytes = fs::read(world.source(path)).unwrap();
                fs::remove_file(world.source(path)).unwrap();
                world.write(path, bytes);
            }
        },
        NONE,
        NONE,
    ),
    (
        "files that are no audio",
        |world| {
            world.write("a/one/booklet.pdf", "%PDF");
            world.write("notes.txt", "to do");
        },
        NONE,
        NONE,
    ),
    (
        "a playlist",
        |world| {
            world.write(
                "best.pl.yaml",
                "title: Best\ntracks: [a/one/01-first, b/two/01-third]\n",
            )
        },
        NONE,
        NONE,
    ),
    ("flags", |world| home(world, "--fast"), (&["home"], ALL), NONE),
    (
        "the version of an encoder",
        |world| flac_of_version(world, 2),
        (&["home"], ALL),
        NONE,
    ),
    (
        "a profile that says the same",
        |world| world.profile("phone", "# mine\nCONFIG_ENCODER=opusenc\n\n"),
        NONE,
        NONE,
    ),
    (
        "the place of an album",
        |world| fs::rename(world.source("b/two"), world.source("b/zwei")).unwrap(),
        (BOTH, MOVED),
        (BOTH, TWO),
    ),
    (
        "a profile more",
        |world| world.profile("car", "CONFIG_ENCODER=lame\n"),
        (&["car"], NOW),
        NONE,
    ),
    (
        "a profile's name",
        |world| {
            world.remove_profile("car");
            world.profile("boat", "CONFIG_ENCODER=lame\n");
        },
        (&["boat"], NOW),
        (&["car"], NOW),
    ),
    (
        "a profile less",
        |world| world.remove_profile("boat"),
        NONE,
        (&["boat"], NOW),
    ),
    (
        "a track that is left out",
        |world| world.write("a/one/01-first.vibes.txt", "encode-\n"),
        NONE,
        (BOTH, &["a/one/01-first"]),
    ),
    (
        "a source less",
        |world| fs::remove_file(world.source("b/zwei/01-third.wav")).unwrap(),
        NONE,
        (BOTH, &["b/zwei/01-third"]),
    ),
];

/// The profile `home` with an encoder of ours and these flags.
fn home(world: &World, flags: &str) {
    let flac = world.folder("flac");
    let text = format!(
        "CONFIG_ENCODER=flac\nCONFIG_FLAC={}\nCONFIG_FLAC_FLAGS={flags}\nCONFIG_PLAYLISTS=m3u\n",
        flac.display()
    );
    world.profile("home", &text);
}

/// An encoder that says that it is of this version.
fn flac_of_version(world: &World, version: u32) {
    let script = format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo flac {version}; else exec flac \"$@\"; fi\n");
    let path = world.folder("flac");
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_can_change_an_output_makes_it_again_and_nothing_else_does() {
    let world = world();
    flac_of_version(&world, 1);
    home(&world, "--best");
    assert_eq!(world.build_well().list("built").len(), 8);
    for (what, change, built, removed) in CHANGES {
        let before = world.outputs();
        change(&world);
        let report = world.build_well();
        let list = |field| {
            let mut paths = report.list(field);
            paths.retain(|path| !path.ends_with(".m3u"));
            paths
        };
        assert_eq!(list("built"), paths(*built), "{what}");
        assert_eq!(list("removed"), paths(*removed), "{what}");
        let mut expected = before;
        expected.retain(|path, _| !list("removed").contains(path));
        let mut now = world.outputs();
        for path in list("built") {
            expected.insert(path.clone(), now[&path].clone());
        }
        for outputs in [&mut expected, &mut now] {
            outputs.retain(|path, _| !path.ends_with(".m3u"));
        }
        assert!(expected == now, "{what}: {:?} became {:?}", expected.keys(), now.keys());
    }
    assert!(world.build_well().list("built").is_empty());
}

/// The paths of outputs, in the order of a report.
fn paths((profiles, tracks): Outputs) -> Vec<String> {
    let of_profile = |profile: &&str| {
        let extension = match *profile {
            "home" => "flac",
            "phone" => "opus",
            _ => "mp3",
        };
        let profile = (*profile).to_owned();
        tracks.iter().map(move |track| format!("{profile}/{track}.{extension}"))
    };
    profiles.iter().flat_map(of_profile).collect()
}

#[test]
fn a_damaged_output_is_made_again() {
    let world = world();
    world.build_well();
    let before = world.outputs();
    fs::remove_file(world.output("home/a/one/01-first.flac")).unwrap();
    fs::write(world.output("phone/b/two/01-third.opus"), "cut").unwrap();
    fs::create_dir_all(world.output("home/stray/folder")).unwrap();
    fs::write(world.output("home/stray/file"), "").unwrap();
    let second = world.build_well();
    assert_eq!(
        second.list("built"),
        ["home/a/one/01-first.flac", "phone/b/two/01-third.opus"]
    );
    assert_eq!(second.list("removed"), ["home/stray/file"]);
    assert!(!world.output("home/stray").exists());
    let bytes = |outputs: &std::collections::BTreeMap<String, (Vec<u8>, _)>| {
        outputs
            .iter()
            .map(|(name, (bytes, _))| (name.clone(), bytes.clone()))
            .collect::<Vec<_>>()
    };
    assert!(
        bytes(&before) == bytes(&world.outputs()),
        "the same input gives the same bytes"
    );
}

#[test]
fn every_format_gives_the_same_bytes_again() {
    let world = world();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.profile("radio", "CONFIG_ENCODER=oggenc\n");
    world.build_well();
    let before = world.outputs();
    fs::remove_dir_all(world.builds()).unwrap();
    world.build_well();
    for (name, (bytes, _)) in world.outputs() {
        assert!(before[&name].0 == bytes, "{name}");
    }
}

#[test]
fn a_tree_that_has_lost_the_collection_is_begun_anew() {
    let world = world();
    world.build_well();
    let before = world.outputs();
    // Outside of the build's mount namespace the collection is empty, and tup forgets all of it for good.
    let scan = std::process::Command::new("tup")
        .arg("scan")
        .current_dir(world.builds().join("work"))
        .output()
        .unwrap();
    assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
    for _ in 0..2 {
        let built = world.build_well();
        assert_eq!((built.list("built"), built.list("removed")), (vec![], vec![]));
        assert!(world.outputs() == before);
    }
    world.write("new/01-new.wav", tone(9));
    assert_eq!(
        world.build_well().list("built"),
        ["home/new/01-new.flac", "phone/new/01-new.opus"]
    );
}
