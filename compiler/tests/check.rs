//! `vibes-compile check` finds what a build would trip over, and builds nothing.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;
use support::{World, png, tone};

/// What was found, and whether a build would fail.
struct Checked {
    json: Value,
    fails: bool,
}

impl Checked {
    /// The reasons of the problems about something, each with its places.
    fn about(&self, about: &str) -> Vec<(String, Vec<String>)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let problems = self.json["problems"].as_array().unwrap().iter();
        problems
            .filter(|problem| problem["about"] == about)
            .map(|problem| {
                let places = problem["places"].as_array().unwrap().iter().map(text);
                (text(&problem["reason"]), places.collect())
            })
            .collect()
    }

    /// The only problem about something.
    fn one(&self, about: &str) -> (String, Vec<String>) {
        let mut problems = self.about(about);
        assert_eq!(problems.len(), 1, "{:#}", self.json);
        problems.remove(0)
    }
}

fn command(world: &World) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vibes-compile"));
    command.arg("check").arg(world.source(""));
    command
}

fn check(world: &World) -> Checked {
    let output = command(world)
        .arg("--json")
        .arg("--profiles")
        .arg(world.folder("profiles"))
        .output()
        .unwrap();
    let Ok(json) = serde_json::from_slice(&output.stdout) else {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    };
    assert!(!world.builds().exists());
    Checked {
        json,
        fails: !output.status.success(),
    }
}

/// An album with everything.
fn good_album(world: &World) {
    world.write("good/tags.vc", "ARTIST=a\nALBUM=b\n");
    world.write("good/cover.png", png(1, 10));
    for number in 1..=2 {
        world.write(format!("good/{number:02}.wav"), tone(number));
        world.write(
            format!("good/{number:02}.tags.vc"),
            format!("TITLE=t\nTRACKNUMBER={number}\n"),
        );
    }
}

#[test]
fn a_good_collection_has_no_problem() {
    let world = World::new();
    good_album(&world);
    world.write("good/booklet.pdf", "no music");
    world.profile("car", "CONFIG_ENCODER=lame\n");
    let checked = check(&world);
    assert!(!checked.fails);
    assert_eq!(checked.json["problems"], serde_json::json!([]));
    assert_eq!(checked.json["sources"], serde_json::json!({"wav": 2}));
    assert_eq!(checked.json["outputs"], serde_json::json!({"car": 2, "home": 2}));
}

#[test]
fn what_fails_in_a_build_is_found_with_the_same_words() {
    let world = World::new();
    good_album(&world);
    world.write("text/01.wav", "no sound");
    world.write("sidecar/tags.vc", "ARTIST=x\nnonsense\n");
    world.write("sidecar/01.wav", tone(1));
    world.write("sidecar/02.wav", tone(1));
    world.write("bare/vibes.txt", "apic=3:jpeg:..\n");
    world.write("bare/01.wav", tone(2));
    world.write("nopicture/picture-03.jpeg", "no picture");
    world.write("nopicture/vibes.txt", "apic=3:jpeg\n");
    world.write("nopicture/01.wav", tone(2));
    world.write("twice/a.wav", tone(1));
    world.write("twice/a.aiff", tone(2));
    world.write("folder/x.wav", tone(1));
    world.write("folder/x.flac/01.wav", tone(1));
    world.write("yaml/mustup-manifest.yaml", "gone.wave:\n  metadata: {}\n");
    world.write("long/01.wav", tone(3));
    world.write("long/01.tags.vc", format!("LYRICS={}\n", "la ".repeat(20_000)));

    let checked = check(&world);
    assert!(checked.fails);
    let found: std::collections::BTreeMap<_, _> = checked
        .about("track")
        .into_iter()
        .flat_map(|(reason, places)| places.into_iter().map(move |place| (place, reason.clone())))
        .collect();
    let built = world.build();
    assert_eq!(found, built.failures());
    assert_eq!(found.len(), 10, "{found:?}");
    assert_eq!(
        found["sidecar/02.wav"],
        "sidecar/tags.vc, line 2: \"nonsense\" has no '='"
    );
    let outputs = built.report["outputs"]["home"].as_u64().unwrap();
    assert_eq!(checked.json["outputs"]["home"], outputs);
}

