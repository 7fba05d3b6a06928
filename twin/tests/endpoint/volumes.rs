//! Volumes and snapshots, and what AWS refuses to do with them.

use std::time::Duration;

use crate::world::{IDLE, World, root};

#[test]
fn a_volume_goes_through_the_states_of_aws() {
    let world = World::start(&format!(
        "until ls /dev/disk/by-id/nvme-* 2>/dev/null; do sleep 0.05; done; d=$(ls /dev/disk/by-id/nvme-*); mkfs.ext4 -q $d
        mkdir /srv/a; mount $d /srv/a; echo music > /srv/a/song; sync; echo mounted
        until curl -sf -o /dev/null -H 'Authorization: {}' $AWS_ENDPOINT_URL/signals/unmount; do sleep 0.05; done
        umount /srv/a; {IDLE}",
        root("s3")
    ));
    let s3 = root("s3");
    let signed = [("Authorization", s3.as_str())];
    world.http("PUT", "/signals", &signed, b"").unwrap();
    let token = [("AvailabilityZone", "us-east-1a"), ("Size", "2"), ("ClientToken", "t")];
    let made = world.ec2("CreateVolume", &token).unwrap();
    assert_eq!(made.text_at("status").unwrap(), "creating");
    let volume = made.text_at("volumeId").unwrap();
    assert_eq!(
        world.ec2("CreateVolume", &token).unwrap().text_at("volumeId").unwrap(),
        volume
    );
    let other = [("AvailabilityZone", "us-east-1a"), ("Size", "3"), ("ClientToken", "t")];
    assert_eq!(
        world.ec2("CreateVolume", &other).unwrap_err().1,
        "IdempotentParameterMismatch"
    );
    world.until_field(&volume, "status", "available");

    let instance = world.instance(&[]);
    let far = world.volume(&[("AvailabilityZone", "us-east-1b")]);
    let attach = |volume: &str, device: &str| {
        let parameters = [
            ("VolumeId", volume),
            ("InstanceId", instance.as_str()),
            ("Device", device),
        ];
        world.ec2("AttachVolume", &parameters).map_err(|(_, code)| code)
    };
    assert_eq!(attach(&far, "/dev/sdf").unwrap_err(), "InvalidVolume.ZoneMismatch");
    assert_eq!(
        attach(&volume, "/dev/sdf").unwrap().text_at("status").unwrap(),
        "attaching"
    );
    assert_eq!(attach(&volume, "/dev/sdg").unwrap_err(), "VolumeInUse");
    world.until_console(&instance, "mounted");
    assert_eq!(world.field(&volume, "attachmentSet/item/status").unwrap(), "attached");
    let delete = |volume: &str| {
        world
            .ec2("DeleteVolume", &[("VolumeId", volume)])
            .map_err(|(_, code)| code)
    };
    assert_eq!(delete(&volume).unwrap_err(), "VolumeInUse");

    let snapshot = world
        .ec2("CreateSnapshot", &[("VolumeId", &volume), ("Description", "d")])
        .unwrap();
    assert_eq!(snapshot.text_at("status").unwrap(), "pending");
    let snapshot = snapshot.text_at("snapshotId").unwrap();
    world.until_field(&snapshot, "status", "completed");
    assert_eq!(world.field(&snapshot, "progress").unwrap(), "100%");

    // As long as the instance has it mounted, it is not free.
    world.ec2("DetachVolume", &[("VolumeId", &volume)]).unwrap();
    assert_eq!(world.field(&volume, "attachmentSet/item/status").unwrap(), "detaching");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.field(&volume, "status").unwrap(), "in-use");
    world.http("PUT", "/signals/unmount", &signed, b"").unwrap();
    world.until_field(&volume, "status", "available");
    assert_eq!(
        world.ec2("DetachVolume", &[("VolumeId", &volume)]).unwrap_err().1,
        "IncorrectState"
    );
    delete(&volume).unwrap();
    world.until_field(&far, "status", "available");
    assert_eq!(delete("vol-0123456789").unwrap_err(), "InvalidVolume.NotFound");

    let from = |size: &str| {
        let parameters = [
            ("AvailabilityZone", "us-east-1a"),
            ("SnapshotId", snapshot.as_str()),
            ("Size", size),
        ];
        world.ec2("CreateVolume", &parameters)
    };
    assert_eq!(from("1").unwrap_err().1, "InvalidParameterValue");
    let clone = from("3").unwrap().text_at("volumeId").unwrap();
    world.until_field(&clone, "status", "available");
    assert_eq!(world.field(&clone, "size").unwrap(), "3");
    world
        .ec2("ModifyVolume", &[("VolumeId", &clone), ("Size", "4")])
        .unwrap();
    assert_eq!(world.field(&clone, "size").unwrap(), "4");
    world.ec2("DeleteSnapshot", &[("SnapshotId", &snapshot)]).unwrap();
    let again = world.ec2("DeleteSnapshot", &[("SnapshotId", &snapshot)]).unwrap_err();
    assert_eq!(again.1, "InvalidSnapshot.NotFound");
}
