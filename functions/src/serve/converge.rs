//! One bounded step of serving: looks at what there is, does what can be done now, says what it waits for.

use anyhow::{Result, bail};
use contract::objects;
use contract::release::Release;
use contract::serve::{Desired, MountedRelease, ServerStatus, Volumes};
use contract::steps::ServeOutput;

use super::access;
use super::mounts::{self, LetGo};
use super::server::{self, Server};
use crate::store::Stored;
use crate::{Aws, instances, store, times};

/// Steps before serving counts as stuck; the sweep starts again later. With 15 s between them this is an hour, longer
/// than any server needs to boot, and under a fifth of a history.
const ROUNDS: u32 = 240;

/// What a step came to.
#[derive(Debug)]
enum Step {
    /// Something is under way.
    Waiting(String),
    /// Nothing is left to do; the server has this address.
    Reached(Option<String>),
}

pub(super) async fn converge(aws: &Aws, execution: &str, now: &str, round: u32) -> Result<ServeOutput> {
    let stored: Option<Stored<Desired>> = store::get(aws, objects::SERVE_DESIRED).await?;
    let output = |converged, step: String, address| ServeOutput {
        converged,
        wait_seconds: aws.settings.wait_seconds,
        round: round + 1,
        step,
        address,
    };
    let Some(Stored {
        value: desired, etag, ..
    }) = stored.filter(|s| s.value.owner.as_deref() == Some(execution))
    else {
        return Ok(output(true, "another execution serves".to_owned(), None));
    };
    let step = match release(&desired, now)? {
        Some(release) => up(aws, release, now, &[execution, &round.to_string()]).await?,
        None => down(aws).await?,
    };
    let address = match step {
        Step::Waiting(what) if round >= ROUNDS => bail!("serving is stuck after {ROUNDS} steps: {what}"),
        Step::Waiting(what) => return Ok(output(false, what, None)),
        Step::Reached(address) => address,
    };
    let done = Desired {
        owner: None,
        ..ended(desired, now)?
    };
    match store::put_if(aws, objects::SERVE_DESIRED, &done, Some(&etag)).await? {
        true => Ok(output(true, "served as wished".to_owned(), address)),
        false => Ok(output(false, "something else is wished for now".to_owned(), None)),
    }
}

/// The release that a server shall have now; none if none shall run.
fn release<'a>(desired: &'a Desired, now: &str) -> Result<Option<&'a str>> {
    let is_over = expired(desired, now)?;
    Ok(desired.release.as_deref().filter(|_| desired.up && !is_over))
}

fn expired(desired: &Desired, now: &str) -> Result<bool> {
    Ok(match &desired.until {
        Some(until) => times::seconds(until)? <= times::seconds(now)?,
        None => false,
    })
}

/// A wish whose time is over is a wish for no server.
fn ended(desired: Desired, now: &str) -> Result<Desired> {
    Ok(match expired(&desired, now)? {
        true => Desired {
            up: false,
            until: None,
            ..desired
        },
        false => desired,
    })
}

/// What is wished for is there, as far as it can be seen without changing anything.
pub(super) async fn is_reached(aws: &Aws, desired: &Desired, now: &str) -> Result<bool> {
    if expired(desired, now)? {
        return Ok(false);
    }
    let Some(release) = release(desired, now)? else {
        return Ok(server::find(aws).await?.is_empty() && mounts::find(aws).await?.is_empty());
    };
    let Server::Running(instance) = server::look(aws, now).await? else {
        return Ok(false);
    };
    let status: Option<ServerStatus> = store::find(aws, objects::SERVE_STATUS).await?;
    Ok(status.is_some_and(|status| {
        status.instance == instances::id(&instance)
            && status.current.as_deref() == Some(release)
            && status.mounted.iter().all(|mounted| mounted == release)
    }))
}

/// No server: its instances, then its volumes.
async fn down(aws: &Aws) -> Result<Step> {
    let ending = server::end_all(aws).await?;
    if !ending.is_empty() {
        return Ok(Step::Waiting(format!("{} ending", ending.join(", "))));
    }
    let left = mounts::delete_all(aws).await?;
    if !left.is_empty() {
        return Ok(Step::Waiting(format!("{} being freed", left.join(", "))));
    }
    for key in [objects::SERVE_ACCESS, objects::SERVE_VOLUMES, objects::SERVE_STATUS] {
        store::delete(aws, key).await?;
    }
    Ok(Step::Reached(None))
}