#[test]
fn a_cover_that_is_none_is_told_and_nothing_fails_of_it() {
    let world = World::new();
    good_album(&world);
    world.write("good/cover.png", "");
    let checked = check(&world);
    assert!(!checked.fails, "{:#}", checked.json);
    let (reason, places) = checked.one("sidecar");
    assert!(reason.starts_with("good/cover.png is no picture: "), "{reason}");
    assert_eq!(places, ["good/01.wav", "good/02.wav"]);

    let built = world.build_well();
    assert_eq!(built.list("warnings"), [reason]);
    assert_eq!(built.list("built").len(), 2);
    // A good one is in all of them.
    world.write("good/cover.png", png(1, 10));
    let built = world.build_well();
    assert_eq!(built.list("built").len(), 2);
    assert_eq!(built.list("warnings"), Vec::<String>::new());
}

#[test]
fn wrong_profiles_are_found_all_at_once() {
    let world = World::new();
    good_album(&world);
    world.profile("one", "CONFIG_ENCODER=winamp\n");
    world.profile("two", "CONFIG_ENCODER=lame\nCONFIG_LAME_FLAGS=--wrong\n");
    let checked = check(&world);
    assert!(checked.fails);
    let found = checked.about("profile");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].1, ["one"]);
    assert_eq!(found[0].0, "line 1: unknown encoder \"winamp\"");
    assert_eq!(found[1].1, ["two"]);
    assert!(found[1].0.starts_with("line 2: lame refuses \"--wrong\""), "{found:?}");
}

#[test]
fn missing_and_guessed_tags_and_missing_pictures_are_told_and_nothing_fails_of_them() {
    let world = World::new();
    world.write("Artist/Album/01 - Song.wav", tone(1));
    world.write("root.wav", tone(2));
    let checked = check(&world);
    assert!(!checked.fails);
    let guesses = checked.about("guesses");
    assert!(
        guesses.contains(&(
            "TITLE, ARTIST, ALBUM, TRACKNUMBER".to_owned(),
            vec!["Artist/Album/01 - Song.wav".to_owned()]
        )),
        "{guesses:?}"
    );
    let (reason, places) = checked.one("tags");
    assert_eq!(reason, "no ARTIST, ALBUM, TRACKNUMBER");
    assert_eq!(places, ["root.wav"]);
    assert_eq!(checked.one("cover").1, ["Artist/Album/01 - Song.wav", "root.wav"]);
}

#[test]
fn names_that_are_left_out_are_told_without_a_failure() {
    let world = World::new();
    good_album(&world);
    world.write("good/Tupfile", "nonsense");
    world.write("good/.git/01.wav", tone(1));
    symlink("nowhere", world.source("good/gone.wav")).unwrap();
    let checked = check(&world);
    assert!(!checked.fails, "{:#}", checked.json);
    let places: Vec<_> = checked
        .about("leftOut")
        .into_iter()
        .flat_map(|(_, places)| places)
        .collect();
    assert_eq!(places, ["good/.git", "good/Tupfile"]);
    assert_eq!(checked.json["sources"], serde_json::json!({"wav": 2}));
}

#[test]
fn unknown_entries_of_playlists_are_told_with_their_line() {
    let world = World::new();
    good_album(&world);
    world.profile("car", "CONFIG_ENCODER=flac\nCONFIG_PLAYLISTS=m3u\n");
    world.write("best.pl.yaml", "title: Best\ntracks:\n  - good/01\n  - good/gone\n");
    let checked = check(&world);
    assert!(!checked.fails);
    let (reason, places) = checked.one("playlist");
    assert_eq!(reason, "line 4: there is no track \"good/gone\"");
    assert_eq!(places, ["best.pl.yaml"]);
}

#[test]
fn without_profiles_the_collection_alone_is_checked() {
    let world = World::new();
    good_album(&world);
    fs::remove_file(world.source("good/02.tags.vc")).unwrap();
    let output = command(&world).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "Sources: 2 wav\n\nTags that nobody gives\n- no TITLE; add it to a tags.vc or to the source\n    good/02.wav\n\n\
         Tags taken from the names of files and folders\n- TRACKNUMBER; give them in a tags.vc if that is wrong\n    \
         good/02.wav\n\nFailures: 0, warnings: 1, hints: 1\n"
    );
}

#[test]
fn a_collection_that_is_not_there_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_vibes-compile"))
        .args(["check", "/nowhere"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere does not exist"), "{said}");
}
