//! The program on every instance: mounts volumes, mirrors the sources, has them compiled, serves releases, reports.
//!
//! It speaks to the instance metadata service and to S3, and to no other part of AWS: it has no right to. Whatever
//! happens to volumes and instances is decided by the functions; the agent is told by objects in the state bucket.

pub mod build;
pub mod image;
pub mod instance;
pub mod journal;
pub mod process;
pub mod server;
pub mod settings;
pub mod status;
pub mod stop;
pub mod store;
pub mod sync;
pub mod volume;
pub mod worker;

use anyhow::{Context, Result, ensure};
use contract::job::Role;
use contract::status::Final;
use nix::sys::stat::{Mode, umask};
use tracing::{Instrument, Span, error, info, info_span};

use instance::Instance;
use journal::Journal;
use settings::Settings;
use stop::Stop;
use store::Store;

/// Acts as the role in the instance's user data says until that is done or the machine is told to stop, then powers
/// the machine off, also after an error: an instance whose agent is gone only costs money.
pub async fn run(settings: &Settings) -> Result<()> {
    let acted = act(settings).await;
    if let Err(error) = &acted {
        error!("{error:#}");
    }
    let mut words = settings.power_off.split_whitespace();
    let program = words.next().context("no program to power off with is set")?;
    let powered_off = process::run(program, &words.collect::<Vec<_>>(), &[0]).await;
    acted.and(powered_off.map(drop))
}

async fn act(settings: &Settings) -> Result<()> {
    let journal = Journal::start().context("starting the journal")?;
    // The compiler runs as another user and must be able to read what is written here.
    umask(Mode::from_bits_truncate(0o022));
    let stop = Stop::default();
    let instance = Instance::discover().await?;
    let user_data = &instance.user_data;
    let attempt = match &user_data.build {
        Some(build) => info_span!("attempt", build, shard = user_data.shard, attempt = user_data.attempt),
        None => Span::none(),
    };
    act_as(settings, &instance, &stop, &journal).instrument(attempt).await
}

/// What is traced from here on, also by what is spawned, says of which attempt it is.
async fn act_as(settings: &Settings, instance: &Instance, stop: &Stop, journal: &Journal) -> Result<()> {
    // Before it knows who it is there is nothing to stop.
    stop::on_signals(stop)?;
    let user_data = &instance.user_data;
    info!("{} is {} of {}", instance.id, user_data.role.as_str(), user_data.stack);
    stop::on_spot_notice(stop, instance, settings.spot_every);
    let store = Store::open(user_data).await;
    match user_data.role {
        Role::Server => server::run(settings, &store, instance, stop).await,
        Role::Worker | Role::Volmgr => {
            let end = worker::run(settings, &store, instance, stop, journal).await?;
            if !end.keep.is_zero() {
                info!(
                    "staying for {} minutes, so that somebody can look",
                    end.keep.as_secs() / 60
                );
                stop.sleep(end.keep).await.ok();
            }
            ensure!(end.last != Final::Failed, "the attempt failed");
            Ok(())
        }
    }
}
