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

/// Seconds of steps before serving counts as stuck; the sweep starts again later. Longer than any server needs to boot.
/// At 9 events a step, the shortest waits leave a third of a history.
const STUCK_SECONDS: u32 = 1800;

/// The fewest steps for that: each does a part. A drain has at most as many looks, whatever `DrainSeconds` is.
const FEWEST_ROUNDS: u32 = 240;

/// What a step came to.
#[derive(Debug)]
enum Step {
    /// Something is under way.
    Waiting(String),
    /// The server is as wished, and older connections have time. That does not count as a step: nothing can be stuck.
    Draining,
    /// Nothing can be done: a person holds the server, and why it does not work.
    Held(String),
    /// Nothing is left to do; the server has this address.
    Reached(Option<String>),
}

/// Steps before serving counts as stuck.
fn rounds(wait_seconds: u32) -> u32 {
    (STUCK_SECONDS / wait_seconds.max(1)).max(FEWEST_ROUNDS)
}

/// Seconds between two looks at a drain.
fn drain_wait(wait_seconds: u32, drain_seconds: u32) -> u32 {
    wait_seconds.max(drain_seconds.div_ceil(FEWEST_ROUNDS))
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
    let limit = rounds(aws.settings.wait_seconds);
    let (said, address) = match step {
        Step::Waiting(what) if round >= limit => {
            mounts::give_up_attaching(aws).await?;
            bail!("serving is stuck after {limit} steps: {what}")
        }
        Step::Waiting(what) => return Ok(output(false, what, None)),
        Step::Draining => {
            let waits = ServeOutput {
                // The first step is the one that takes the wish.
                round: round.max(1),
                wait_seconds: drain_wait(aws.settings.wait_seconds, aws.settings.drain_seconds),
                ..output(false, "older connections are drained".to_owned(), None)
            };
            return Ok(waits);
        }
        Step::Held(why) => (why, None),
        Step::Reached(address) => ("served as wished".to_owned(), address),
    };
    let done = Desired {
        owner: None,
        ..ended(desired, now)?
    };
    match store::put_if(aws, objects::SERVE_DESIRED, &done, Some(&etag)).await? {
        true => Ok(output(true, said, address)),
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
        return Ok(server::to_end(aws).await?.is_empty() && mounts::to_delete(aws).await?.is_empty());
    };
    let instance = match server::look(aws, now).await? {
        Server::Running(instance) => instance,
        Server::Waiting(_) => return Ok(false),
        Server::Held(_) => return Ok(true),
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
        Server::Held(why) => {
            tracing::warn!("{why}");
            return Ok(Step::Held(why));
        }
    };
    let instance = instances::id(&server);
    let attached = mounts::ensure(aws, &release, &server, step).await?;

    let stored: Option<Stored<Volumes>> = store::get(aws, objects::SERVE_VOLUMES).await?;
    let (told, since) = stored.map_or((Volumes::default(), 0), |stored| (stored.value, stored.modified));
    let status: Option<ServerStatus> = store::find(aws, objects::SERVE_STATUS).await?;
    let status = status.filter(|status| status.instance == instance);
    let current = status.as_ref().and_then(|status| status.current.as_deref());
    let mounted = status.as_ref().map_or(&[][..], |status| &status.mounted);
    // The list was last changed when the server was told to switch: from then on the older releases drain.
    let drained = current.is_some()
        && current == told.current.as_deref()
        && times::seconds(now)? >= since + i64::from(aws.settings.drain_seconds);
    let wanted = match attached {
        Ok(wanted) => wanted,
        Err(what) => {
            return Ok(
                match make_room(aws, &release.release, &told, drained, instance, mounted).await? {
                    LetGo::Done => Step::Waiting(what),
                    LetGo::Waiting(left) => Step::Waiting(format!("{what}, {left}")),
                },
            );
        }
    };
    let switched = current == Some(&release.release);
    let attached = mounts::attached(aws, instance).await?;
    let next = list(&release, wanted, &told, &attached, switched && drained);
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
        return Ok(Step::Draining);
    }
    let stays = |of: &str, is_here| of == release.release && is_here;
    match mounts::drop_others(aws, instance, mounted, stays).await? {
        LetGo::Done => Ok(Step::Reached(server::address(&server))),
        LetGo::Waiting(what) => Ok(Step::Waiting(what)),
    }
}

