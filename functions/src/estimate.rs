//! What a build used, from what its objects say: launches, last words of workers, the plan's sizes, snapshots.

use anyhow::Result;
use contract::estimate::{Estimate, InstanceUse, Launch, SnapshotUse, VolumeUse};
use contract::objects;
use contract::plan::{Plan, ShardPlan};
use contract::status::{Final, Status};

use crate::store::Stored;
use crate::tagging::Tags;
use crate::{Aws, snapshots, store};

/// An attempt as its objects tell it.
#[derive(Debug)]
struct Attempt {
    launch: Launch,
    /// When its worker wrote its status last, seconds since 1970; none if it never did, or was kept afterwards.
    last_word: Option<i64>,
    /// How it said that it ended.
    last: Option<Final>,
}

/// What the attempts of a build have used by now, shard by shard.
pub(crate) async fn of_attempts(aws: &Aws, plan: &Plan, now: i64) -> Result<Vec<InstanceUse>> {
    let mut used = Vec::new();
    for shard in &plan.shards {
        used.extend(instances(shard.shard, &attempts(aws, plan, shard.shard).await?, now));
    }
    Ok(used)
}

/// Writes the estimate of a build of which nothing runs any more. The first one stays: clean-up may come again later.
pub(crate) async fn write(aws: &Aws, plan: &Plan, now: i64) -> Result<()> {
    let mut estimate = Estimate {
        build: plan.build.clone(),
        instances: Vec::new(),
        volumes: Vec::new(),
        snapshots: Vec::new(),
    };
    for shard in &plan.shards {
        let attempts = attempts(aws, plan, shard.shard).await?;
        estimate.instances.extend(instances(shard.shard, &attempts, now));
        estimate.volumes.extend(volumes(plan, shard, &attempts, now));
    }
    for snapshot in snapshots::find(aws, &Tags::build(aws, &plan.build)).await? {
        estimate.snapshots.push(SnapshotUse {
            snapshot: snapshots::id(&snapshot).to_owned(),
            gib: snapshot.volume_size().map_or(0, i32::unsigned_abs),
        });
    }
    store::put_if(aws, &objects::estimate(&plan.build), &estimate, None).await?;
    Ok(())
}

/// The most that the build's instances can come to, in seconds, before another one of this shard is launched: those that
/// have ended with what they used, those of other shards that may still run with their longest run.
pub(crate) async fn most_so_far(aws: &Aws, plan: &Plan, launching: u32) -> Result<u64> {
    let mut sum = 0;
    for shard in &plan.shards {
        let attempts = attempts(aws, plan, shard.shard).await?;
        sum += most(plan, attempts, shard.shard == launching);
    }
    Ok(sum)
}

/// The same for one shard, whose newest attempt is over or may still run.
fn most(plan: &Plan, mut attempts: Vec<Attempt>, is_over: bool) -> u64 {
    let Some(newest) = attempts.last_mut() else { return 0 };
    let is_over = is_over || newest.last.is_some();
    if !is_over {
        newest.last_word = None;
    }
    // One that is over and has never said anything was given up after this time.
    let longest = match is_over {
        true => plan.polls.boot_seconds,
        false => 60 * plan.max_run_minutes,
    };
    let end = newest.launch.launched + i64::from(longest);
    instances(0, &attempts, end)
        .iter()
        .map(|instance| instance.seconds)
        .sum()
}

async fn attempts(aws: &Aws, plan: &Plan, shard: u32) -> Result<Vec<Attempt>> {
    let mut attempts = Vec::new();
    for attempt in 1..=plan.attempts {
        let Some(launch) = store::find(aws, &objects::launch(&plan.build, shard, attempt)).await? else {
            break;
        };
        let status: Option<Stored<Status>> = store::get(aws, &objects::status(&plan.build, shard, attempt)).await?;
        let kept = |status: &Stored<Status>| {
            plan.input.keep_failed_worker_minutes > 0 && status.value.last == Some(Final::Failed)
        };
        let last = status.as_ref().and_then(|status| status.value.last);
        let last_word = status.filter(|status| !kept(status)).map(|status| status.modified);
        attempts.push(Attempt {
            launch,
            last_word,
            last,
        });
    }
    Ok(attempts)
}

