//! Any name that a file system can hold is a good name, for a track and for a folder.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use support::{World, says, tone};

/// Names, without an extension. No two of them become the same.
const NAMES: &[&[u8]] = &[
    b"plain",
    b"with space",
    b" leading space",
    b"trailing space ",
    b"trailing dot.",
    b"-dash",
    b"--option=value",
    b".hidden",
    b"..two dots",
    b"...",
    b"it's \"quoted\"",
    b"x<3",
    b"a > b | c",
    b"percent 100% %f %o %%",
    b"dollar $HOME $(x) ${y} $$",
    b"at @(x) & amp &(y)",
    b"hash # bang ! caret ^x^",
    b"^flag",
    b"{bin}",
    b"[glob] * ?",
    b"semi;colon: comma,",
    b"back\\slash \\n",
    b"`ticks`",
    b"tilde ~root",
    b"=3D encoded =",
    b"=",
    b"<group>",
    b"|> rule <|",
    b": foreach",
    b"new\nline",
    b"line: vibes=home=plain.wav",
    b"tab\tcarriage\r",
    "Björk \u{2013} Jóga".as_bytes(),
    "Bjo\u{308}rk".as_bytes(),
    "久石 譲".as_bytes(),
    "🎵🎶".as_bytes(),
    b"latin1 \xe4\xf6\xfc",
    b"build-home",
    b"collection",
    b"x.stamp",
    // What version control and tup know by other names than these.
    b".github",
    b".gitignore",
    b".tupoptions",
    b".tupignore",
    b".tupper",
    b".hgx",
    b"CVS",
    b"@tup",
    b"@tupjob-1",
    b"$",
    b"lost+found",
    b"apart",
];

#[test]
fn hostile_names_work_as_files_and_as_folders() {
    let world = World::new();
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    for name in NAMES {
        let name = OsStr::from_bytes(name);
        let mut file = name.to_owned();
        file.push(".wav");
        world.write(Path::new("files").join(&file), tone(1));
        world.write(Path::new("folders").join(name).join("01.wav"), tone(1));
    }
    let built = world.build_well();
    assert_eq!(built.list("built").len(), 4 * NAMES.len());
    for name in NAMES {
        let name = OsStr::from_bytes(name);
        let mut file = name.to_owned();
        file.push(".flac");
        let file = world.output(Path::new("home/files").join(file));
        assert!(file.is_file(), "{name:?}");
        if let Some(title) = name.to_str().filter(|title| !title.contains(['\n', '\r'])) {
            let said = says("metaflac", &["--show-tag=TITLE"], &file);
            assert_eq!(said, format!("TITLE={}\n", title.trim()), "{name:?}");
        }
        assert!(
            world
                .output(Path::new("phone/folders").join(name).join("01.opus"))
                .is_file(),
            "{name:?}"
        );
    }
    assert!(world.build_well().list("built").is_empty());

    // A hostile name that goes takes its outputs with it, and one that fails is named.
    fs::remove_file(world.source("files/x<3.wav")).unwrap();
    world.write("folders/new\nline/01.wav", "no sound");
    let built = world.build();
    assert_eq!(built.list("removed"), ["home/files/x<3.flac", "phone/files/x<3.opus"]);
    assert_eq!(
        built.failures().keys().collect::<Vec<_>>(),
        ["folders/new\nline/01.wav"]
    );
}

#[test]
fn the_longest_names_work_where_their_output_fits() {
    let world = World::new();
    let long = format!("{}.wave", "長".repeat(83));
    let too_long = format!("{}.wav", "y".repeat(251));
    world.write(&long, tone(1));
    world.write(&too_long, tone(2));
    world.write("other.wav", tone(3));
    let built = world.build();
    assert!(world.output(format!("home/{}.flac", "長".repeat(83))).is_file());
    let failures = built.failures();
    assert_eq!(failures.keys().collect::<Vec<_>>(), [&too_long]);
    assert!(failures[&too_long].contains("File name too long"), "{failures:?}");
}

/// Names that are left out: what is in them, or tup, would do something else than its owner wants.
const SPECIAL: &[&str] = &[
    "Tupfile",
    "Tupfile.lua",
    "Tupdefault",
    "Tupdefault.lua",
    "Tuprules.tup",
    "Tupfile.ini",
    "tup.config",
    ".tup",
    ".git",
    ".svn",
    ".hg",
    ".bzr",
    ".ccache",
    ".ccache-of-mine",
    "01.wav.vibes-stamp",
    ".vibes-unfinished-x.wav",
];

