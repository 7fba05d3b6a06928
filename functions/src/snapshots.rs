//! Snapshots: found by tag, made once, waited for, deleted.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use aws_sdk_ec2::types::{ResourceType, Snapshot, SnapshotState};
use contract::fault::Name;
use contract::tags;

use crate::fault::{Fault, Refusal, named, not_ready, unless_absent};
use crate::tagging::{self, Tags, held};
use crate::{Aws, ownership, releases};

/// Snapshots with these tags that builds have made, earliest first. An image's snapshot has the image's tags, but no kind.
pub(crate) async fn find(aws: &Aws, tags: &Tags) -> Result<Vec<Snapshot>> {
    let request = aws
        .ec2
        .describe_snapshots()
        .owner_ids("self")
        .set_filters(tags.filters());
    let found = request.into_paginator().items().send().try_collect().await;
    let mut found: Vec<Snapshot> = found.map_err(Refusal::from).context("looking for snapshots")?;
    found.retain(|snapshot| tag(snapshot, tags::KIND).is_some());
    let started = |snapshot: &Snapshot| snapshot.start_time().map_or(0, aws_smithy_types::DateTime::secs);
    found.sort_by_key(|snapshot| (started(snapshot), id(snapshot).to_owned()));
    Ok(found)
}

/// All snapshots of the installation that can be used, by id.
pub(crate) async fn usable(aws: &Aws) -> Result<Vec<Snapshot>> {
    let mut found = find(aws, &Tags::stack(aws)).await?;
    found.retain(completed);
    Ok(found)
}

/// A snapshot's id.
pub(crate) fn id(snapshot: &Snapshot) -> &str {
    snapshot.snapshot_id().unwrap_or_default()
}

/// The value of a tag.
pub(crate) fn tag<'a>(snapshot: &'a Snapshot, key: &str) -> Option<&'a str> {
    tagging::value(snapshot.tags(), key)
}

/// It holds everything and can be used.
pub(crate) fn completed(snapshot: &Snapshot) -> bool {
    snapshot.state() == Some(&SnapshotState::Completed)
}

