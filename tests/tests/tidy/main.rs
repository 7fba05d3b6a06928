//! What must agree although it is written in different places: state machines, templates, functions, errors, docs.
//!
//! Everything here loops over what is there, so that a new state, function or parameter is covered the day it is made.

mod clones;
mod costs;
mod docs;
mod images;
mod machine;
mod machines;
mod payloads;
mod permissions;
mod spellings;
mod templates;

use std::fs;

use tests::project::{path, read};
use tests::template;

/// Names of the files in this folder that end so, without that end, sorted.
fn names(folder: &str, end: &str) -> Vec<String> {
    let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(end)?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>) {
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}
