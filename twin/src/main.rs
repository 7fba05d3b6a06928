//! `vibes-twin`: starts, stops and describes a local cloud.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use twin::life::{self, Options};

/// A local cloud for vibes: AWS on this machine, with real volumes and instances.
#[derive(Parser)]
#[command(name = "vibes-twin", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a twin and stays in the foreground until it ends (SIGTERM and SIGINT end it, state is kept).
    Start(Options),
    /// Ends a twin; its volumes, snapshots, buckets and parameters are kept.
    Stop {
        /// The twin's state directory.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// Prints the environment that makes AWS tools talk to a running twin, as shell `export` lines.
    Env {
        /// The twin's state directory.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// The init of the twin's namespaces.
    #[command(hide = true)]
    Inside {
        /// Process id of the foreground process.
        #[arg(long)]
        parent: i32,
        #[command(flatten)]
        options: Options,
    },
    /// The init of an instance.
    #[command(hide = true)]
    MachineInit {
        /// What to run, as the machine room wrote it.
        spec: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Start(options) => life::start::start(&options),
        Command::Stop { state } => life::stop::stop(&state),
        Command::Env { state } => life::ready::print_environment(&state),
        Command::Inside { parent, options } => life::inside::run(parent, options),
        Command::MachineInit { spec } => twin::machine::init::run(&spec),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vibes-twin: {error:#}");
            ExitCode::FAILURE
        }
    }
}