/// Who asks for a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum For<'a> {
    /// Clean-up: never too late.
    CleanUp,
    /// This build, to carry a volume into another zone.
    Move(&'a str),
    /// This build, for its release or its checkpoint.
    Build(&'a str),
}

/// The one completed snapshot of a volume with these tags: looked for, made if there is none, waited for.
///
/// CreateSnapshot has no client token, so that a lost answer may leave two: the earliest stays, the others go. They are
/// equal, since nobody writes to the volume meanwhile. One that is made too late is undone.
///
/// # Errors
/// `NotReady` until it is completed; `SnapshotFailed` if AWS says so (it is deleted, so that the next try makes another);
/// `BuildIsOver`.
pub(crate) async fn ensure(aws: &Aws, volume: &str, tags: &Tags, purpose: For<'_>) -> Result<String> {
    let found = find(aws, tags).await?;
    let mut of_volume = found.iter().filter(|snapshot| snapshot.volume_id() == Some(volume));
    let Some(first) = of_volume.next() else {
        let (made, at_once) = create(aws, volume, tags).await?;
        match purpose {
            For::CleanUp => {}
            For::Move(build) => ownership::fence_or_undo(aws, build, delete_by_id(aws, &made)).await?,
            For::Build(build) => ownership::fence_or_undo(aws, build, delete_unless_named(aws, build, &made)).await?,
        }
        if at_once {
            return Ok(made);
        }
        bail!(not_ready(format!("{made} of {volume} has just been started")));
    };
    for duplicate in of_volume {
        delete(aws, duplicate).await?;
    }
    match first.state() {
        Some(SnapshotState::Completed) => Ok(id(first).to_owned()),
        Some(SnapshotState::Error) => {
            let message = first.state_message().unwrap_or("no reason given");
            let message = format!("{} of {volume} ended in error: {message}", id(first));
            delete(aws, first).await?;
            bail!(named(Name::SnapshotFailed, message))
        }
        _ => bail!(not_ready(format!(
            "{} of {volume} is at {}",
            id(first),
            first.progress().unwrap_or("0%")
        ))),
    }
}

/// The new snapshot's id, and whether it is completed already.
async fn create(aws: &Aws, volume: &str, tags: &Tags) -> Result<(String, bool)> {
    tracing::info!(volume, "starting a snapshot");
    let request = aws
        .ec2
        .create_snapshot()
        .volume_id(volume)
        .tag_specifications(tags.specification(ResourceType::Snapshot))
        .send()
        .await;
    let made = request
        .map_err(Refusal::from)
        .with_context(|| format!("starting a snapshot of {volume}"))?;
    let completed = made.state() == Some(&SnapshotState::Completed);
    Ok((made.snapshot_id.unwrap_or_default(), completed))
}

/// Deletes a snapshot. One that is not there is deleted; one that a person holds stays.
pub(crate) async fn delete(aws: &Aws, snapshot: &Snapshot) -> Result<()> {
    if held(snapshot.tags()) {
        return Ok(());
    }
    delete_by_id(aws, id(snapshot)).await
}

/// If this call counts as lost, another one may have found the snapshot, and the build may have published it.
async fn delete_unless_named(aws: &Aws, build: &str, snapshot: &str) -> Result<()> {
    if releases::names(aws, build).await? {
        return Ok(());
    }
    delete_by_id(aws, snapshot).await
}

async fn delete_by_id(aws: &Aws, snapshot: &str) -> Result<()> {
    tracing::info!(snapshot, "deleting");
    let request = aws.ec2.delete_snapshot().snapshot_id(snapshot).send().await;
    unless_absent(request.map_err(Refusal::from)).with_context(|| format!("deleting {snapshot}"))?;
    Ok(())
}

/// Deletes those of these snapshots that are not among `needed`, and gives their ids.
///
/// One that AWS does not let go, for example because a person has made an image of it, must keep no build from ending:
/// the sweep says so again and again.
pub(crate) async fn delete_unneeded(aws: &Aws, found: &[Snapshot], needed: &HashSet<String>) -> Result<Vec<String>> {
    let mut deleted = Vec::new();
    for snapshot in found
        .iter()
        .filter(|snapshot| !needed.contains(id(snapshot)) && !held(snapshot.tags()))
    {
        match delete(aws, snapshot).await.map_err(Fault::from) {
            Ok(()) => deleted.push(id(snapshot).to_owned()),
            Err(fault) if fault.name == Name::Bug => tracing::warn!(%fault, "a snapshot stays that nothing needs"),
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::error::ErrorMetadata;
    use aws_sdk_ec2::operation::delete_snapshot::{DeleteSnapshotError, DeleteSnapshotInput, DeleteSnapshotOutput};
    use aws_sdk_ec2::operation::describe_snapshots::DescribeSnapshotsOutput;
    use aws_sdk_ec2::types::Tag;
    use aws_smithy_mocks::mock;
    use aws_smithy_types::DateTime;

    use super::*;
    use crate::testing;

    fn snapshot(id: &str, started: i64) -> Snapshot {
        Snapshot::builder()
            .snapshot_id(id)
            .volume_id("vol-1")
            .tags(Tag::builder().key(tags::KIND).value(tags::RELEASE).build())
            .state(SnapshotState::Completed)
            .start_time(DateTime::from_secs(started))
            .build()
    }

    #[tokio::test]
    async fn of_two_snapshots_of_one_thing_the_earliest_stays() {
        let found = mock!(Client::describe_snapshots).then_output(|| {
            let both = [snapshot("snap-late", 20), snapshot("snap-early", 10)];
            DescribeSnapshotsOutput::builder()
                .set_snapshots(Some(both.into()))
                .build()
        });
        let delete = mock!(Client::delete_snapshot)
            .match_requests(|request| request.snapshot_id() == Some("snap-late"))
            .then_output(|| DeleteSnapshotOutput::builder().build());
        let aws = testing::aws(&[&found, &delete], &[]);
        assert_eq!(
            ensure(&aws, "vol-1", &Tags::stack(&aws), For::CleanUp).await.unwrap(),
            "snap-early"
        );
        assert_eq!(delete.num_calls(), 1);
    }

    #[tokio::test]
    async fn a_snapshot_that_aws_does_not_let_go_keeps_no_other_from_going() {
        let is = |id: &'static str| move |request: &DeleteSnapshotInput| request.snapshot_id() == Some(id);
        let refused = || {
            let why = ErrorMetadata::builder().code("InvalidSnapshot.InUse").build();
            DeleteSnapshotError::generic(why)
        };
        let kept = mock!(Client::delete_snapshot)
            .match_requests(is("snap-of-image"))
            .then_error(refused);
        let gone = mock!(Client::delete_snapshot)
            .match_requests(is("snap-old"))
            .then_output(|| DeleteSnapshotOutput::builder().build());
        let aws = testing::aws(&[&kept, &gone], &[]);
        let found = [snapshot("snap-of-image", 10), snapshot("snap-old", 20)];
        let deleted = delete_unneeded(&aws, &found, &HashSet::new()).await.unwrap();
        assert_eq!(deleted, ["snap-old"]);
    }
}
