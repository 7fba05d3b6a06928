//! `vibes`: hands the command line over to what does the work.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(cli::arguments::Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vibes: {error:#}");
            ExitCode::FAILURE
        }
    }
}
