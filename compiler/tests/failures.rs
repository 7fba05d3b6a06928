//! A track that fails says why and hurts nobody else; a build that cannot run says why at once.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{World, samples, tone, wave};

#[test]
fn a_failing_track_keeps_its_older_output() {
    let world = World::new();
    world.write("01.wav", tone(1));
    world.write("02.wav", tone(2));
    world.build_well();
    let before = world.outputs();

    world.write("01.wav", "RIFF....WAVE and no sound");
    for _ in 0..2 {
        let built = world.build();
        assert!(!built.success);
        assert_eq!(built.report["outcome"], "done");
        let failures = built.failures();
        assert_eq!(failures["01.wav"], "it is cut off within its header");
        assert_eq!(world.outputs(), before);
    }

    world.write("01.wav", tone(3));
    assert_eq!(world.build_well().list("built"), ["home/01.flac"]);
    world.write("01.wav", "no sound again");
    world.build();
    fs::remove_file(world.source("01.wav")).unwrap();
    assert_eq!(world.build_well().list("removed"), ["home/01.flac"]);
}

#[test]
fn no_encoder_takes_what_is_no_audio_for_samples() {
    let world = World::new();
    for (profile, encoder) in [("car", "lame"), ("phone", "opusenc"), ("radio", "oggenc")] {
        world.profile(profile, &format!("CONFIG_ENCODER={encoder}\n"));
    }
    for (number, name) in ["01.wav", "02.aiff", "03.flac"].into_iter().enumerate() {
        world.write(name, vec![number as u8 + 65; 10_000]);
    }
    world.write("04.wave", "");
    let built = world.build();
    let failed = built.report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 4 * 4, "{failed:?}");
    let reason = "its content is not what its extension says";
    assert!(failed.iter().all(|failure| failure["reason"] == reason), "{failed:?}");
    assert_eq!(built.list("built"), Vec::<String>::new());
}

#[test]
fn two_sources_of_one_output_are_errors_that_name_both() {
    let world = World::new();
    world.write("a.wav", tone(1));
    world.write("a.WAVE", tone(2));
    for number in 0..4 {
        world.write(format!("b{number}.wav"), tone(number));
    }
    let built = world.build();
    let failures = built.failures();
    assert_eq!(failures.len(), 2);
    assert_eq!(failures["a.wav"], "a.WAVE and a.wav would all become a.flac");
    assert_eq!(built.list("built").len(), 4);
}

#[test]
fn a_broken_sidecar_and_a_missing_picture_are_errors_of_their_tracks() {
    let world = World::new();
    world.write("bad/tags.vc", "ARTIST=x\nnonsense\n");
    world.write("bad/01.wav", tone(1));
    world.write("bare/vibes.txt", "apic=3:jpeg:..\n");
    world.write("bare/01.wav", tone(2));
    world.write("long/01.wav", tone(3));
    world.write("long/01.tags.vc", format!("LYRICS={}\n", "la ".repeat(20_000)));
    for number in 0..4 {
        world.write(format!("good/{number}.wav"), tone(number));
    }
    let failures = world.build().failures();
    assert_eq!(failures.len(), 3);
    assert_eq!(failures["bad/01.wav"], "bad/tags.vc, line 2: \"nonsense\" has no '='");
    assert!(
        failures["bare/01.wav"].contains("picture-03.jpeg cannot be read"),
        "{failures:?}"
    );
    assert!(failures["long/01.wav"].contains("32768 is the limit"), "{failures:?}");
}

#[test]
fn a_build_of_which_most_fails_is_a_failure() {
    let world = World::new();
    world.write("01.wav", "no sound");
    world.write("02.wav", "no sound");
    world.write("03.wav", tone(1));
    let built = world.build();
    assert_eq!(built.report["outcome"], "failed");
    let reason = built.report["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("2 tracks failed and 1 are good; the first: 01.wav (home): "),
        "{reason}"
    );
}

#[test]
fn a_wrong_profile_is_refused_before_anything_is_built() {
    let world = World::new();
    world.write("01.wav", tone(1));
    let cases = [
        (
            "CONFIG_ENCODER=winamp\n",
            "profile \"bad\", line 1: unknown encoder \"winamp\"",
        ),
        (
            "CONFIG_ENCODER=flac\nCONFIG_COLOUR=red\n",
            "profile \"bad\", line 2: unknown key \"CONFIG_COLOUR\"",
        ),
        (
            "CONFIG_ENCODER=lame\nCONFIG_LAME_FLAGS=--wrong\n",
            "profile \"bad\", line 2: lame refuses \"--wrong\"",
        ),
        (
            "CONFIG_ENCODER=flac\nCONFIG_FLAC=/nowhere/flac\n",
            "/nowhere/flac cannot be started",
        ),
    ];
    for (text, expected) in cases {
        world.profile("bad", text);
        let said = world.refuse();
        assert!(said.contains(expected), "{said}");
        assert!(!world.output("home").exists());
    }
}

/// A world with twelve tracks, which take two processors some seconds.
fn long_world() -> World {
    let world = World::new();
    let long = wave(&samples(1, 2, 16, 44_100 * 20), 2, 16, 44_100);
    for number in 0..12 {
        world.write(format!("{number:02}.wav"), &long);
    }
    world.profile("home", "CONFIG_ENCODER=opusenc\n");
    world
}

