//! Gains are what another meter measures, and follow every track of an album.

mod support;

use std::ffi::OsStr;
use std::path::Path;

use support::{World, run, samples, says, wave};

/// Ten seconds of stereo, this many times quieter than full; long enough for the blocks of 0.4 s that lie across two tracks,
/// which only the other meter sees, not to matter.
fn tone(seed: u32, quieter: i16) -> Vec<u8> {
    let full = samples(seed, 2, 16, 441_000);
    let quiet = full
        .chunks_exact(2)
        .flat_map(|sample| (i16::from_le_bytes([sample[0], sample[1]]) / quieter).to_le_bytes());
    wave(&quiet.collect::<Vec<_>>(), 2, 16, 44_100)
}

/// The integrated loudness of files, one after the other, in LUFS; measured by ffmpeg.
fn loudness(paths: &[&Path]) -> f64 {
    let mut arguments = vec![OsStr::new("-nostdin"), OsStr::new("-hide_banner")];
    for path in paths {
        arguments.extend([OsStr::new("-i"), path.as_os_str()]);
    }
    let filter = format!("concat=n={}:v=0:a=1,ebur128", paths.len());
    arguments.extend(["-filter_complex", &filter, "-f", "null", "-"].map(OsStr::new));
    let said = String::from_utf8(run("ffmpeg", &arguments).stderr).unwrap();
    let line = said.lines().rev().find_map(|line| line.trim().strip_prefix("I:"));
    line.unwrap().trim().trim_end_matches("LUFS").trim().parse().unwrap()
}

/// The number that a tag of a FLAC file begins with.
fn tag(path: &Path, name: &str) -> f64 {
    let said = says("metaflac", &[&format!("--show-tag={name}")], path);
    let value = said
        .trim()
        .split_once('=')
        .unwrap_or_else(|| panic!("no {name} in {path:?}"))
        .1;
    value.split(' ').next().unwrap().parse().unwrap()
}

/// An album of a loud and a quiet track, and another album, in a profile with album gain.
fn world() -> World {
    let world = World::new();
    world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_REPLAYGAIN=album\n");
    world.write("a/x/01-loud.wav", tone(1, 1));
    world.write("a/x/02-quiet.wav", tone(2, 8));
    world.write("a/y/01-other.wav", tone(3, 2));
    world
}

#[test]
fn gains_are_what_another_meter_measures() {
    let world = world();
    world.profile("phone", "CONFIG_ENCODER=opusenc\nCONFIG_REPLAYGAIN=album\n");
    world.profile("car", "CONFIG_ENCODER=lame\nCONFIG_REPLAYGAIN=track\n");
    world.build_well();
    let (loud, quiet) = (
        world.output("home/a/x/01-loud.flac"),
        world.output("home/a/x/02-quiet.flac"),
    );
    let near = |one: f64, other: f64| assert!((one - other).abs() < 0.15, "{one} is not {other}");
    let album = loudness(&[&loud, &quiet]);
    for path in [&loud, &quiet] {
        near(tag(path, "REPLAYGAIN_TRACK_GAIN"), -18.0 - loudness(&[path]));
        near(tag(path, "REPLAYGAIN_ALBUM_GAIN"), -18.0 - album);
        near(tag(path, "REPLAYGAIN_ALBUM_PEAK"), 0.6);
    }
    near(tag(&quiet, "REPLAYGAIN_TRACK_PEAK"), 0.6 / 8.0);
    let opus = says("opusinfo", &[], &world.output("phone/a/x/02-quiet.opus"));
    let value = |name: &str| {
        let line = opus.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {opus}"))
            .parse::<f64>()
            .unwrap()
            / 256.0
    };
    near(value("R128_TRACK_GAIN="), -23.0 - loudness(&[&quiet]));
    near(value("R128_ALBUM_GAIN="), -23.0 - album);
    let mp3 = says(
        "ffprobe",
        &["-v", "error", "-show_entries", "format_tags"],
        &world.output("car/a/x/01-loud.mp3"),
    );
    assert!(
        mp3.contains("REPLAYGAIN_TRACK_GAIN") && !mp3.contains("ALBUM_GAIN"),
        "{mp3}"
    );
}

#[test]
fn an_album_follows_each_of_its_tracks_and_no_other_album() {
    let world = world();
    world.profile("car", "CONFIG_ENCODER=flac\nCONFIG_REPLAYGAIN=track\n");
    assert_eq!(world.build_well().list("built").len(), 6);
    world.write("a/x/01-loud.wav", tone(1, 3));
    let both = ["home/a/x/01-loud.flac", "home/a/x/02-quiet.flac"];
    assert_eq!(
        world.build_well().list("built"),
        ["car/a/x/01-loud.flac", both[0], both[1]]
    );
    let after = loudness(&[&world.output(both[0]), &world.output(both[1])]);
    assert!((tag(&world.output(both[1]), "REPLAYGAIN_ALBUM_GAIN") + 18.0 + after).abs() < 0.15);

    world.write("a/x/02-quiet.tags.vc", "TITLE=Silent\n");
    assert_eq!(world.build_well().list("built"), ["car/a/x/02-quiet.flac", both[1]]);

    world.write("a/x/03-new.wav", tone(4, 1));
    let new = ["car/a/x/03-new.flac", both[0], both[1], "home/a/x/03-new.flac"];
    assert_eq!(world.build_well().list("built"), new);
    assert!(world.build_well().list("built").is_empty());
}

#[test]
fn a_broken_track_takes_no_gain_away_from_its_album() {
    let world = world();
    world.write("a/x/03-broken.wav", "RIFF....WAVE and then nothing of the kind");
    let built = world.build();
    assert_eq!(built.failures().keys().collect::<Vec<_>>(), ["a/x/03-broken.wav"]);
    assert_eq!(built.list("built").len(), 3);
    let warnings = built.list("warnings");
    let expected = "home/a/x/01-loud.flac: the gain of its album is without 03-broken.wav: ";
    assert!(
        warnings.iter().any(|warning| warning.starts_with(expected)),
        "{warnings:?}"
    );
    tag(&world.output("home/a/x/01-loud.flac"), "REPLAYGAIN_ALBUM_GAIN");
}

#[test]
fn what_is_known_of_a_folder_goes_with_it() {
    let world = world();
    world.build_well();
    let kept = || std::fs::read_dir(world.builds().join("loudness")).unwrap().count();
    assert_eq!(kept(), 2);
    std::fs::remove_dir_all(world.source("a/y")).unwrap();
    world.build_well();
    assert_eq!(kept(), 1);
}
