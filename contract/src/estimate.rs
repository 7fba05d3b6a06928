//! What a build used of what AWS charges by time and size. Quantities only: prices change, and differ by region.
//!
//! `scripts/cost --build` puts prices beside it (`docs/cost.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::input::Market;
use crate::job::Kind;
use crate::status::Final;

/// `builds/BUILD/shard-N/attempt-M/launch.json`: what EC2 gave an attempt. It outlives what EC2 remembers of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Instance id.
    pub instance: String,
    /// Its type.
    pub instance_type: String,
    /// How it is paid for.
    pub market: Market,
    /// When it was launched, seconds since 1970.
    pub launched: i64,
}

/// `builds/BUILD/estimate.json`, written once, when the build's clean-up has nothing left to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The build.
    pub build: String,
    /// Every attempt of every shard, however it ended.
    pub instances: Vec<InstanceUse>,
    /// Every volume of every shard.
    pub volumes: Vec<VolumeUse>,
    /// What the build left: they cost until a later build replaces them.
    pub snapshots: Vec<SnapshotUse>,
}

/// An attempt's instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceUse {
    /// Shard number, from 0.
    pub shard: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Instance type.
    pub instance_type: String,
    /// How it was paid for.
    pub market: Market,
    /// From its launch to its last word; without one, to the next attempt's launch or the end of clean-up.
    pub seconds: u64,
    /// Its last word; none if it had none.
    #[serde(rename = "final", default)]
    pub last: Option<Final>,
}

/// Interrupted attempts that are told one by one: the line stands in the output of an execution.
const LISTED: usize = 10;

/// How often attempts were cut short and what that took, in a line for people; none if all came to an end of their own.
pub fn interruptions(attempts: &[InstanceUse]) -> Option<String> {
    let interrupted: Vec<_> = attempts
        .iter()
        .filter(|attempt| matches!(attempt.last, None | Some(Final::Interrupted)))
        .collect();
    let seconds: u64 = interrupted.iter().map(|attempt| attempt.seconds).sum();
    let told = interrupted.iter().map(|attempt| {
        let how = match attempt.last {
            None => "without a last word",
            Some(_) => "told to stop",
        };
        format!(
            "shard {} attempt {}: {} {} for {} s, {how}",
            attempt.shard,
            attempt.attempt,
            attempt.market.as_str(),
            attempt.instance_type,
            attempt.seconds
        )
    });
    let mut told: Vec<_> = told.take(LISTED).collect();
    if interrupted.len() > LISTED {
        told.push(format!("and {} more", interrupted.len() - LISTED));
    }
    let told = told.join("; ");
    (!interrupted.is_empty()).then(|| {
        format!(
            "{} of {} attempts were interrupted and took {seconds} instance seconds, what they finished was kept ({told})",
            interrupted.len(),
            attempts.len()
        )
    })
}

/// A shard's volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeUse {
    /// Shard number, from 0.
    pub shard: u32,
    /// Which volume.
    pub kind: Kind,
    /// Its planned size.
    pub gib: u32,
    /// From the launch of the shard's first instance to the end of clean-up.
    pub seconds: u64,
}

/// A snapshot that the build left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotUse {
    /// Snapshot id.
    pub snapshot: String,
    /// Size of its volume: it stores at most so much, and only what differs from the snapshot before it.
    pub gib: u32,
}

/// `builds/unreleased.json`: what builds have used since the last release. Written by the clean-up of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unreleased {
    /// The release since which it counts; none before the first.
    pub since: Option<String>,
    /// Seconds of all instances of each build that ended without a release.
    pub builds: BTreeMap<String, u64>,
}

impl Estimate {
    /// Seconds of all instances of this market.
    pub fn instance_seconds(&self, market: Market) -> u64 {
        let of_market = self.instances.iter().filter(|instance| instance.market == market);
        of_market.map(|instance| instance.seconds).sum()
    }

    /// Size by time of all volumes, in GiB by seconds.
    pub fn volume_gib_seconds(&self) -> u64 {
        let volumes = self.volumes.iter();
        volumes.map(|volume| u64::from(volume.gib) * volume.seconds).sum()
    }

    /// The most that the snapshots store, in GiB.
    pub fn snapshot_gib(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| u64::from(snapshot.gib)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_by_market_and_by_size_times_time() {
        let instance = |attempt, market, seconds| InstanceUse {
            shard: 0,
            attempt,
            instance_type: "c7i.4xlarge".to_owned(),
            market,
            seconds,
            last: Some(Final::Done),
        };
        let volume = |kind, gib| VolumeUse {
            shard: 0,
            kind,
            gib,
            seconds: 3600,
        };
        let estimate = Estimate {
            build: "b-00001".to_owned(),
            instances: vec![
                instance(1, Market::Spot, 100),
                instance(2, Market::Spot, 20),
                instance(3, Market::OnDemand, 7),
            ],
            volumes: vec![volume(Kind::Sources, 3), volume(Kind::Builds, 2)],
            snapshots: vec![SnapshotUse {
                snapshot: "snap-1".to_owned(),
                gib: 3,
            }],
        };
        assert_eq!(estimate.instance_seconds(Market::Spot), 120);
        assert_eq!(estimate.instance_seconds(Market::OnDemand), 7);
        assert_eq!(estimate.volume_gib_seconds(), 5 * 3600);
        assert_eq!(estimate.snapshot_gib(), 3);
    }

    #[test]
    fn interruptions_are_counted_with_what_they_took() {
        let attempt = |attempt, market, seconds, last| InstanceUse {
            shard: 0,
            attempt,
            instance_type: "c7i.4xlarge".to_owned(),
            market,
            seconds,
            last,
        };
        let done = attempt(3, Market::OnDemand, 60, Some(Final::Done));
        assert_eq!(interruptions(std::slice::from_ref(&done)), None);
        let attempts = [
            attempt(1, Market::Spot, 100, Some(Final::Interrupted)),
            attempt(2, Market::Spot, 34, None),
            done,
        ];
        let expected = "2 of 3 attempts were interrupted and took 134 instance seconds, what they finished was kept \
            (shard 0 attempt 1: spot c7i.4xlarge for 100 s, told to stop; \
            shard 0 attempt 2: spot c7i.4xlarge for 34 s, without a last word)";
        assert_eq!(interruptions(&attempts).as_deref(), Some(expected));
    }
}
