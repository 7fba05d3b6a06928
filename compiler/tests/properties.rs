//! Hostile collections, made at random, and the real tup: every track is built, or fails alone.

#[path = "support/hostile_names.rs"]
mod hostile_names;
mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use support::{World, tone};

/// A name that a file system can hold, with room for an extension.
fn name() -> impl Strategy<Value = OsString> {
    hostile_names::name(240)
}

/// A file: where, of what name, and what kind of file.
type File = (Vec<OsString>, OsString, &'static str);

fn files() -> impl Strategy<Value = Vec<File>> {
    let extension = select(&[".wav", ".wav", ".WAVE", ".flac", "", ".tags.vc", ".txt"][..]);
    let folders = vec(vec(name(), 0..3), 1..4);
    (folders, vec((any::<prop::sample::Index>(), name(), extension), 1..8)).prop_map(|(folders, files)| {
        let file =
            |(folder, name, extension): (prop::sample::Index, _, _)| (folder.get(&folders).clone(), name, extension);
        files.into_iter().map(file).collect()
    })
}

/// The path is one that is left out.
fn is_special(path: &Path) -> bool {
    path.iter().any(|name| compiler::names::special(name).is_some())
}

/// As many cases as everybody tries; each takes as long as a hundred of the others.
fn cases() -> u32 {
    let said = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|said| said.parse::<u32>().ok());
    said.map_or(4, |said| said.div_ceil(100))
}

#[test]
fn any_collection_is_built_track_by_track() {
    let config = ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    // Not by the macro, which would take the number of cases from the environment as it is.
    let mut runner = TestRunner::new(config);
    let result = runner.run(&(files(), ".{0,30}"), |(files, tags)| {
        is_built_track_by_track(files, &tags)
    });
    if let Err(found) = result {
        panic!("{found}");
    }
}

fn is_built_track_by_track(files: Vec<File>, tags: &str) -> Result<(), TestCaseError> {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=flac\nCONFIG_NAMES=portable\n");
    let mut sources = BTreeSet::new();
    for (number, (folder, mut name, extension)) in (0..).zip(files) {
        name.push(extension);
        let path = folder.iter().collect::<PathBuf>().join(&name);
        let there = world.source(&path);
        // What cannot be there together, or is too long a path, is not in the collection.
        if fs::create_dir_all(there.parent().unwrap()).is_err() {
            continue;
        }
        let is_audio = path.extension().is_some_and(|extension| {
            ["wav", "wave", "flac"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        let content = if is_audio {
            tone(number)
        } else {
            format!("TITLE={tags}").into_bytes()
        };
        if fs::write(&there, content).is_ok() && is_audio && !is_special(&path) {
            sources.insert(path);
        }
    }
    let build = || -> Result<serde_json::Value, TestCaseError> {
        let output = world.command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).map_err(|_| TestCaseError::fail(said))
    };
    let count = |report: &serde_json::Value, field: &str| report[field].as_array().unwrap().len();

    let report = build()?;
    prop_assert_eq!(
        count(&report, "built") + count(&report, "failed"),
        2 * sources.len(),
        "{:#}",
        report
    );
    prop_assert_eq!(world.outputs().len(), count(&report, "built"), "{:#}", report);
    for source in &sources {
        let output = world.output(Path::new("home").join(source.with_extension("flac")));
        let lossy = source.to_string_lossy();
        let failed = report["failed"]
            .as_array()
            .unwrap()
            .iter()
            .any(|failure| failure["source"] == *lossy);
        prop_assert!(failed || output.is_file(), "{output:?}: {report:#}");
    }
    for failure in report["failed"].as_array().unwrap() {
        let reason = failure["reason"].as_str().unwrap();
        let known = [
            "would all become",
            "there is a folder of that name",
            "File name too long",
            "content is not what",
        ];
        let of_sidecar = reason.contains(".tags.vc, line");
        prop_assert!(
            of_sidecar || known.iter().any(|known| reason.contains(known)),
            "{reason}"
        );
    }
    let again = build()?;
    prop_assert_eq!(count(&again, "built"), 0, "{:#}", again);
    prop_assert_eq!(&again["failed"], &report["failed"]);
    Ok(())
}
