//! Deploys an installation of vibes, brings sources up, follows builds and pulls releases.
//!
//! It knows the contract and AWS, nothing else: the same commands work against AWS and against a local twin, whichever
//! the environment (`AWS_ENDPOINT_URL`) points to.

mod access;
mod account;
pub mod arguments;
mod bucket;
mod changes;
mod cloud;
mod code;
mod deploy;
mod destroy;
mod dry_run;
mod everything;
mod follow;
mod image;
mod memory;
mod next_steps;
mod profiles;
mod progress;
mod pull;
mod retained;
mod serve;
mod stacks;
mod status;
mod summary;
mod units;
mod upload;
mod ways;

use anyhow::Result;

use arguments::{Arguments, Command};
use cloud::Cloud;

/// Does what the command line asks for.
pub async fn run(arguments: Arguments) -> Result<()> {
    let cloud = Cloud::open(&arguments.installation).await?;
    let account = account::ask(&cloud).await?;
    match arguments.command {
        Command::Deploy {
            options, check: true, ..
        } => deploy::check(&cloud, &account, &options).await,
        Command::Deploy {
            options, dry_run: true, ..
        } => dry_run::show(&cloud, &account, &options).await,
        Command::Deploy { options, .. } => {
            deploy::deploy(&cloud, &account, &options).await?;
            match options.twin {
                Some(_) => Ok(()),
                None => next_steps::print(&cloud).await,
            }
        }
        Command::Destroy { yes } => destroy::destroy(&cloud, &account, yes.as_deref()).await,
        Command::Erase { bucket, yes } => bucket::erase(&cloud, &bucket, yes.as_deref()).await,
        Command::Upload { sources } => {
            let places = stacks::places(&cloud).await?;
            upload::upload(&cloud, &places.sources_bucket, &sources).await.map(drop)
        }
        Command::Follow => {
            let places = stacks::places(&cloud).await?;
            let builds = follow::follow(&cloud, &places, follow::Cause::Whatever).await?;
            summary::print_builds(&cloud, &places, &builds).await?;
            follow::judge(&builds)
        }
        Command::Pull(options) => {
            let places = stacks::places(&cloud).await?;
            let served = pull::pull(&cloud, &places, &options).await?;
            summary::print_served(&served, &options.out)
        }
        Command::Serve(options) => {
            let places = stacks::places(&cloud).await?;
            let served = serve::serve(&cloud, &places, &options).await?;
            println!("{} is served at {}", served.release, served.address);
            Ok(())
        }
        Command::Status => status::print(&cloud).await,
        Command::Run(options) => everything::run(&cloud, &account, &options).await,
    }
}
