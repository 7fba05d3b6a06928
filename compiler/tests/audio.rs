//! Every kind of source becomes the samples that it holds, in every format as well as the format can.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{run, samples, says, wave};

/// The samples of a FLAC file.
fn decoded(path: &Path) -> Vec<u8> {
    let flags = [
        "--decode",
        "--stdout",
        "--silent",
        "--force-raw-format",
        "--endian=little",
        "--sign=signed",
    ];
    let mut arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
    arguments.push(path.as_os_str());
    run("flac", &arguments).stdout
}

#[test]
fn a_trimmed_track_holds_exactly_the_samples_of_its_range() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("work/build-home/collection");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(root.path().join("out/home")).unwrap();
    let pcm = samples(1, 2, 24, 20_000);
    fs::write(folder.join("a.wav"), wave(&pcm, 2, 24, 44_100)).unwrap();
    let convert = |flags: &[&str], from: &str, to: &str| {
        let mut command = Command::new("flac");
        command.current_dir(&folder).args(["--silent", "-o", to]);
        assert!(command.args(flags).arg(from).status().unwrap().success());
    };
    convert(&[], "a.wav", "b.flac");
    convert(&["--ogg"], "a.wav", "c.oga");
    convert(&["--decode", "--force-aiff-format"], "b.flac", "d.aiff");
    for source in ["a.wav", "b.flac", "c.oga", "d.aiff"] {
        for (trim, range) in [
            ("100000:250000", 4410..11_025),
            ("100000:", 4410..20_000),
            ("0:10", 0..0),
            ("0:9000000", 0..20_000),
            ("12:33", 1..1),
            ("23:57", 1..3),
        ] {
            let argument = format!("trim={}", trim.replace(':', "=3A"));
            let done = Command::new(env!("CARGO_BIN_EXE_vibes-compile"))
                .current_dir(&folder)
                .env("tup_vardict", root.path().join("work/.tup/vardict-build-home"))
                .args([
                    "encode",
                    "job=1",
                    "encoder=flac",
                    "version=x",
                    "format=flac",
                    "extension=flac",
                    &argument,
                ])
                .arg(format!("source={source}"))
                .output()
                .unwrap();
            if range.is_empty() {
                let said = String::from_utf8(done.stderr).unwrap();
                assert!(
                    said.contains("nothing is left of it when it begins at "),
                    "{source} {trim}: {said}"
                );
                continue;
            }
            let output = root.path().join("out/home").join(source).with_extension("flac");
            assert!(done.status.success(), "{source} {trim}: {done:?}");
            assert!(
                decoded(&output) == pcm[range.start * 6..range.end * 6],
                "{source} {trim}: {}",
                says("metaflac", &["--show-total-samples"], &output)
            );
        }
    }
}
