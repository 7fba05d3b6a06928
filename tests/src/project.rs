//! The project that is tested: where it is, and its files.

use std::path::{Path, PathBuf};

/// A path of the project, from its root.
///
/// Asked when the test runs, not when it was compiled: clones that share their programs' directory test each their own.
pub fn path(relative: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests and says what it tests");
    Path::new(&package).join("..").join(relative)
}

/// A file of the project.
pub fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}