/// Waits for so many outputs of a build, whichever they are: tracks of one length have no order.
fn await_outputs(world: &World, number: usize) {
    let there = || {
        let tracks = (0..12).map(|track| world.output(format!("home/{track:02}.opus")));
        tracks.filter(|track| track.exists()).count()
    };
    let begun = Instant::now();
    while there() < number {
        assert!(begun.elapsed() < Duration::from_secs(60), "no track in a minute");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What was done is not done again.
fn continues(world: &World, done: &BTreeMap<String, (Vec<u8>, SystemTime)>) {
    let continued = world.build_well();
    assert_eq!(continued.list("built").len(), 12 - done.len());
    let now = world.outputs();
    assert!(done.iter().all(|(name, before)| now[name] == *before));
}

#[test]
fn an_interrupted_build_keeps_what_is_done_and_continues() {
    let world = long_world();
    let mut child = world
        .command()
        .args(["--jobs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    await_outputs(&world, 1);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let report = serde_json::from_reader::<_, serde_json::Value>(child.stdout.take().unwrap()).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(report["outcome"], "interrupted");
    assert_eq!(report["failed"], serde_json::json!([]));
    let done = world.outputs();
    assert!(!done.is_empty() && done.len() < 12, "{:?}", done.keys());
    assert!(
        done.keys().all(|name| !name.contains("unfinished")),
        "{:?}",
        done.keys()
    );

    continues(&world, &done);
}

#[test]
fn a_build_that_is_killed_with_all_its_processes_continues() {
    let world = long_world();
    kill_after_three_outputs(&world);
    let mut done = world.outputs();
    done.retain(|name, _| !name.contains("unfinished"));
    assert!((3..12).contains(&done.len()), "{:?}", done.keys());
    continues(&world, &done);
}

#[test]
fn a_profile_may_change_after_a_build_that_was_killed() {
    let world = long_world();
    kill_after_three_outputs(&world);
    world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=-0\n");
    let warnings = world.build_well().list("warnings").join("\n");
    assert!(warnings.contains("the last build was cut off"), "{warnings}");
    let next = world.build_well();
    assert_eq!((next.list("built"), next.list("warnings")), (vec![], vec![]));
}

/// Begins a build and kills all of it when it has three outputs.
fn kill_after_three_outputs(world: &World) {
    let build = world.command();
    // The end of a pid namespace is as sudden as that of a machine, and takes tup along.
    let mut child = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(build.get_program())
        .args(build.get_args())
        .args(["--jobs", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    await_outputs(world, 3);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn names_that_tup_would_obey_are_hidden_and_reported() {
    let world = World::new();
    world.write("a/01.wav", tone(1));
    world.write("a/Tupfile", ": |> touch /obeyed |>\n");
    world.write("Tupdefault", ": |> touch /obeyed |>\n");
    world.write("tup.config", "nonsense\n");
    world.write("b/.git/02.wav", tone(2));
    let built = world.build_well();
    assert_eq!(built.list("built"), ["home/a/01.flac"]);
    let warnings = built.list("warnings").join("\n");
    for name in ["Tupdefault", "a/Tupfile", "b/.git", "tup.config"] {
        assert!(warnings.contains(&format!("{name} was left out: tup ")), "{warnings}");
    }
    assert!(world.build_well().list("built").is_empty());
    fs::remove_file(world.source("a/Tupfile")).unwrap();
    assert!(world.build_well().list("built").is_empty());
}

#[test]
fn names_that_tup_would_obey_stop_a_build_that_sees_them() {
    let builds = tempfile::tempdir().unwrap();
    let collection = builds.path().join("work/collection");
    fs::create_dir_all(collection.join("a")).unwrap();
    fs::write(collection.join("a/Tupfile"), "").unwrap();
    let build = compiler::Build {
        collection,
        builds: builds.path().to_owned(),
        profiles: [("home".to_owned(), "CONFIG_ENCODER=flac".to_owned())].into(),
        user: None,
        jobs: None,
        shard: None,
        program: env!("CARGO_BIN_EXE_vibes-compile").into(),
    };
    let error = compiler::build(&build, &mut |_| {}, &false.into())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "a/Tupfile (and 0 more) cannot be taken: tup would obey it; rename or remove it"
    );
    assert!(!builds.path().join("out").exists());
}

#[test]
fn an_empty_collection_is_well_and_says_so() {
    let world = World::new();
    world.write("notes.txt", "nothing to hear");
    let built = world.build_well();
    assert_eq!(built.list("warnings"), ["the collection holds no track to encode"]);
}

#[test]
fn a_full_disk_fails_the_tracks_that_do_not_fit_and_no_others() {
    let world = World::new();
    let noise = wave(&noise(44_100 * 4 * 20), 2, 16, 44_100);
    for number in 0..16 {
        world.write(format!("{number:02}.wav"), &noise);
    }
    fs::create_dir(world.builds()).unwrap();
    let build = world.command();
    let built = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o size=100m none \"$0\" && exec \"$@\"",
        ])
        .arg(world.builds())
        .arg(build.get_program())
        .args(build.get_args())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&built.stdout).unwrap();
    let (made, failed) = (
        report["built"].as_array().unwrap(),
        report["failed"].as_array().unwrap(),
    );
    assert_eq!(report["outcome"], "done");
    assert_eq!(made.len() + failed.len(), 16);
    assert!((8..14).contains(&made.len()), "{report:#}");
    for failure in failed {
        assert!(
            failure["reason"]
                .as_str()
                .unwrap()
                .starts_with("the builds volume is full: "),
            "{failure}"
        );
        assert_eq!(failure["remedy"], "make it larger, or take sources or profiles away");
    }
}

/// Bytes that nothing can compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
