//! Says how an attempt is doing, from its instance's state and what it last wrote.

use anyhow::Result;
use aws_sdk_ec2::types::Instance;
use contract::fault::Name;
use contract::objects;
use contract::plan::{Plan, Polls};
use contract::status::{Bytes, Final, Status, Tracks};
use contract::steps::{AttemptState, PollBuildInput, PollBuildOutput, StepFailure};

use crate::fault::{Fault, shortened};
use crate::{Aws, instances, polls, store, times};

/// What EC2 knows of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// It works, or is about to begin or to end.
    Alive,
    /// It is over.
    Gone,
    /// It is over because EC2 wanted it back.
    TakenBack,
    /// EC2 does not know it: not yet, or not any more.
    Unknown,
}

/// Looks once.
pub async fn handle(aws: &Aws, input: PollBuildInput) -> Result<PollBuildOutput, Fault> {
    let plan: Plan = store::read(aws, &objects::plan(&input.build)).await?;
    // The instance before its words: what is over now had said everything when it was asked.
    let instance = instances::look(aws, &input.instance).await?;
    let machine = machine(instance.as_ref());
    let overdue = match &instance {
        Some(instance) => overdue(&plan, instances::launched(instance), times::seconds(&input.now)?),
        None => None,
    };
    let status: Option<Status> = store::find(aws, &objects::status(&input.build, input.shard, input.attempt)).await?;
    let mut output = judge(&plan.polls, &input, machine, status, overdue);
    if output.state == AttemptState::Lost
        && let Some(failure) = &mut output.failure
    {
        // Only for people: that it cannot be read must not decide what happens next.
        let console = instances::console(aws, &input.instance).await;
        let console = console.unwrap_or_else(|error| format!("its console cannot be read: {error:#}"));
        failure.cause = shortened(format!("{}; {console}", failure.cause));
    }
    Ok(output)
}

fn machine(instance: Option<&Instance>) -> Machine {
    let Some(instance) = instance else {
        return Machine::Unknown;
    };
    let reason = instance
        .state_reason()
        .and_then(|reason| reason.code())
        .unwrap_or_default();
    match instances::terminated(instance) {
        false => Machine::Alive,
        true if reason.starts_with("Server.SpotInstance") => Machine::TakenBack,
        true => Machine::Gone,
    }
}

/// Minutes for which an instance has run that should have stopped itself by now, as EC2 counts them: neither a restart
/// of the machine nor one of its agent begins them anew. It may take as long to stop as it may be silent.
fn overdue(plan: &Plan, launched: i64, now: i64) -> Option<i64> {
    let most = 60 * i64::from(plan.max_run_minutes) + i64::from(plan.polls.silent_seconds);
    (now - launched > most).then_some((now - launched) / 60)
}

/// How the attempt is doing. Silence is counted in the waits between polls.
fn judge(
    polls: &Polls,
    input: &PollBuildInput,
    machine: Machine,
    status: Option<Status>,
    overdue: Option<i64>,
) -> PollBuildOutput {
    // A launch whose answer was lost may have made a second instance: what that one says does not count.
    let status = status.filter(|status| status.instance == input.instance);
    let sequence = status.as_ref().map_or(0, |status| status.sequence).max(input.sequence);
    let silent_seconds = match sequence > input.sequence {
        true => 0,
        false => input.silent_seconds.saturating_add(input.wait_seconds),
    };
    let booting = sequence == 0;
    let patience = if booting {
        polls.boot_seconds
    } else {
        polls.silent_seconds
    };
    let name = format!("{} (shard {}, attempt {})", input.instance, input.shard, input.attempt);
    let said = status.as_ref().and_then(|status| status.last);
    let reason = status
        .as_ref()
        .and_then(|status| status.reason.clone())
        .unwrap_or_else(|| "no reason given".to_owned());
    let clean = status.as_ref().is_some_and(|status| status.clean);
    let lost = |why: String| (AttemptState::Lost, Some((Name::WorkerLost, why)));
    let (state, failure) = match (said, machine) {
        (Some(Final::Done), _) if clean => (AttemptState::Done, None),
        (Some(Final::Done), _) => lost(format!("{name} is done, but could not unmount its volumes cleanly")),
        (Some(Final::Failed), _) => (AttemptState::Failed, Some((Name::BuildFailed, reason))),
        (Some(Final::Interrupted), _) => (
            AttemptState::Interrupted,
            Some((Name::WorkerLost, format!("{name} was interrupted: {reason}"))),
        ),
        (None, Machine::TakenBack) => (
            AttemptState::Interrupted,
            Some((Name::WorkerLost, format!("EC2 took {name} back"))),
        ),
        (None, Machine::Gone) => lost(format!("{name} ended without a last word")),
        (None, Machine::Unknown) if !booting => lost(format!("{name} is gone")),
        (None, Machine::Alive | Machine::Unknown) if silent_seconds >= patience => {
            lost(format!("{name} has said nothing for {silent_seconds} seconds"))
        }
        (None, Machine::Alive | Machine::Unknown) => match overdue {
            Some(minutes) => lost(format!("{name} has run for {minutes} minutes and did not stop itself")),
            None => (AttemptState::Running, None),
        },
    };
    let step = status
        .as_ref()
        .map_or_else(|| "boot".to_owned(), |status| status.step.clone());
    PollBuildOutput {
        state,
        sequence,
        silent_seconds,
        wait_seconds: polls::next_wait(polls, input.wait_seconds),
        step,
        tracks: status.as_ref().map_or_else(Tracks::default, tracks),
        bytes: status.as_ref().map_or_else(Bytes::default, |status| status.bytes),
        failure: failure.map(|(name, cause)| StepFailure {
            error: name.as_str().to_owned(),
            cause,
        }),
    }
}

