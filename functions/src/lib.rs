//! The Lambda functions of vibes: each a module with a `handle`, and a bin that hands it to the Lambda runtime.
//!
//! A handler gets its AWS clients handed in and reads nothing else: no environment, no clock, no random number. It does
//! one bounded step and returns; waiting belongs to the state machines. See `docs/errors.md` for the errors' names.

pub mod cleanup;
pub mod control;
pub mod create_volume;
pub mod fault;
pub mod launch_worker;
pub mod plan;
pub mod poll_build;
pub mod publish;
pub mod retire_worker;
pub mod serve;
pub mod settings;
pub mod snapshot;
pub mod sweep;
pub mod teardown;
pub mod trigger;

mod adapter;
mod asked;
mod checkpoint;
mod estimate;
mod executions;
mod fingerprint;
mod images;
mod instances;
mod ladder;
mod leftovers;
mod limits;
#[cfg(test)]
mod model;
mod ownership;
mod polls;
mod profiles;
mod prune;
mod releases;
mod sizes;
mod snapshots;
mod sources;
mod start;
mod store;
mod tagging;
#[cfg(test)]
mod testing;
mod times;
mod volumes;

pub use adapter::run;

use anyhow::Result;
use aws_config::BehaviorVersion;

use crate::settings::Settings;

/// What a handler works with: clients and settings, made once a process.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Instances, volumes, snapshots.
    pub ec2: aws_sdk_ec2::Client,
    /// The sources bucket and the state bucket.
    pub s3: aws_sdk_s3::Client,
    /// The state machines.
    pub sfn: aws_sdk_sfn::Client,
    /// Profiles, images, the current release.
    pub ssm: aws_sdk_ssm::Client,
    /// What the stack says.
    pub settings: Settings,
}

impl Aws {
    /// Clients and settings from the environment: the only place of this crate that reads it.
    ///
    /// # Errors
    /// A setting that is missing or not understood, by name.
    pub async fn from_env() -> Result<Aws> {
        let variable = |name: &str| std::env::var(name).ok();
        let settings = Settings::read(variable)?;
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        // An endpoint on an address or a port has no host names for buckets.
        let path_style = variable("AWS_ENDPOINT_URL").is_some();
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(path_style)
            .build();
        Ok(Aws {
            ec2: aws_sdk_ec2::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sfn: aws_sdk_sfn::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            settings,
        })
    }
}
