//! A twin's life seen from outside: started, found ready, described, stopped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

pub mod inside;
pub mod ready;
pub mod requirements;
pub mod start;
pub mod stop;

/// How a twin is started.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Directory of everything the twin keeps; made if absent.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Port of the endpoint on 127.0.0.1; 0 takes the last one again if it is free, else any.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The agent that instances run [default: `vibes-agent` beside this program].
    #[arg(long, value_name = "PROGRAM")]
    pub agent: Option<PathBuf>,
    /// The compiler that instances find on their PATH [default: `vibes-compile` beside this program].
    #[arg(long, value_name = "PROGRAM")]
    pub compile: Option<PathBuf>,
    /// Directory of images that are trees, as `make image` makes them: an instance of ami-tree-NAME sees NAME in it
    /// instead of this machine's programs.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Further environment of the agents (repeatable).
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub agent_env: Vec<(String, String)>,
    /// The base, MiniStack.
    #[arg(long, value_name = "PROGRAM", default_value = ".venv/bin/ministack")]
    pub base: PathBuf,
    /// Multiplies every wait of the state machines (Wait states, retry intervals) and the two minutes of a spot notice.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub wait_scale: f64,
    /// Returns when the twin is ready and leaves it running; it logs into DIR/twin.log.
    #[arg(long)]
    pub detach: bool,
    /// Ends the twin when the standard input does: it cannot outlive whoever holds the other end.
    #[arg(long, conflicts_with = "detach")]
    pub until_eof: bool,
}

impl Options {
    /// The same options with absolute paths and defaults filled in; the state directory exists afterwards.
    pub fn resolved(&self) -> Result<Options> {
        std::fs::create_dir_all(&self.state)
            .with_context(|| format!("the state directory {} cannot be made", self.state.display()))?;
        Ok(Options {
            state: self.state.canonicalize()?,
            agent: Some(program(self.agent.as_deref(), "vibes-agent", "--agent")?),
            compile: Some(program(self.compile.as_deref(), "vibes-compile", "--compile")?),
            base: std::path::absolute(&self.base)?,
            images: self.images.as_deref().map(std::path::absolute).transpose()?,
            ..self.clone()
        })
    }
}

fn program(given: Option<&Path>, name: &str, option: &str) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name(name),
    };
    path.canonicalize().with_context(|| {
        format!(
            "{} does not exist: build it, or name another program by {option}",
            path.display()
        )
    })
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not NAME=VALUE"))
}
