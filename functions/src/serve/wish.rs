//! What shall be served: changed by conditional writes, and handed to one serve execution at a time.

use anyhow::{Result, bail};
use contract::fault::Name;
use contract::objects;
use contract::plan::Plan;
use contract::serve::{Desired, Wish};
use contract::steps::ServeOutput;
use serde_json::{Value, json};

use super::converge;
use crate::executions::{self, Execution};
use crate::fault::named;
use crate::store::Stored;
use crate::{Aws, adapter, releases, store, times};

/// Tries before the wish is left to the state machine's retry: each lost one means that another change was made.
const TRIES: usize = 10;

/// Wishes for the current release, and sees to it that a serve execution runs.
pub(super) async fn request(aws: &Aws, up: Option<bool>, until: Option<String>) -> Result<ServeOutput> {
    let wish = Wish {
        up,
        until,
        ..Wish::default()
    };
    let current = checked(aws, &wish).await?;
    let step = change(aws, None, |desired| wished(desired, current.clone(), &wish)).await?;
    // One that is at work is not started again.
    executions::start(aws, &aws.settings.serve_arn, &step, &json!({})).await?;
    Ok(ServeOutput {
        converged: false,
        wait_seconds: 0,
        round: 0,
        step,
        address: None,
    })
}

/// Takes the wish that a person has started this execution with. The execution works on it if no other is at work.
pub(super) async fn take(aws: &Aws, execution: &str, input: Value) -> Result<()> {
    let wish: Wish = adapter::parse(input)?;
    let stored: Option<Stored<Desired>> = store::get(aws, objects::SERVE_DESIRED).await?;
    if stored.is_some_and(|stored| stored.value.owner.as_deref() == Some(execution)) {
        return Ok(());
    }
    let current = checked(aws, &wish).await?;
    let without_comment = Wish {
        comment: None,
        ..wish.clone()
    };
    let is_empty = without_comment == Wish::default();
    change(aws, Some(execution), |desired| match is_empty {
        true => desired.clone(),
        false => wished(desired, current.clone(), &wish),
    })
    .await?;
    Ok(())
}

/// Refuses what cannot be served. Gives the current release's name.
async fn checked(aws: &Aws, wish: &Wish) -> Result<Option<String>> {
    if let Some(until) = &wish.until {
        times::seconds(until).map_err(|error| named(Name::InvalidInput, format!("field \"until\": {error}")))?;
    }
    if let Some(name) = &wish.release {
        let kept = releases::all(aws).await?;
        let kept: Vec<&str> = kept.iter().map(|release| release.release.as_str()).collect();
        if !kept.contains(&name.as_str()) {
            bail!(named(
                Name::InvalidInput,
                format!("field \"release\": {name} is not kept; these are: {}", kept.join(", "))
            ));
        }
    }
    releases::current_name(aws).await
}

/// Wakes serving if the server is not what is wished for and nobody is at work. Gives the execution that it started.
///
/// The wish of the build that made the current release may have been lost: it is made up for.
pub(crate) async fn wake(aws: &Aws, now: &str) -> Result<Option<String>> {
    let stored: Option<Stored<Desired>> = store::get(aws, objects::SERVE_DESIRED).await?;
    let desired = stored.map(|stored| stored.value).unwrap_or_default();
    let to_serve = to_serve(aws).await?;
    let due = |desired: &Desired| match &to_serve {
        Some(current) => wished(desired, Some(current.clone()), &Wish::default()),
        None => desired.clone(),
    };
    let is_due = due(&desired) == desired;
    if works(aws, &desired).await?
        || is_due && desired.owner.is_none() && converge::is_reached(aws, &desired, now).await?
    {
        return Ok(None);
    }
    let execution = change(aws, None, due).await?;
    executions::start(aws, &aws.settings.serve_arn, &execution, &json!({})).await?;
    Ok(Some(execution))
}

/// The current release, if its build was to serve it.
async fn to_serve(aws: &Aws) -> Result<Option<String>> {
    let Some(current) = releases::current_name(aws).await? else {
        return Ok(None);
    };
    let plan: Option<Plan> = store::find(aws, &objects::plan(&current)).await?;
    Ok(plan.filter(|plan| plan.serve).map(|_| current))
}

