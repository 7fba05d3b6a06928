//! A collection and profiles of somebody who means harm: each is an error of its own, in time, and good tracks are built.

mod support;

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use support::{World, png, tone};

#[test]
fn pipes_devices_and_huge_files_stop_nobody_else() {
    let world = World::new();
    for folder in ["good", "cover", "device", "huge", "sidecar", "tags", "yaml", "wide"] {
        world.write(format!("{folder}/01.wav"), tone(1));
    }
    let pipe = |path: &str| mkfifo(&world.source(path), Mode::S_IRWXU).unwrap();
    pipe("good/02.wav");
    pipe("cover/cover.jpg");
    pipe("sidecar/tags.vc");
    symlink("/dev/zero", world.source("device/cover.png")).unwrap();
    world.write("huge/cover.png", png(1, 33 << 20));
    world.write("tags/tags.vc", "A=x\n".repeat(300_000));
    let bomb: String = (1..30)
        .map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1))
        .collect();
    world.write("yaml/mustup-metadata.yaml", format!("a0: &a0 [x]\n{bomb}"));
    // Its first packet of metadata is followed by one that never ends: every page says that it goes on.
    let page = |flags: u8, lacing: &[u8], content: &[u8]| {
        let header = [b"OggS\0".as_slice(), &[flags], &[0; 20], &[lacing.len() as u8], lacing];
        [header.concat(), content.to_vec()].concat()
    };
    let stream_info = [b"\x7FFLAC\x01\0\0\0fLaC\0\0\0\x22".as_slice(), &[1; 34]].concat();
    let endless = page(0, &[255; 255], &[0; 255 * 255]).repeat(1200);
    world.write("ogg/01.oga", [page(2, &[51], &stream_info), endless].concat());
    // 2,147,483,647 pixels in each direction.
    let mut wide = png(2, 0);
    wide[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    world.write("wide/cover.png", wide);

    let began = Instant::now();
    let built = world.build();
    let failures = built.failures();
    assert!(began.elapsed() < Duration::from_secs(300));
    let said = |path: &str, words: &str| {
        let reason = failures.get(path).unwrap_or_else(|| panic!("{path}: {failures:?}"));
        assert!(reason.contains(words), "{path}: {reason}");
    };
    said("sidecar/01.wav", "it is no file");
    said("tags/01.wav", "tags/tags.vc is larger than 1 MiB");
    said("yaml/01.wav", "yaml/mustup-metadata.yaml");
    said("ogg/01.oga", "its metadata does not end within 64 MiB");
    assert_eq!(failures.len(), 4, "{failures:?}");
    let warnings = built.list("warnings").join("\n");
    assert!(
        warnings.contains("the picture huge/cover.png is larger than 32 MiB"),
        "{warnings}"
    );
    let outputs: Vec<_> = world.outputs().into_keys().collect();
    // What is neither a file nor a folder is neither a track nor a cover.
    let expected = ["cover", "device", "good", "huge", "wide"].map(|folder| format!("home/{folder}/01.flac"));
    assert_eq!(outputs, expected);
}

#[test]
fn names_and_reasons_do_not_steer_a_terminal() {
    let world = World::new();
    world.write("a\u{1b}]0;owned\u{7}/\u{202e}1.wav", "RIFF....WAVE and no sound");
    world.write("a\u{1b}]0;owned\u{7}/2\n.wav", tone(1));
    let mut command = world.command();
    let arguments: Vec<_> = command
        .get_args()
        .filter(|one| *one != "--json")
        .map(ToOwned::to_owned)
        .collect();
    command = std::process::Command::new(command.get_program());
    let output = command.args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(r"failed: a\u{1b}]0;owned\u{7}/\u{202e}1.wav"), "{said}");
    let steers = |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
    assert!(!said.contains(steers), "{said:?}");

    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_vibes-compile"));
    let output = check.arg("check").arg(world.source("")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r"owned\u{7}"), "{said}");
    assert!(!said.contains(steers), "{said:?}");
}

#[test]
fn flags_of_a_profile_write_nowhere_else_and_reach_no_shell() {
    let world = World::new();
    world.write("01.wav", tone(1));
    let elsewhere = world.folder("elsewhere");
    let path = elsewhere.display();
    let cases = [
        format!("CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=--output-name={path}"),
        format!("CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=--output-prefix={path}"),
        "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=--delete-input-file".to_owned(),
        format!("CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=$(touch {path}) ; touch {path} ; `touch {path}`"),
        format!("CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS='; touch {path};' '|| touch {path}'"),
        format!("CONFIG_ENCODER=flac\nCONFIG_FLAC=/bin/sh\nCONFIG_FLAC_FLAGS=-c 'touch {path}'"),
        format!("CONFIG_ENCODER=lame\nCONFIG_LAME_FLAGS=--out-dir {path}"),
        format!("CONFIG_ENCODER=opusenc\nCONFIG_OPUSENC_FLAGS=--save-range {path}"),
        format!("CONFIG_ENCODER=oggenc\nCONFIG_OGGENC_FLAGS=-o {path}"),
        format!("CONFIG_ENCODER=wavpack\nCONFIG_WAVPACK_FLAGS=-o {path}"),
        format!("CONFIG_ENCODER=ffmpeg\nCONFIG_FFMPEG_FLAGS=-f ipod {path}"),
        format!("CONFIG_ENCODER=ffmpeg\nCONFIG_FFMPEG_FLAGS=-vstats_file {path} -passlogfile {path} -f ipod {path}"),
        "CONFIG_ENCODER=ffmpeg\nCONFIG_FFMPEG_FLAGS=-i /etc/shadow".to_owned(),
        "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=\0".to_owned(),
        format!("CONFIG_ENCODER=flac\n#{}", "x".repeat(33 << 10)),
        "CONFIG_ENCODER=flac\nCONFIG_PLAYLISTS=../../x".to_owned(),
    ];
    // The other flags are without effect: those that come after them are ours.
    let harmless = ["--output-name", "--delete-input-file", "--out-dir", "_FLAGS=-o /"];
    for text in cases {
        let refused = !harmless.iter().any(|flag| text.contains(flag)) || text.contains("oggenc");
        world.profile("home", &text);
        let output = world.command().output().unwrap();
        if refused {
            assert!(!output.status.success(), "{text}");
        }
        assert!(!elsewhere.exists(), "{text}");
        assert!(world.source("01.wav").exists(), "{text}");
        let outputs: Vec<_> = world.outputs().into_keys().collect();
        assert!(
            outputs.iter().all(|output| output.starts_with("home/01.")),
            "{text}: {outputs:?}"
        );
    }
}
