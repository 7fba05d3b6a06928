//! `vibes-agent`: without arguments it acts as the instance's role says; `vibes-agent image` describes the image.

use std::process::ExitCode;

use agent::settings::Settings;
use anyhow::Result;
use clap::{Parser, Subcommand};

/// The program on every instance of vibes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what this image is made of, as JSON.
    Image,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Image) => print_image(),
        None => agent::run(&arguments.settings).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vibes-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_image() -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&agent::image::describe())?);
    Ok(())
}