#[test]
fn names_with_a_meaning_of_their_own_are_left_out() {
    let world = World::new();
    world.write("a/01.wav", tone(1));
    for name in SPECIAL {
        world.write(Path::new("a").join(name), ": |> nonsense");
        world.write(Path::new("b").join(name).join("02.wav"), tone(2));
    }
    let built = world.build_well();
    assert_eq!(built.list("built"), ["home/a/01.flac"]);
    let warnings = built.list("warnings");
    for name in SPECIAL {
        for folder in ["a", "b"] {
            let begin = format!("{folder}/{name} was left out: ");
            assert!(warnings.iter().any(|warning| warning.starts_with(&begin)), "{begin}");
        }
    }
    assert_eq!(warnings.len(), 2 * SPECIAL.len());
    assert!(world.build_well().list("built").is_empty());
}

#[test]
fn a_track_whose_output_has_the_name_of_a_folder_fails_alone() {
    let world = World::new();
    world.write("x/a.wav", tone(1));
    world.write("x/a.flac/01.wav", tone(2));
    world.write("x/b.wav", tone(3));
    let built = world.build();
    assert_eq!(built.list("built"), ["home/x/a.flac/01.flac", "home/x/b.flac"]);
    let failures = built.failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(
        failures["x/a.wav"],
        "it would become a.flac, and there is a folder of that name"
    );

    fs::rename(world.source("x/a.flac"), world.source("x/c.flac")).unwrap();
    let built = world.build_well();
    assert_eq!(built.list("built"), ["home/x/a.flac", "home/x/c.flac/01.flac"]);

    fs::rename(world.source("x/c.flac"), world.source("x/a.flac")).unwrap();
    let built = world.build();
    assert_eq!(built.list("built"), ["home/x/a.flac/01.flac"]);
    assert_eq!(built.failures().len(), 1);
}

#[test]
fn portable_names_are_accepted_by_every_player() {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=lame\nCONFIG_NAMES=portable\n");
    for path in [
        "AC/DC?/01: <Thunder> \"Struck\".wav",
        "AC/DC?/02.wav",
        "Bj\u{f6}rk/J\u{f3}ga.wav",
        "bjo\u{308}rk/joga.wav",
        "R.E.M./CON.wav",
        "R.E.M./ trailing .wav",
        "plain/01.wav",
        "plain/A.wav",
        "plain/a.wav",
    ] {
        world.write(path, tone(1));
    }
    let built = world.build_well();
    let mut car: Vec<_> = built.list("built");
    car.retain(|path| path.starts_with("car/"));
    let expected = [
        "car/AC/DC\u{ff1f}/01\u{ff1a} \u{ff1c}Thunder\u{ff1e} \u{ff02}Struck\u{ff02}.mp3",
        "car/AC/DC\u{ff1f}/02.mp3",
        "car/Bj\u{f6}rk/J\u{f3}ga.mp3",
        "car/R.E.M\u{ff0e}/_CON.mp3",
        "car/R.E.M\u{ff0e}/\u{2420}trailing .mp3",
        "car/bj\u{f6}rk ~b7460435/joga.mp3",
        "car/plain/01.mp3",
        "car/plain/A.mp3",
        "car/plain/a ~ca978112.mp3",
    ];
    assert_eq!(car, expected);
    assert!(expected.iter().all(|path| world.output(path).is_file()));
    assert!(world.output("home/R.E.M./ trailing .flac").is_file());
    assert!(world.build_well().list("built").is_empty());

    // What has nothing to do with a name does not change it; what made it necessary does.
    world.write("plain/aa.wav", tone(2));
    world.write("Bjork/1.wav", tone(2));
    fs::remove_file(world.source("plain/A.wav")).unwrap();
    let built = world.build_well();
    let car = |field| {
        let mut paths: Vec<_> = built.list(field);
        paths.retain(|path| path.starts_with("car/"));
        paths
    };
    assert_eq!(car("built"), ["car/Bjork/1.mp3", "car/plain/a.mp3", "car/plain/aa.mp3"]);
    assert_eq!(car("removed"), ["car/plain/A.mp3", "car/plain/a ~ca978112.mp3"]);

    // A track that fails is known by its output.
    world.write("R.E.M./CON.wav", "no sound");
    assert_eq!(world.build().failures().len(), 1);
    assert!(world.output("car/R.E.M\u{ff0e}/_CON.mp3").is_file());
}

#[test]
fn names_that_portable_spelling_makes_too_long_are_cut() {
    let world = World::new();
    world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_NAMES=portable\n");
    for end in ["a", "b"] {
        world.write(format!("{}{end}.wav", "?".repeat(240)), tone(1));
        world.write(format!("{}{end}/01.wav", ":".repeat(250)), tone(1));
    }
    let built = world.build_well().list("built");
    assert_eq!(built.len(), 4);
    assert!(built.iter().all(|path| world.output(path).is_file()), "{built:?}");
}
