//! `vibes-compile`: a folder of sources and a folder of profiles become a folder of tagged, encoded tracks.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Compiles a music collection.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile a collection on this machine.
    Build {
        /// The collection.
        #[arg(long)]
        sources: PathBuf,
        /// A folder with one file NAME.config per profile.
        #[arg(long)]
        profiles: PathBuf,
        /// Where the state of builds and, in out/, the outputs are kept.
        #[arg(long)]
        builds: PathBuf,
        /// Another folder for the outputs than BUILDS/out.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Run tup and the encoders as this user.
        #[arg(long)]
        user: Option<String>,
        /// Encode this many tracks at once [default: one per processor].
        #[arg(long)]
        jobs: Option<usize>,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say everything that is wrong with a collection or missing in it, without building it. Exits with 1 if something
    /// would fail.
    Check {
        /// The collection.
        dir: PathBuf,
        /// A folder with one file NAME.config per profile: checked too.
        #[arg(long)]
        profiles: Option<PathBuf>,
        /// Print what was found as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the versions of this compiler and of the encoders, as JSON.
    Versions,
    /// Print the rules of a folder (run by tup).
    #[command(hide = true)]
    Rules {
        /// The profile's settings, encoded.
        settings: String,
    },
    /// Encode one track (run by tup).
    #[command(hide = true)]
    Encode {
        /// KEY=VALUE, encoded.
        arguments: Vec<String>,
    },
    /// Say why a track is not built (run by tup).
    #[command(hide = true)]
    Refuse {
        /// KEY=VALUE, encoded.
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!(
                "vibes-compile: {}",
                contract::printable::printable(&format!("{error:#}"))
            );
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build {
            sources,
            profiles,
            builds,
            out,
            user,
            jobs,
            json,
        } => compiler::standalone::Standalone {
            sources,
            profiles,
            builds,
            out,
            user,
            jobs,
            json,
        }
        .run(),
        Command::Check { dir, profiles, json } => compiler::check::Check {
            collection: dir,
            profiles,
            json,
        }
        .run(),
        Command::Versions => {
            println!("{}", serde_json::to_string(&compiler::versions())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Rules { settings } => {
            print!("{}", compiler::job::rules(&settings)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Encode { arguments } => Ok(compiler::job::encode(&arguments)),
        Command::Refuse { arguments } => Ok(compiler::job::refuse(&arguments)),
    }
}
