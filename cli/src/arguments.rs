//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Compiles a music collection in the cloud: deploys vibes, brings sources up, follows builds, pulls releases.
///
/// Region, credentials and endpoint come from the environment, as for every AWS tool.
#[derive(Debug, Parser)]
#[command(name = "vibes", version)]
pub struct Arguments {
    /// Which installation.
    #[command(flatten)]
    pub installation: Installation,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which installation.
#[derive(Debug, Args)]
pub struct Installation {
    /// Name of the installation: of its main stack, and of its parameters' prefix `/NAME`.
    #[arg(long, default_value = "vibes", env = "VIBES_STACK", global = true)]
    pub stack: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring functions, state machines, templates and profiles into the account.
    Deploy {
        /// What to deploy.
        #[command(flatten)]
        options: Deploy,
        /// Show what would change in each stack, and change nothing.
        #[arg(long, conflicts_with = "check")]
        dry_run: bool,
        /// Only look whether it could begin: credentials, region, what must be given. Needs no functions.
        #[arg(long)]
        check: bool,
    },
    /// Delete the installation. What was uploaded and built stays; what that is, and how to delete it, is said.
    Destroy {
        /// Do not ask: the installation's name, as a confirmation.
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
    },
    /// Delete a bucket that stayed when its installation was deleted, with every version of what is in it.
    Erase {
        /// Its name.
        bucket: String,
        /// Do not ask: the bucket's name, as a confirmation.
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
    },
    /// Make the sources bucket a mirror of a directory: what changed goes up, what is gone is deleted.
    Upload {
        /// Directory of the collection.
        sources: PathBuf,
    },
    /// Show what the running builds do until none is left.
    Follow,
    /// Wait until the current release is served, then fetch every profile of it by rsync.
    Pull(Pull),
    /// Serve the current release, or an older one in its place until there is a newer one.
    Serve(Serve),
    /// Say what is built, served and going on.
    Status,
    /// Do all of it: deploy, upload, follow the build, serve, pull, and tell how it went.
    Run(Run),
}

/// What `deploy` needs.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Deploy {
    /// Directory of profiles, one NAME.config each. A profile whose file is gone is deleted.
    #[arg(long, value_name = "DIR")]
    pub profiles: Option<PathBuf>,
    /// A parameter of the main template, such as AllowedCidr=203.0.113.7/32 (repeatable). What is not given stays as it
    /// is. VpcId and SubnetIds, given together, stand for a network of your own.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub parameters: Vec<(String, String)>,
    /// Root of the project: where cfn/, statemachines/ and functions/ are.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Processor of the functions.
    #[arg(long, value_name = "ARCH", default_value = "x86_64", value_parser = ["x86_64", "arm64"])]
    pub architecture: String,
    /// The functions' zips, as `make package` lays them out: ARCH/NAME/bootstrap.zip [default: target/lambda, but in a
    /// twin none].
    #[arg(long, value_name = "DIR")]
    pub functions: Option<PathBuf>,
    /// Deploy into a local twin that keeps its state in this directory: functions without zips run from where they were
    /// built, images are described by the agent, and every wait is short.
    #[arg(long, value_name = "DIR")]
    pub twin: Option<PathBuf>,
    /// Let a twin's instances start from the images in this directory, as `make image` makes them, instead of this
    /// machine's programs.
    #[arg(long, value_name = "DIR", requires = "twin")]
    pub images: Option<PathBuf>,
    /// Directory of the programs that a twin's functions and instances run [default: that of this program].
    #[arg(long, value_name = "DIR", requires = "twin")]
    pub programs: Option<PathBuf>,
}

/// What `pull` needs.
#[derive(Debug, Args)]
pub struct Pull {
    /// Directory to pull into: one directory for each profile.
    pub out: PathBuf,
    /// Give up when the current release is not served after this time.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub patience: u64,
}

/// What `serve` needs.
#[derive(Debug, Args)]
pub struct Serve {
    /// The release: the name of the build that made it [default: the current one].
    pub release: Option<String>,
    /// Give up when it is not served after this time.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub patience: u64,
}

/// What `run` needs.
#[derive(Debug, Args)]
pub struct Run {
    /// Directory of the collection.
    #[arg(long, value_name = "DIR")]
    pub sources: PathBuf,
    /// What to deploy.
    #[command(flatten)]
    pub deploy: Deploy,
    /// Directory to pull into: one directory for each profile.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Give up when the current release is not served after this time.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub patience: u64,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(key_and_value("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(key_and_value("A").is_err());
    }
}
