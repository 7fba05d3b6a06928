//! Clones of the project may share the directory of programs: a test must find the clone that it is run in.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{none, path};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.expect("an entry").path();
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn no_test_remembers_where_it_was_compiled() {
    let mut found = vec![];
    for folder in ["agent/tests", "compiler/tests", "tests", "twin/tests"] {
        sources(&path(folder), &mut found);
    }
    // In two parts, so that this file is none of them.
    let compiled = ["env!(\"CARGO_", "MANIFEST_DIR"].concat();
    let remembers = |file: &PathBuf| fs::read_to_string(file).expect("a source").contains(&compiled);
    none(
        found
            .into_iter()
            .filter(remembers)
            .map(|file| file.display().to_string())
            .collect(),
    );
}