/// Changes the wish and gives it to the execution that is at work, which sees the change, else to this one, else to a new
/// one. Gives its name.
async fn change(aws: &Aws, execution: Option<&str>, wish: impl Fn(&Desired) -> Desired) -> Result<String> {
    for _ in 0..TRIES {
        let stored: Option<Stored<Desired>> = store::get(aws, objects::SERVE_DESIRED).await?;
        let (desired, etag) = stored.map_or((Desired::default(), None), |stored| (stored.value, Some(stored.etag)));
        let worker = if works(aws, &desired).await? {
            desired.owner.clone()
        } else {
            execution.map(str::to_owned)
        };
        let next = hand_out(wish(&desired), worker);
        if store::put_if(aws, objects::SERVE_DESIRED, &next, etag.as_deref()).await? {
            return Ok(next.owner.unwrap_or_default());
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

/// What is wished for now. Without `up`, what was wished for stays; the first wish ever is for a server, and so is one
/// for a release by its name.
fn wished(desired: &Desired, current: Option<String>, wish: &Wish) -> Desired {
    let (release, instead_of) = match (&wish.release, &desired.instead_of) {
        (Some(_), _) if wish.release != current => (wish.release.clone(), current),
        (None, Some(_)) if desired.instead_of == current => (desired.release.clone(), current),
        _ => (current, None),
    };
    let is_first = desired.seq == 0;
    let (up, until) = match wish.up {
        None if !is_first && wish.until.is_none() => (desired.up || wish.release.is_some(), desired.until.clone()),
        up => (up.unwrap_or(true), wish.until.clone()),
    };
    Desired {
        release,
        instead_of,
        up,
        until,
        ..desired.clone()
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

    fn wish(desired: &Desired, current: &str, up: Option<bool>) -> Desired {
        let wish = Wish { up, ..Wish::default() };
        wished(desired, Some(current.to_owned()), &wish)
    }

    fn desired(up: bool) -> Desired {
        let until = Some("2026-11-21T04:00:00Z".to_owned());
        Desired {
            release: Some("b-00001".to_owned()),
            instead_of: None,
            up,
            until,
            seq: 7,
            owner: None,
        }
    }

    #[test]
    fn the_first_wish_is_for_a_server() {
        let first = wish(&Desired::default(), "b-00001", None);
        assert!(first.up);
    }

    #[test]
    fn a_new_release_does_not_wake_a_server_that_was_ended() {
        let next = wish(&desired(false), "b-00002", None);
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
        let next = wish(&desired(false), "b-00001", Some(true));
        assert_eq!((next.up, next.until), (true, None));
    }

    #[test]
    fn an_older_release_is_served_until_there_is_a_newer_one() {
        let restore = Wish {
            release: Some("b-00001".to_owned()),
            ..Wish::default()
        };
        let restored = wished(&desired(false), Some("b-00002".to_owned()), &restore);
        assert_eq!((restored.release.as_deref(), restored.up), (Some("b-00001"), true));
        let nothing_new = wish(&restored, "b-00002", Some(true));
        assert_eq!(nothing_new.release.as_deref(), Some("b-00001"), "a check that serves");
        let newer = wish(&nothing_new, "b-00003", Some(true));
        assert_eq!((newer.release.as_deref(), newer.instead_of), (Some("b-00003"), None));
    }

    #[test]
    fn naming_the_current_release_takes_a_restore_back() {
        let restored = Desired {
            instead_of: Some("b-00002".to_owned()),
            ..desired(true)
        };
        let back = Wish {
            release: Some("b-00002".to_owned()),
            ..Wish::default()
        };
        let back = wished(&restored, Some("b-00002".to_owned()), &back);
        assert_eq!((back.release.as_deref(), back.instead_of), (Some("b-00002"), None));
    }

    #[test]
    fn every_wish_has_a_number_and_one_execution() {
        let next = hand_out(desired(true), None);
        assert_eq!((next.seq, next.owner.as_deref()), (8, Some("serve-8")));
        let next = hand_out(desired(true), Some("serve-3".to_owned()));
        assert_eq!((next.seq, next.owner.as_deref()), (8, Some("serve-3")));
    }
}
