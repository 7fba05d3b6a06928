//! How often a worker is asked how it is doing, so that an execution's history suffices.

use anyhow::{Result, bail};
use contract::fault::Name;
use contract::plan::Polls;

use crate::fault::named;
use crate::settings::Settings;

/// Events that an execution's history may hold, from the documentation of Step Functions.
const HISTORY: u64 = 25_000;
/// Events of one poll: a Wait (2), a Task (5), a Choice (2).
const PER_POLL: u64 = 9;
/// Events kept for clean-up: [`crate::cleanup::ROUNDS`] rounds of as many events as a poll, and for plan, publish, serve.
const AT_THE_END: u64 = crate::cleanup::ROUNDS as u64 * PER_POLL + 400;
/// Events kept for a shard's snapshots: two that are waited for up to a hundred times each, three events a time.
const PER_SHARD: u64 = 700;
/// Events kept for an attempt besides its polls: launching, two volumes that are carried from another zone for eight
/// hours, retiring. Three a try; a test counts them in the state machine.
const PER_ATTEMPT: u64 = 420;
/// A poll that sees nothing new must not be the last: silence is believed after this many of the longest waits.
const WAITS_OF_SILENCE: u32 = 3;

/// The waits between polls: as the settings say, but long enough that all attempts of all shards may take their longest.
///
/// # Errors
/// `TooLarge` if so many shards do not fit into a history at all.
pub(crate) fn budget(settings: &Settings, shards: u32) -> Result<Polls> {
    let attempts = u64::from(shards) * u64::from(settings.max_attempts);
    let kept = AT_THE_END + u64::from(shards) * PER_SHARD + attempts * PER_ATTEMPT;
    let polls = HISTORY.saturating_sub(kept) / PER_POLL;
    if polls == 0 {
        bail!(named(
            Name::TooLarge,
            format!(
                "{shards} shards of {} attempts each do not fit into an execution's history: lower the stack's Shards or MaxAttempts",
                settings.max_attempts
            )
        ));
    }
    // Nor do all attempts together run longer than the limit of hours lets them.
    let longest = attempts * u64::from(settings.max_run_minutes) * 60;
    let seconds = longest.min(3600 * u64::from(settings.max_instance_hours));
    let max_seconds = u32::try_from(seconds.div_ceil(polls))?.max(settings.poll_max_seconds);
    Ok(Polls {
        first_seconds: settings.poll_first_seconds.clamp(1, max_seconds),
        max_seconds,
        silent_seconds: settings
            .silent_seconds
            .max(max_seconds.saturating_mul(WAITS_OF_SILENCE)),
        boot_seconds: settings.boot_seconds,
    })
}

/// The next wait: a quarter longer than the last, so that a short build is seen to end soon and a long one costs little.
pub(crate) fn next_wait(polls: &Polls, last: u32) -> u32 {
    match last {
        0 => polls.first_seconds,
        _ => (last + last / 4 + 1).min(polls.max_seconds),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fault::Fault;
    use crate::settings::tests::variable;

    fn settings(minutes: u32, attempts: u32) -> Settings {
        Settings {
            max_run_minutes: minutes,
            max_attempts: attempts,
            poll_first_seconds: 5,
            poll_max_seconds: 60,
            silent_seconds: 120,
            boot_seconds: 600,
            max_instance_hours: 100,
            ..Settings::read(variable).unwrap()
        }
    }

    #[test]
    fn a_short_build_is_polled_as_the_settings_say() {
        let polls = budget(&settings(60, 3), 1).unwrap();
        assert_eq!(
            (polls.first_seconds, polls.max_seconds, polls.silent_seconds),
            (5, 60, 180)
        );
    }

    #[test]
    fn the_longest_build_fits_into_the_history() {
        for shards in 1..=8 {
            let settings = settings(720, 4);
            let polls = budget(&settings, shards).unwrap();
            let all = u64::from(shards * settings.max_attempts);
            let seconds = (all * u64::from(settings.max_run_minutes) * 60).min(100 * 3600);
            let asked = seconds / u64::from(polls.max_seconds);
            let events = asked * PER_POLL + all * PER_ATTEMPT + u64::from(shards) * PER_SHARD + AT_THE_END;
            assert!(events <= HISTORY, "{shards} shards: {events} events");
        }
    }

    #[test]
    fn too_many_shards_have_a_name() {
        assert_eq!(
            Fault::from(budget(&settings(720, 4), 100).unwrap_err()).name,
            Name::TooLarge
        );
    }

    #[test]
    fn waits_grow_to_the_longest() {
        let polls = budget(&settings(60, 3), 1).unwrap();
        let waits: Vec<u32> = std::iter::successors(Some(0), |&wait| Some(next_wait(&polls, wait)))
            .skip(1)
            .take(12)
            .collect();
        assert_eq!(waits, [5, 7, 9, 12, 16, 21, 27, 34, 43, 54, 60, 60]);
    }

    /// Events of a task of the pipeline, with all its tries while things are under way: each is scheduled, started, ended.
    fn events(shard: &Value, task: &str) -> u64 {
        let retries = shard.pointer(task).expect(task)["Retry"].as_array().unwrap();
        let waits = retries.iter().find(|retry| retry["ErrorEquals"][0] == "NotReady");
        let tries = waits.map_or(0, |retry| retry["MaxAttempts"].as_u64().unwrap());
        2 + 3 * (1 + tries)
    }

    #[test]
    fn an_attempt_may_use_every_try_of_its_tasks() {
        let machine = include_str!("../../statemachines/pipeline.asl.json");
        let machine: Value = serde_json::from_str(machine).unwrap();
        let shard = &machine["States"]["Shards"]["ItemProcessor"]["States"];
        let volume = events(shard, "/Volumes/ItemProcessor/States/CreateVolume");
        let snapshot = events(shard, "/Snapshots/ItemProcessor/States/Snapshot");
        // A Map has four events and two an item.
        let map = 4 + 2 * 2;
        let attempt = events(shard, "/LaunchWorker") + map + 2 * volume + events(shard, "/RetireWorker");
        assert!(PER_ATTEMPT >= attempt, "{attempt}");
        assert!(PER_SHARD >= map + 2 * snapshot, "{}", map + 2 * snapshot);
    }
}
