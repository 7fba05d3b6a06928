//! What shall be served: changed by conditional writes, and handed to one serve execution at a time.

use anyhow::{Result, bail};
use contract::fault::Name;
use contract::objects;
use contract::serve::Desired;
use contract::steps::ServeOutput;
use serde_json::json;

use super::converge;
use crate::executions::{self, Execution};
use crate::fault::named;
use crate::store::Stored;
use crate::{Aws, releases, store, times};

/// Tries before the wish is left to the state machine's retry: each lost one means that another change was made.
const TRIES: usize = 10;

/// Wishes for the current release, and sees to it that a serve execution runs.
pub(super) async fn request(aws: &Aws, up: Option<bool>, until: Option<String>) -> Result<ServeOutput> {
    if let Some(until) = &until {
        times::seconds(until).map_err(|error| named(Name::InvalidInput, format!("field \"until\": {error}")))?;
    }
    let release = releases::current_name(aws).await?;
    let step = change(aws, |desired| wish(desired, release.clone(), up, until.clone())).await?;
    Ok(ServeOutput {
        converged: false,
        wait_seconds: 0,
        round: 0,
        step,
        address: None,
    })
}

/// Wakes serving if the server is not what is wished for and nobody is at work. Gives the execution that it started.
pub(crate) async fn wake(aws: &Aws, now: &str) -> Result<Option<String>> {
    let Some(Stored { value: desired, .. }) = store::get::<Desired>(aws, objects::SERVE_DESIRED).await? else {
        return Ok(None);
    };
    if works(aws, &desired).await? || (desired.owner.is_none() && converge::is_reached(aws, &desired, now).await?) {
        return Ok(None);
    }
    change(aws, Desired::clone).await.map(Some)
}

/// Changes the wish and starts an execution for it, unless one is at work: that one sees the change. Gives its name.
async fn change(aws: &Aws, wish: impl Fn(&Desired) -> Desired) -> Result<String> {
    for _ in 0..TRIES {
        let stored: Option<Stored<Desired>> = store::get(aws, objects::SERVE_DESIRED).await?;
        let (desired, etag) = stored.map_or((Desired::default(), None), |stored| (stored.value, Some(stored.etag)));
        let worker = if works(aws, &desired).await? {
            desired.owner.clone()
        } else {
            None
        };
        let next = hand_out(wish(&desired), worker);
        if store::put_if(aws, objects::SERVE_DESIRED, &next, etag.as_deref()).await? {
            let execution = next.owner.unwrap_or_default();
            // One that is at work is not started again.
            executions::start(aws, &aws.settings.serve_arn, &execution, &json!({})).await?;
            return Ok(execution);
        }
    }
    bail!(named(
        Name::TryAgain,
        format!(
            "{} was changed by others {TRIES} times in a row",
            objects::SERVE_DESIRED
        )
    ))
}

/// A serve execution is converging.
async fn works(aws: &Aws, desired: &Desired) -> Result<bool> {
    let Some(owner) = &desired.owner else {
        return Ok(false);
    };
    Ok(executions::look(aws, &aws.settings.serve_arn, owner).await? == Execution::Running)
}

/// The wish for this release. Without `up`, what was wished for stays; the first wish ever is for a server.
fn wish(desired: &Desired, release: Option<String>, up: Option<bool>, until: Option<String>) -> Desired {
    let first = desired.seq == 0;
    match up {
        None if !first => Desired {
            release,
            ..desired.clone()
        },
        _ => Desired {
            release,
            up: up.unwrap_or(true),
            until,
            ..desired.clone()
        },
    }
}

/// The next wish, in the hands of the execution that is at work, or of a new one.
fn hand_out(wish: Desired, worker: Option<String>) -> Desired {
    let seq = wish.seq + 1;
    Desired {
        seq,
        owner: Some(worker.unwrap_or_else(|| format!("serve-{seq}"))),
        ..wish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(up: bool) -> Desired {
        let until = Some("2026-11-21T04:00:00Z".to_owned());
        Desired {
            release: Some("b-00001".to_owned()),
            up,
            until,
            seq: 7,
            owner: None,
        }
    }

    #[test]
    fn the_first_wish_is_for_a_server() {
        let first = wish(&Desired::default(), Some("b-00001".to_owned()), None, None);
        assert!(first.up);
    }

    #[test]
    fn a_new_release_does_not_wake_a_server_that_was_ended() {
        let next = wish(&desired(false), Some("b-00002".to_owned()), None, None);
        assert_eq!(
            next,
            Desired {
                release: Some("b-00002".to_owned()),
                ..desired(false)
            }
        );
    }

    #[test]
    fn a_wish_for_a_server_says_until_when() {
        let next = wish(&desired(false), None, Some(true), None);
        assert_eq!((next.up, next.until), (true, None));
    }

    #[test]
    fn every_wish_has_a_number_and_one_execution() {
        let next = hand_out(desired(true), None);
        assert_eq!((next.seq, next.owner.as_deref()), (8, Some("serve-8")));
        let next = hand_out(desired(true), Some("serve-3".to_owned()));
        assert_eq!((next.seq, next.owner.as_deref()), (8, Some("serve-3")));
    }
}