/// A server that serves the release and nothing else.
async fn up(aws: &Aws, release: &str, now: &str, step: &[&str]) -> Result<Step> {
    access::hand_on(aws).await?;
    let release: Release = store::read(aws, &objects::release(release)).await?;
    let server = match server::ensure(aws, now, step).await? {
        Server::Running(instance) => instance,
        Server::Waiting(what) => return Ok(Step::Waiting(what)),
    };
    let instance = instances::id(&server);
    let wanted = match mounts::ensure(aws, &release, &server, step).await? {
        Ok(wanted) => wanted,
        Err(what) => return Ok(Step::Waiting(what)),
    };

    let stored: Option<Stored<Volumes>> = store::get(aws, objects::SERVE_VOLUMES).await?;
    let (told, since) = stored.map_or((Volumes::default(), 0), |stored| (stored.value, stored.modified));
    let status: Option<ServerStatus> = store::find(aws, objects::SERVE_STATUS).await?;
    let status = status.filter(|status| status.instance == instance);
    let switched = status
        .as_ref()
        .is_some_and(|status| status.current.as_deref() == Some(&release.release));
    // The list was last changed when the server was told to switch: from then on the older releases drain.
    let drained = switched && times::seconds(now)? >= since + i64::from(aws.settings.drain_seconds);
    let attached = mounts::attached(aws, instance).await?;
    let next = list(&release, wanted, &told, &attached, drained);
    if next != told {
        store::put(aws, objects::SERVE_VOLUMES, &next).await?;
        return Ok(Step::Waiting(format!("{instance} has been told what to mount")));
    }
    if !switched {
        let problem = status
            .and_then(|status| status.problem)
            .unwrap_or_else(|| "no problem reported".to_owned());
        return Ok(Step::Waiting(format!(
            "{instance} mounts {} ({problem})",
            release.release
        )));
    }
    if next.releases.len() > 1 {
        return Ok(Step::Waiting("older connections are drained".to_owned()));
    }
    let mounted = status.map(|status| status.mounted).unwrap_or_default();
    match mounts::drop_others(aws, &release.release, instance, &mounted).await? {
        LetGo::Done => Ok(Step::Reached(server::address(&server))),
        LetGo::Waiting(what) => Ok(Step::Waiting(what)),
    }
}

/// What the server shall mount: the release, and until they are drained those older ones that it has.
fn list(release: &Release, volumes: Vec<String>, told: &Volumes, attached: &[String], drained: bool) -> Volumes {
    let is_there = |older: &&MountedRelease| {
        older.release != release.release && older.volumes.iter().all(|volume| attached.contains(volume))
    };
    let older = told.releases.iter().filter(|_| !drained).filter(is_there).cloned();
    let current = MountedRelease {
        release: release.release.clone(),
        volumes,
    };
    Volumes {
        current: Some(release.release.clone()),
        releases: [current].into_iter().chain(older).collect(),
        profiles: release.profiles.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const NOW: &str = "2026-11-21T04:00:00Z";

    fn desired(up: bool, until: Option<&str>) -> Desired {
        Desired {
            release: Some("b-00002".to_owned()),
            instead_of: None,
            up,
            until: until.map(str::to_owned),
            seq: 7,
            owner: None,
        }
    }

    fn told() -> Volumes {
        let older = MountedRelease {
            release: "b-00001".to_owned(),
            volumes: vec!["vol-1".to_owned()],
        };
        Volumes {
            current: Some("b-00001".to_owned()),
            releases: vec![older],
            profiles: Vec::new(),
        }
    }

    fn releases(attached: &[&str], drained: bool) -> Vec<String> {
        let attached: Vec<String> = attached.iter().map(|volume| (*volume).to_owned()).collect();
        let list = list(
            &testing::release("b-00002"),
            vec!["vol-2".to_owned()],
            &told(),
            &attached,
            drained,
        );
        list.releases.into_iter().map(|mounted| mounted.release).collect()
    }

    #[test]
    fn a_server_runs_until_its_time_is_over() {
        assert_eq!(release(&desired(true, None), NOW).unwrap(), Some("b-00002"));
        assert_eq!(
            release(&desired(true, Some("2026-11-21T04:00:01Z")), NOW).unwrap(),
            Some("b-00002")
        );
        assert_eq!(
            release(&desired(true, Some("2026-11-21T04:00:00Z")), NOW).unwrap(),
            None
        );
        assert_eq!(release(&desired(false, None), NOW).unwrap(), None);
    }

    #[test]
    fn a_wish_whose_time_is_over_is_for_no_server() {
        let ended = ended(desired(true, Some("2026-11-21T03:00:00Z")), NOW).unwrap();
        assert_eq!((ended.up, ended.until), (false, None));
    }

    #[test]
    fn the_older_release_stays_until_it_is_drained() {
        assert_eq!(releases(&["vol-1", "vol-2"], false), ["b-00002", "b-00001"]);
        assert_eq!(releases(&["vol-1", "vol-2"], true), ["b-00002"]);
    }

    #[test]
    fn a_new_server_does_not_have_the_older_release() {
        assert_eq!(releases(&["vol-2"], false), ["b-00002"]);
    }
}