fn instances(shard: u32, attempts: &[Attempt], now: i64) -> Vec<InstanceUse> {
    let launches = attempts.iter().map(|attempt| attempt.launch.launched);
    let nexts = launches.skip(1).chain([now]);
    let numbered = attempts.iter().zip(1..).zip(nexts);
    let instance = |((attempt, number), next): ((&Attempt, u32), i64)| InstanceUse {
        shard,
        attempt: number,
        instance_type: attempt.launch.instance_type.clone(),
        market: attempt.launch.market,
        seconds: seconds(attempt.launch.launched, attempt.last_word.unwrap_or(next)),
        last: attempt.last,
    };
    numbered.map(instance).collect()
}

fn volumes(plan: &Plan, shard: &ShardPlan, attempts: &[Attempt], now: i64) -> Vec<VolumeUse> {
    // Without an instance there was no volume.
    let Some(first) = attempts.first() else {
        return Vec::new();
    };
    let volume = |kind: &_| VolumeUse {
        shard: shard.shard,
        kind: *kind,
        gib: shard.volume(*kind).gib,
        seconds: seconds(first.launch.launched, now),
    };
    plan.kinds.iter().map(volume).collect()
}

/// The clocks of EC2, S3 and Step Functions may differ by a second.
fn seconds(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use contract::input::Market;
    use contract::job::Kind;

    use super::*;
    use crate::testing;

    fn attempt(market: Market, launched: i64, last_word: Option<i64>) -> Attempt {
        let launch = Launch {
            instance: "i-1".to_owned(),
            instance_type: "c7i.4xlarge".to_owned(),
            market,
            launched,
        };
        Attempt {
            launch,
            last_word,
            last: None,
        }
    }

    fn lasted(attempts: &[Attempt], now: i64) -> Vec<(u32, Market, u64)> {
        let instances = instances(0, attempts, now).into_iter();
        let short = instances.map(|instance| (instance.attempt, instance.market, instance.seconds));
        short.collect()
    }

    #[test]
    fn an_attempt_lasts_until_its_last_word() {
        let attempts = [
            attempt(Market::Spot, 1000, Some(1300)),
            attempt(Market::OnDemand, 1400, Some(1460)),
        ];
        let expected = [(1, Market::Spot, 300), (2, Market::OnDemand, 60)];
        assert_eq!(lasted(&attempts, 2000), expected);
    }

    #[test]
    fn a_silent_attempt_lasts_until_the_next_one_or_the_end() {
        let attempts = [attempt(Market::Spot, 1000, None), attempt(Market::Spot, 1900, None)];
        assert_eq!(
            lasted(&attempts, 2000),
            [(1, Market::Spot, 900), (2, Market::Spot, 100)]
        );
    }

    #[test]
    fn what_may_still_run_counts_with_its_longest_run() {
        let plan = testing::plan(1, &[]);
        let two = |last_word| {
            let newest = attempt(Market::Spot, 1400, last_word);
            vec![attempt(Market::Spot, 1000, Some(1300)), newest]
        };
        assert_eq!(most(&plan, vec![], true), 0);
        assert_eq!(most(&plan, two(Some(1500)), true), 300 + 100);
        assert_eq!(most(&plan, two(Some(1500)), false), 300 + 3600);
        assert_eq!(
            most(&plan, two(None), true),
            300 + 600,
            "it was waited for while it booted"
        );
        let mut done = two(Some(1500));
        done[1].last = Some(Final::Done);
        assert_eq!(most(&plan, done, false), 300 + 100);
    }

    #[test]
    fn volumes_last_from_the_first_launch_to_the_end() {
        let plan = testing::plan(1, &[Kind::Sources, Kind::Builds]);
        let attempts = [
            attempt(Market::Spot, 1000, Some(1300)),
            attempt(Market::Spot, 1400, Some(1500)),
        ];
        let found = volumes(&plan, &plan.shards[0], &attempts, 4600);
        let short: Vec<_> = found
            .iter()
            .map(|volume| (volume.kind, volume.gib, volume.seconds))
            .collect();
        assert_eq!(short, [(Kind::Sources, 2, 3600), (Kind::Builds, 2, 3600)]);
        assert_eq!(volumes(&plan, &plan.shards[0], &[], 4600), []);
    }
}
