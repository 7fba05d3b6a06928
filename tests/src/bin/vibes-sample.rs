//! Writes the sample collection and its profiles, unless they are there.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Write the sample collection (60 invented tracks) and its four profiles; what exists is left alone.
#[derive(Parser)]
struct Arguments {
    /// Directory for the sources.
    sources: PathBuf,
    /// Directory for the profiles, one NAME.config each.
    profiles: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tests::sample::write(&arguments.sources, &arguments.profiles)
}
