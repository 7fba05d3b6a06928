//! What the end-to-end tests are written with: the sample collection, a world to build it in, and eyes for the result.
//!
//! Nothing here knows the inside of vibes: only its programs, the endpoint of the twin, and files.

mod operate;
pub mod project;
pub mod readback;
pub mod rights;
pub mod sample;
pub mod template;
pub mod tree;
pub mod world;

/// Says how often something was run and how often it did not end as it should; `make chaos` makes a table of these lines.
pub fn total(what: &str, runs: impl std::fmt::Display, red: usize) {
    println!("total: | {what} | {runs} | {red} |");
}
