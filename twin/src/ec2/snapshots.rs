//! Snapshots: the content of a volume at the moment of the call.

use std::sync::Arc;

use time::OffsetDateTime;

use super::query::{Filtered, Query, Tags, passes};
use super::refusal::{Outcome, Refusal};
use super::state::{Snapshot, new_id};
use super::{Ec2, Reply, SETTLES, stamp, tag_set};
use crate::ACCOUNT;
use crate::faults::Spoilt;
use crate::xml::{leaf, maybe, set};

impl Ec2 {
    pub(super) async fn create_snapshot(self: &Arc<Self>, query: Query<'_>, spoilt: Spoilt) -> Outcome<Reply> {
        let volume_id = query.need("VolumeId")?;
        let snapshot = self.change(|state| {
            let volume = state.volume(volume_id)?;
            if !matches!(volume.status.as_str(), "available" | "in-use") {
                return Err(Refusal::state(format!("Volume '{volume_id}' is {}", volume.status)));
            }
            let snapshot = Snapshot {
                id: new_id("snap-"),
                volume: volume_id.to_owned(),
                size: volume.size,
                status: "pending".to_owned(),
                description: query.get("Description").unwrap_or_default().to_owned(),
                encrypted: volume.encrypted,
                started: OffsetDateTime::now_utc(),
                tags: query.tag_specification("snapshot"),
            };
            state.snapshots.insert(snapshot.id.clone(), snapshot.clone());
            Ok(snapshot)
        })?;
        // Before the answer: what is written after it is not in the snapshot.
        let cloned = self.machines.create_snapshot(volume_id, &snapshot.id).await;
        if let Err(error) = &cloned {
            tracing::error!("{}: {error:#}", snapshot.id);
        }
        let usable = cloned.is_ok() && !spoilt.broken;
        let status = if usable { "completed" } else { "error" };
        let (ec2, id) = (Arc::clone(self), snapshot.id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(SETTLES + spoilt.slow).await;
            ec2.settle(|state| {
                if let Some(snapshot) = state.snapshots.get_mut(&id) {
                    snapshot.status = status.to_owned();
                }
            });
        });
        Ok(Reply {
            inner: snapshot_xml(&snapshot),
            made: vec![snapshot.id],
        })
    }

    pub(super) fn describe_snapshots(&self, query: Query<'_>) -> Outcome<Reply> {
        let (ids, owners, filters) = (query.list("SnapshotId"), query.list("Owner"), query.filters());
        // Everything here is the account's own.
        let ours = owners.is_empty() || owners.iter().any(|owner| matches!(*owner, "self" | ACCOUNT));
        self.look(|state| {
            for id in &ids {
                state.snapshot(id)?;
            }
            let mut found = Vec::new();
            for snapshot in state.snapshots.values().filter(|_| ours) {
                if (ids.is_empty() || ids.contains(&snapshot.id.as_str())) && passes(snapshot, &filters)? {
                    found.push(snapshot);
                }
            }
            let (page, token) = query.page(found, |snapshot| snapshot.id.clone())?;
            Ok(Reply::of(
                set("snapshotSet", page.into_iter().map(snapshot_xml)) + &maybe("nextToken", token),
            ))
        })
    }

    pub(super) async fn delete_snapshot(&self, query: Query<'_>) -> Outcome<Reply> {
        let id = query.need("SnapshotId")?;
        self.look(|state| {
            state.snapshot(id)?;
            match state
                .images
                .values()
                .find(|image| image.snapshots.iter().any(|snapshot| snapshot == id))
            {
                Some(image) => Err(Refusal::new(
                    "InvalidSnapshot.InUse",
                    format!("The snapshot {id} is currently in use by {}", image.id),
                )),
                None => Ok(()),
            }
        })?;
        self.machines
            .delete_snapshot(id)
            .await
            .map_err(|error| Refusal::internal(&error))?;
        self.change(|state| {
            state.snapshots.remove(id);
            Ok(())
        })?;
        Ok(Reply::done())
    }
}

impl Filtered for Snapshot {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(match name {
            "snapshot-id" => vec![self.id.clone()],
            "volume-id" => vec![self.volume.clone()],
            "volume-size" => vec![self.size.to_string()],
            "status" => vec![self.status.clone()],
            "description" => vec![self.description.clone()],
            "owner-id" => vec![ACCOUNT.to_owned()],
            _ => return None,
        })
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

fn snapshot_xml(snapshot: &Snapshot) -> String {
    let progress = if snapshot.status == "completed" { "100%" } else { "0%" };
    [
        leaf("snapshotId", &snapshot.id),
        leaf("volumeId", &snapshot.volume),
        leaf("status", &snapshot.status),
        leaf("startTime", stamp(snapshot.started)),
        leaf("progress", progress),
        leaf("ownerId", ACCOUNT),
        leaf("volumeSize", snapshot.size),
        leaf("description", &snapshot.description),
        leaf("encrypted", snapshot.encrypted),
        tag_set(&snapshot.tags),
    ]
    .concat()
}