/// One step towards nothing but the volumes of the release that comes and of those that the server shall mount: older
/// ones may have all the device names. Those that are drained are not mounted any more.
async fn make_room(
    aws: &Aws,
    coming: &str,
    told: &Volumes,
    drained: bool,
    instance: &str,
    mounted: &[String],
) -> Result<LetGo> {
    let mut kept = told.clone();
    if drained {
        kept.releases
            .retain(|older| Some(&older.release) == told.current.as_ref());
    }
    if kept != *told {
        store::put(aws, objects::SERVE_VOLUMES, &kept).await?;
    }
    let stays = |of: &str, _| of == coming || kept.releases.iter().any(|kept| kept.release == of);
    mounts::drop_others(aws, instance, mounted, stays).await
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
    use aws_sdk_ec2::operation::detach_volume::DetachVolumeOutput;
    use aws_sdk_s3::operation::put_object::PutObjectOutput;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::serve::mounts::tests::{attached, volumes};
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

    /// What `make_room` says, and how often it told the server and detached `vol-0`, the volume of `b-00001`.
    async fn room(drained: bool) -> (LetGo, usize, usize) {
        let look = volumes(["b-00001", "b-00002", "b-00003"].map(|of| attached(of, "i-1")).to_vec());
        let detach = mock!(aws_sdk_ec2::Client::detach_volume)
            .match_requests(|request| request.volume_id() == Some("vol-b-00001"))
            .then_output(|| DetachVolumeOutput::builder().build());
        let tell = mock!(aws_sdk_s3::Client::put_object).then_output(|| PutObjectOutput::builder().build());
        let aws = testing::aws(&[&look, &detach], &[&tell]);
        let mut told = told();
        told.releases.push(MountedRelease {
            release: "b-00002".to_owned(),
            volumes: vec!["vol-b-00002".to_owned()],
        });
        told.current = Some("b-00002".to_owned());
        let done = make_room(&aws, "b-00003", &told, drained, "i-1", &["b-00002".to_owned()]).await;
        (done.unwrap(), tell.num_calls(), detach.num_calls())
    }

    #[tokio::test]
    async fn a_release_that_waits_for_a_device_name_gets_those_of_a_drained_one() {
        let (LetGo::Waiting(what), told, detached) = room(true).await else {
            panic!("it goes at once");
        };
        assert_eq!((&*what, told, detached), ("vol-b-00001 is being freed", 1, 1));
    }

    #[tokio::test]
    async fn what_is_not_drained_stays_whoever_waits() {
        assert!(matches!(room(false).await, (LetGo::Done, 0, 0)));
    }

    #[test]
    fn a_server_has_time_to_boot_and_a_drain_fits_a_history_whatever_the_waits_are() {
        for wait in [1, 3, 5, 15, 600] {
            let (rounds, looks) = (rounds(wait), 86_400 / drain_wait(wait, 86_400));
            assert!(rounds * wait >= 1800, "{rounds} steps of {wait} s");
            assert!((rounds + looks) * 9 < 20_000, "{rounds} steps, {looks} looks");
        }
        assert_eq!(drain_wait(15, 1800), 15);
    }

    #[tokio::test]
    async fn a_server_that_a_person_holds_is_nothing_to_be_done_about() {
        let held = crate::serve::server::tests::held("i-1");
        let aws = testing::aws(&[&held], &[]);
        assert!(is_reached(&aws, &desired(true, None), NOW).await.unwrap());
        let step = server::ensure(&aws, NOW, &["serve-7", "0"]).await.unwrap();
        assert!(matches!(step, Server::Held(_)), "{step:?}");

        let its = volumes(vec![attached("b-00002", "i-1")]);
        let aws = testing::aws(&[&held, &its], &[]);
        assert!(is_reached(&aws, &desired(false, None), NOW).await.unwrap());
        assert!(server::end_all(&aws).await.unwrap().is_empty());
        assert!(mounts::delete_all(&aws).await.unwrap().is_empty());
    }

    #[test]
    fn a_new_server_does_not_have_the_older_release() {
        assert_eq!(releases(&["vol-2"], false), ["b-00002"]);
    }
}
