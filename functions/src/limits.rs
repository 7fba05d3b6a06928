//! The limit of instance hours: what builds may use until one of them is released, however often they are started.
//!
//! The sum lives in the state bucket, not in an execution: no restart, redrive or next night begins it anew.

use anyhow::{Result, bail};
use contract::estimate::{Estimate, Unreleased};
use contract::fault::Name;
use contract::objects;

use crate::fault::named;
use crate::settings::Settings;
use crate::{Aws, releases, store};

/// Refuses so many launches if the longest run of each may go beyond the limit; `so_far` seconds are of this very build.
pub(crate) async fn check(aws: &Aws, so_far: u64, launches: u32) -> Result<()> {
    let before: Option<Unreleased> = store::find(aws, objects::UNRELEASED).await?;
    let before: u64 = before.map_or(0, |before| before.builds.values().sum());
    allow(&aws.settings, before + so_far, launches)
}

fn allow(settings: &Settings, used: u64, launches: u32) -> Result<()> {
    let asked = 60 * u64::from(settings.max_run_minutes) * u64::from(launches);
    if used + asked <= 3600 * u64::from(settings.max_instance_hours) {
        return Ok(());
    }
    let hours = |seconds: u64| seconds as f64 / 3600.0;
    bail!(named(
        Name::LimitReached,
        format!(
            "builds have used {:.1} instance hours since the last release, and what is to be launched may use {:.1} more, \
             of the {} that MaxInstanceHours allows: see why they did not succeed; then raise MaxInstanceHours, or delete \
             s3://{}/{} to allow as much again",
            hours(used),
            hours(asked),
            settings.max_instance_hours,
            settings.state_bucket,
            objects::UNRELEASED
        )
    ))
}

/// Adds what the owner, of which nothing runs any more, has used; a release begins the sum anew.
pub(crate) async fn note(aws: &Aws, build: &str) -> Result<()> {
    let estimate: Estimate = store::read(aws, &objects::estimate(build)).await?;
    let stored = store::get::<Unreleased>(aws, objects::UNRELEASED).await?;
    let (before, etag) = stored.map_or((Unreleased::default(), None), |stored| {
        (stored.value, Some(stored.etag))
    });
    let is_released = releases::current_name(aws).await?.as_deref() == Some(build);
    let after = with(before.clone(), &estimate, is_released);
    if after != before && !store::put_if(aws, objects::UNRELEASED, &after, etag.as_deref()).await? {
        bail!(named(
            Name::TryAgain,
            format!("{} was changed meanwhile", objects::UNRELEASED)
        ));
    }
    Ok(())
}

fn with(mut sum: Unreleased, estimate: &Estimate, is_released: bool) -> Unreleased {
    let build = estimate.build.clone();
    if is_released {
        return Unreleased {
            since: Some(build),
            ..Unreleased::default()
        };
    }
    let seconds = estimate.instances.iter().map(|instance| instance.seconds).sum();
    sum.builds.insert(build, seconds);
    sum
}

#[cfg(test)]
mod tests {
    use contract::estimate::InstanceUse;
    use contract::input::Market;

    use super::*;
    use crate::fault::Fault;
    use crate::settings::tests::variable;

    fn estimate(build: &str, seconds: u64) -> Estimate {
        let instance = InstanceUse {
            shard: 0,
            attempt: 1,
            instance_type: "c7i.4xlarge".to_owned(),
            market: Market::Spot,
            seconds,
            last: None,
        };
        Estimate {
            build: build.to_owned(),
            instances: vec![instance],
            volumes: Vec::new(),
            snapshots: Vec::new(),
        }
    }

    #[test]
    fn a_launch_must_fit_with_its_longest_run() {
        // 20 hours, of which a launch may use 20 minutes.
        let settings = Settings::read(variable).unwrap();
        assert!(allow(&settings, 19 * 3600 + 40 * 60, 1).is_ok());
        assert!(allow(&settings, 0, 60).is_ok());
        let fault = Fault::from(allow(&settings, 19 * 3600 + 40 * 60 + 1, 1).unwrap_err());
        assert_eq!(fault.name, Name::LimitReached);
        assert!(fault.to_string().contains("19.7 instance hours"), "{fault}");
        assert!(allow(&settings, 0, 61).is_err());
    }

    #[test]
    fn a_build_counts_once_however_often_it_is_cleaned_up_after_until_there_is_a_release() {
        let sum = with(Unreleased::default(), &estimate("b-00001", 100), false);
        let sum = with(sum, &estimate("b-00001", 100), false);
        let sum = with(sum, &estimate("b-00002", 20), false);
        assert_eq!(sum.builds.values().sum::<u64>(), 120);
        let sum = with(sum, &estimate("b-00003", 1000), true);
        assert_eq!((sum.since.as_deref(), sum.builds.len()), (Some("b-00003"), 0));
    }
}
