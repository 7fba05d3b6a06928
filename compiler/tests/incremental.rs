//! What changed is built again, and nothing else.

mod support;

use std::fs;

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

/// Builds twice, changing something in between, and compares what was built, what was removed, and that every other
/// output kept its bytes and its time.
fn after(change: impl FnOnce(&World), built: &[&str], removed: &[&str]) {
    let world = world();
    assert_eq!(world.build_well().list("built").len(), 8);
    let before = world.outputs();
    change(&world);
    let second = world.build_well();
    assert_eq!(second.list("built"), built);
    assert_eq!(second.list("removed"), removed);
    let mut expected = before;
    for path in removed {
        assert!(expected.remove(*path).is_some(), "{path}");
    }
    let now = world.outputs();
    for path in built {
        expected.insert((*path).to_owned(), now[*path].clone());
    }
    assert!(expected == now, "{:?} became {:?}", expected.keys(), now.keys());
    assert!(world.build_well().list("built").is_empty());
}

#[test]
fn nothing_is_built_when_nothing_changed() {
    after(|_| {}, &[], &[]);
}

#[test]
fn a_new_title_builds_one_track_per_profile() {
    after(
        |world| world.write("a/one/02-second.tags.vc", "TITLE=Zweites\n"),
        &["home/a/one/02-second.flac", "phone/a/one/02-second.opus"],
        &[],
    );
}

#[test]
fn a_new_tag_file_builds_what_is_below_it() {
    after(
        |world| world.write("b/tags.vc", "ARTIST=B\n"),
        &[
            "home/b/two/01-third.flac",
            "home/b/two/02-fourth.flac",
            "phone/b/two/01-third.opus",
            "phone/b/two/02-fourth.opus",
        ],
        &[],
    );
}

#[test]
fn a_tag_file_that_says_the_same_builds_nothing() {
    after(|world| world.write("a/tags.vc", "# a comment\nartist=A\n"), &[], &[]);
}

#[test]
fn a_new_cover_builds_its_album() {
    after(
        |world| world.write("a/one/cover.png", png(3, 10)),
        &[
            "home/a/one/01-first.flac",
            "home/a/one/02-second.flac",
            "phone/a/one/01-first.opus",
            "phone/a/one/02-second.opus",
        ],
        &[],
    );
}

#[test]
fn a_changed_source_builds_one_track_per_profile() {
    after(
        |world| world.write("b/two/01-third.wav", tone(77)),
        &["home/b/two/01-third.flac", "phone/b/two/01-third.opus"],
        &[],
    );
}

#[test]
fn a_deleted_source_takes_its_outputs_with_it() {
    after(
        |world| fs::remove_file(world.source("b/two/01-third.wav")).unwrap(),
        &[],
        &["home/b/two/01-third.flac", "phone/b/two/01-third.opus"],
    );
}

#[test]
fn a_track_that_is_left_out_takes_its_outputs_with_it() {
    after(
        |world| world.write("b/two/01-third.vibes.txt", "encode-\n"),
        &[],
        &["home/b/two/01-third.flac", "phone/b/two/01-third.opus"],
    );
}

#[test]
fn a_renamed_album_is_built_under_its_new_name_and_goes_under_its_old() {
    after(
        |world| fs::rename(world.source("b/two"), world.source("b/zwei")).unwrap(),
        &[
            "home/b/zwei/01-third.flac",
            "home/b/zwei/02-fourth.flac",
            "phone/b/zwei/01-third.opus",
            "phone/b/zwei/02-fourth.opus",
        ],
        &[
            "home/b/two/01-third.flac",
            "home/b/two/02-fourth.flac",
            "phone/b/two/01-third.opus",
            "phone/b/two/02-fourth.opus",
        ],
    );
}

#[test]
fn a_new_profile_builds_only_itself() {
    after(
        |world| world.profile("car", "CONFIG_ENCODER=lame\n"),
        &[
            "car/a/one/01-first.mp3",
            "car/a/one/02-second.mp3",
            "car/b/two/01-third.mp3",
            "car/b/two/02-fourth.mp3",
        ],
        &[],
    );
}

#[test]
fn a_removed_profile_takes_its_outputs_with_it() {
    after(
        |world| world.remove_profile("phone"),
        &[],
        &[
            "phone/a/one/01-first.opus",
            "phone/a/one/02-second.opus",
            "phone/b/two/01-third.opus",
            "phone/b/two/02-fourth.opus",
        ],
    );
}

#[test]
fn new_flags_build_their_profile() {
    after(
        |world| world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=--fast\n"),
        &[
            "home/a/one/01-first.flac",
            "home/a/one/02-second.flac",
            "home/b/two/01-third.flac",
            "home/b/two/02-fourth.flac",
        ],
        &[],
    );
}

#[test]
fn a_profile_that_says_the_same_builds_nothing() {
    after(
        |world| world.profile("home", "# mine\nCONFIG_FLAC_FLAGS=--best\nCONFIG_ENCODER=flac\n"),
        &[],
        &[],
    );
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
