//! Sees to it that an attempt's volume exists where its instance is, and is attached to it.

use anyhow::{Result, bail};
use aws_sdk_ec2::types::{InstanceStateName, Volume, VolumeState};
use contract::fault::Name;
use contract::job::{Kind, VolumeJob};
use contract::plan::{Plan, VolumePlan};
use contract::steps::{CreateVolumeInput, CreateVolumeOutput};
use contract::{objects, tags};

use crate::fault::{Fault, named, not_ready};
use crate::snapshots::For;
use crate::tagging::Tags;
use crate::volumes::NewVolume;
use crate::{Aws, instances, ownership, snapshots, store, volumes};

/// One step towards an attached volume; `NotReady` until it is and the instance has been told.
pub async fn handle(aws: &Aws, input: CreateVolumeInput) -> Result<CreateVolumeOutput, Fault> {
    ownership::fence(aws, &input.build).await?;
    let plan: Plan = store::read(aws, &objects::plan(&input.build)).await?;
    let Some(shard) = plan.shards.get(input.shard as usize) else {
        return Err(anyhow::anyhow!("{} has no shard {}", input.build, input.shard).into());
    };
    let planned = shard.volume(input.kind);
    let volume = in_zone(aws, &input, planned).await?;
    let output = CreateVolumeOutput {
        kind: input.kind,
        volume: volumes::id(&volume).to_owned(),
    };
    match instances::look(aws, &input.instance)
        .await?
        .map(|instance| instances::state(&instance))
    {
        Some(InstanceStateName::Running) => attached(aws, &input, &volume).await?,
        Some(InstanceStateName::Pending) => return Err(not_ready(format!("{} is starting", input.instance)).into()),
        // EC2 may not know yet what it has just launched; what has ended it knows for an hour.
        None => return Err(not_ready(format!("{} is not known yet", input.instance)).into()),
        // It is gone: the poll says so and another attempt follows, so this is no failure of the shard.
        Some(_) => return Ok(output),
    }
    let job = VolumeJob {
        volume: output.volume.clone(),
        // A volume that has moved began blank too: the agent formats only what holds no file system.
        blank: planned.snapshot.is_none(),
        gib: volume.size().map_or(planned.gib, |gib| gib.unsigned_abs()),
    };
    store::put(
        aws,
        &objects::volume_job(&input.build, input.shard, input.attempt, input.kind),
        &job,
    )
    .await?;
    Ok(output)
}

/// The volume in the instance's zone: found, made, or moved there.
async fn in_zone(aws: &Aws, input: &CreateVolumeInput, planned: &VolumePlan) -> Result<Volume> {
    let tags = Tags::shard(aws, &input.build, input.shard).with(tags::ROLE, input.kind.as_str());
    let found = volumes::find(aws, &tags).await?;
    let (here, elsewhere): (Vec<&Volume>, Vec<&Volume>) =
        found.iter().partition(|volume| volumes::zone(volume) == input.zone);
    if let Some(volume) = here.first() {
        // What was moved here is not needed there any more.
        for moved in elsewhere.iter().filter(|volume| volumes::deletable(volume)) {
            volumes::delete(aws, moved).await?;
        }
        return Ok((*volume).clone());
    }
    let snapshot = match elsewhere.last() {
        Some(volume) => Some(carried(aws, input, volume).await?),
        None => planned.snapshot.clone(),
    };
    let new = NewVolume {
        zone: &input.zone,
        gib: Some(planned.gib),
        snapshot: snapshot.as_deref(),
        tags,
        token: &["volume", &input.build, &input.shard.to_string(), input.kind.as_str()],
    };
    let made = volumes::create(aws, &new).await?;
    ownership::fence_or_undo(aws, &input.build, volumes::delete(aws, &made)).await?;
    Ok(made)
}

/// A snapshot that carries a volume into another zone. Its attempt tells it from those of earlier moves, which are older.
async fn carried(aws: &Aws, input: &CreateVolumeInput, volume: &Volume) -> Result<String> {
    if volumes::failed(volume) {
        bail!(failed(volumes::id(volume)));
    }
    volumes::freed(aws, volume).await?;
    let tags = Tags::shard(aws, &input.build, input.shard)
        .with(tags::ATTEMPT, &input.attempt.to_string())
        .with(tags::ROLE, input.kind.as_str())
        .with(tags::KIND, tags::CHECKPOINT);
    snapshots::ensure(aws, volumes::id(volume), &tags, For::Move(&input.build)).await
}

/// One step towards the volume being attached to the running instance.
async fn attached(aws: &Aws, input: &CreateVolumeInput, volume: &Volume) -> Result<()> {
    let id = volumes::id(volume);
    match (volume.state(), volumes::attached(volume)) {
        (_, Some((instance, true))) if instance == input.instance => Ok(()),
        (_, Some((instance, _))) if instance == input.instance => bail!(not_ready(format!("{id} is being attached"))),
        (_, Some(_)) => volumes::freed(aws, volume).await,
        (Some(VolumeState::Available), None) => {
            if volumes::attach(aws, id, &input.instance, device(input.kind)).await? {
                return Ok(());
            }
            bail!(not_ready(format!("{id} is being attached")))
        }
        (Some(VolumeState::Error), None) => bail!(failed(id)),
        _ => bail!(not_ready(format!("{id} is {}", volumes::state(volume)))),
    }
}

/// The fault of a volume that can only be deleted, which clean-up does.
fn failed(volume: &str) -> Fault {
    let message =
        format!("EC2 could not make {volume}, or has lost what it held: it is deleted, start the build again");
    named(Name::VolumeFailed, message)
}

/// The device name that EC2 asks for. The agent does not use it: it finds volumes by id.
fn device(kind: Kind) -> &'static str {
    match kind {
        Kind::Sources => "/dev/sdf",
        Kind::Builds => "/dev/sdg",
    }
}