fn tracks(status: &Status) -> Tracks {
    status.profiles.values().fold(Tracks::default(), |sum, profile| Tracks {
        done: sum.done + profile.done,
        total: sum.total + profile.total,
        failed: sum.failed + profile.failed,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing;

    const POLLS: Polls = Polls {
        first_seconds: 5,
        max_seconds: 60,
        silent_seconds: 120,
        boot_seconds: 600,
    };

    fn input(sequence: u64, silent_seconds: u32) -> PollBuildInput {
        PollBuildInput {
            build: "b-00001".to_owned(),
            shard: 0,
            attempt: 1,
            instance: "i-1".to_owned(),
            now: "2026-11-21T03:00:00Z".to_owned(),
            sequence,
            silent_seconds,
            wait_seconds: 20,
        }
    }

    fn status(sequence: u64, last: Option<Final>, clean: bool) -> Option<Status> {
        let tracks = Tracks {
            done: 3,
            total: 10,
            failed: 1,
        };
        Some(Status {
            build: "b-00001".to_owned(),
            shard: 0,
            attempt: 1,
            instance: "i-1".to_owned(),
            sequence,
            step: "build".to_owned(),
            last,
            reason: Some("no disk".to_owned()),
            profiles: BTreeMap::from([("home".to_owned(), tracks), ("car".to_owned(), tracks)]),
            bytes: Bytes::default(),
            eta_seconds: None,
            clean,
            warnings: Vec::new(),
        })
    }

    fn state(input: &PollBuildInput, machine: Machine, status: Option<Status>) -> AttemptState {
        judge(&POLLS, input, machine, status, None).state
    }

    #[test]
    fn a_worker_that_reports_runs() {
        let output = judge(&POLLS, &input(4, 100), Machine::Alive, status(5, None, false), None);
        assert_eq!(
            (output.state, output.sequence, output.silent_seconds),
            (AttemptState::Running, 5, 0)
        );
        assert_eq!(output.wait_seconds, 26);
        assert_eq!(
            output.tracks,
            Tracks {
                done: 6,
                total: 20,
                failed: 2
            }
        );
    }

    #[test]
    fn a_booting_worker_may_be_silent_for_longer() {
        assert_eq!(state(&input(0, 500), Machine::Alive, None), AttemptState::Running);
        assert_eq!(state(&input(0, 580), Machine::Alive, None), AttemptState::Lost);
        assert_eq!(
            state(&input(5, 80), Machine::Alive, status(5, None, false)),
            AttemptState::Running
        );
        assert_eq!(
            state(&input(5, 100), Machine::Alive, status(5, None, false)),
            AttemptState::Lost
        );
    }

    #[test]
    fn done_requires_clean_volumes() {
        assert_eq!(
            state(&input(5, 0), Machine::Gone, status(6, Some(Final::Done), true)),
            AttemptState::Done
        );
        assert_eq!(
            state(&input(5, 0), Machine::Gone, status(6, Some(Final::Done), false)),
            AttemptState::Lost
        );
    }

    #[test]
    fn last_words_count_more_than_the_instance() {
        let failed = judge(
            &POLLS,
            &input(5, 0),
            Machine::Gone,
            status(6, Some(Final::Failed), true),
            None,
        );
        assert_eq!(failed.state, AttemptState::Failed);
        assert_eq!(
            failed.failure.map(|failure| (failure.error, failure.cause)),
            Some(("BuildFailed".into(), "no disk".into()))
        );
        assert_eq!(
            state(&input(5, 0), Machine::Gone, status(6, Some(Final::Interrupted), true)),
            AttemptState::Interrupted
        );
    }

    #[test]
    fn a_worker_that_does_not_stop_when_its_time_is_over_is_lost_whatever_it_reports() {
        let plan = testing::plan(1, &[]);
        // An hour, and two minutes of silence.
        assert_eq!(overdue(&plan, 0, 3720), None);
        assert_eq!(overdue(&plan, 0, 3721), Some(62));
        let says = |last| judge(&POLLS, &input(4, 0), Machine::Alive, status(5, last, true), Some(62));
        let output = says(None);
        assert_eq!(output.state, AttemptState::Lost);
        assert!(output.failure.unwrap().cause.contains("62 minutes"));
        assert_eq!(says(Some(Final::Done)).state, AttemptState::Done);
    }

    #[test]
    fn what_another_instance_says_does_not_count() {
        let other = status(6, Some(Final::Failed), true).map(|status| Status {
            instance: "i-2".to_owned(),
            ..status
        });
        assert_eq!(state(&input(5, 0), Machine::Alive, other), AttemptState::Running);
    }

    #[test]
    fn an_instance_that_ends_without_a_word_is_lost() {
        let output = judge(&POLLS, &input(5, 0), Machine::Gone, status(5, None, false), None);
        assert_eq!(output.state, AttemptState::Lost);
        assert_eq!(output.failure.unwrap().error, "WorkerLost");
    }

    #[test]
    fn an_instance_that_ec2_takes_back_is_interrupted() {
        assert_eq!(
            state(&input(5, 0), Machine::TakenBack, status(5, None, false)),
            AttemptState::Interrupted
        );
    }

    #[test]
    fn an_instance_that_ec2_does_not_know_yet_is_waited_for() {
        assert_eq!(state(&input(0, 0), Machine::Unknown, None), AttemptState::Running);
        assert_eq!(
            state(&input(5, 0), Machine::Unknown, status(5, None, false)),
            AttemptState::Lost
        );
    }
}
