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
