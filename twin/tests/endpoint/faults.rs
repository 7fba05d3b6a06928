//! Faults: each kind does what it says, and the record tells.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{IDLE, World};

#[test]
fn calls_fail_before_and_after_their_effect_are_throttled_and_happen_twice() {
    let world = World::start(IDLE);
    let fault = |fault: serde_json::Value| {
        world.control("DELETE", "faults", "");
        world.control("POST", "faults", &fault.to_string());
    };
    let volumes = || world.ec2("DescribeVolumes", &[]).unwrap().items("volumeSet").len();
    let create = |token: &str| {
        world.try_ec2(
            "CreateVolume",
            &[
                ("AvailabilityZone", "us-east-1a"),
                ("Size", "1"),
                ("ClientToken", token),
            ],
        )
    };

    fault(json!([{"service": "ec2", "action": "CreateVolume", "kind": "before", "times": 1}]));
    assert_eq!(create("a").unwrap().unwrap_err(), (500, "InternalError".to_owned()));
    assert_eq!(volumes(), 0);
    create("a").unwrap().unwrap();
    assert_eq!(volumes(), 1);

    fault(json!([{"action": "CreateVolume", "kind": "after", "times": 1}]));
    assert!(create("b").is_err(), "the answer is lost");
    assert_eq!(volumes(), 2);
    create("b").unwrap().unwrap();
    assert_eq!(volumes(), 2);

    fault(
        json!({"action": "CreateVolume", "kind": "after", "nth": 2, "times": 1, "code": "Unavailable", "status": 503}),
    );
    create("c").unwrap().unwrap();
    assert_eq!(create("d").unwrap().unwrap_err(), (503, "Unavailable".to_owned()));
    assert_eq!(volumes(), 4);

    fault(json!({"action": "CreateSnapshot", "kind": "twice"}));
    let volume = world.volume(&[]);
    world.ec2("CreateSnapshot", &[("VolumeId", &volume)]).unwrap();
    assert_eq!(
        world.ec2("DescribeSnapshots", &[]).unwrap().items("snapshotSet").len(),
        2
    );

    fault(json!({"service": "s3", "kind": "throttle", "caller": "root"}));
    let authorization = crate::world::root("s3");
    let (status, text) = world
        .http("GET", "/", &[("Authorization", &authorization)], b"")
        .unwrap();
    assert!(status == 503 && text.contains("SlowDown"), "{text}");

    fault(json!({"service": "ec2", "action": "DescribeTags", "kind": "delay", "seconds": 0.5}));
    let started = Instant::now();
    world.ec2("DescribeTags", &[]).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(500));

    let hit: Vec<_> = world
        .recorded("CreateVolume")
        .into_iter()
        .map(|call| json!([call["fault"], call["status"], call["error"]]))
        .collect();
    let expected = json!([
        ["before", 500, "InternalError"],
        [null, 200, null],
        ["after", null, null],
        [null, 200, null],
        [null, 200, null],
        ["after", 503, "Unavailable"],
        [null, 200, null],
    ]);
    assert_eq!(json!(hit), expected);

    let all = world.control("GET", "record", "").lines().count();
    assert_eq!(
        world
            .control("GET", &format!("record?since={}", all - 2), "")
            .lines()
            .count(),
        2
    );
}

#[test]
fn there_is_no_capacity_where_there_shall_be_none() {
    let world = World::start(IDLE);
    world.control("POST", "faults", r#"[{"kind": "capacity", "market": "spot"}, {"kind": "capacity", "instanceType": "m*", "code": "VcpuLimitExceeded"}]"#);
    let run = |instance_type: &str, market: Option<&str>| {
        let mut parameters = vec![
            ("ImageId", "ami-twin-1"),
            ("InstanceType", instance_type),
            ("ClientToken", instance_type),
        ];
        parameters.extend(market.map(|market| ("InstanceMarketOptions.MarketType", market)));
        world.ec2("RunInstances", &parameters)
    };
    assert_eq!(
        run("c7i.large", Some("spot")).unwrap_err(),
        (500, "InsufficientInstanceCapacity".to_owned())
    );
    assert_eq!(
        run("m7i.large", None).unwrap_err(),
        (400, "VcpuLimitExceeded".to_owned())
    );
    run("c7i.large", None).unwrap();
}

#[test]
fn what_is_new_is_not_seen_is_late_or_does_not_work() {
    let world = World::start(IDLE);
    let fault = |fault: serde_json::Value| {
        world.control("DELETE", "faults", "");
        world.control("POST", "faults", &fault.to_string());
    };

    let volume = world.volume(&[]);
    fault(json!({"action": "DescribeVolumes", "kind": "stale", "seconds": 3600, "times": 2}));
    assert_eq!(world.ec2("DescribeVolumes", &[]).unwrap().items("volumeSet").len(), 0);
    let asked = world.ec2("DescribeVolumes", &[("VolumeId.1", &volume)]);
    assert_eq!(asked.unwrap_err(), (400, "InvalidVolume.NotFound".to_owned()));
    assert_eq!(world.ec2("DescribeVolumes", &[]).unwrap().items("volumeSet").len(), 1);

    let create = || {
        let wished = [("AvailabilityZone", "us-east-1a"), ("Size", "1")];
        world
            .ec2("CreateVolume", &wished)
            .unwrap()
            .text_at("volumeId")
            .expect("an id")
    };
    fault(json!({"action": "CreateVolume", "kind": "slow", "seconds": 1}));
    let (started, late) = (Instant::now(), create());
    world.until_field(&late, "status", "available");
    assert!(started.elapsed() >= Duration::from_secs(1));

    fault(json!([{"action": "CreateVolume", "kind": "broken"}, {"action": "CreateSnapshot", "kind": "broken"}]));
    world.until_field(&create(), "status", "error");
    let snapshot = world.ec2("CreateSnapshot", &[("VolumeId", &volume)]).unwrap();
    world.until_field(&snapshot.text_at("snapshotId").expect("an id"), "status", "error");

    fault(json!({"action": "AttachVolume", "kind": "broken"}));
    let instance = world.instance(&[]);
    let attached = [
        ("VolumeId", volume.as_str()),
        ("InstanceId", &instance),
        ("Device", "/dev/sdf"),
    ];
    world.ec2("AttachVolume", &attached).unwrap();
    world.until_field(&volume, "attachmentSet/item/status", "attaching");

    fault(json!({"action": "RunInstances", "kind": "broken"}));
    let launched = world.ec2(
        "RunInstances",
        &[("ImageId", "ami-twin-1"), ("InstanceType", "c7i.large")],
    );
    let dead = launched
        .unwrap()
        .text_at("instancesSet/item/instanceId")
        .expect("an id");
    world.until_field(&dead, "instanceState/name", "terminated");
}

#[test]
fn an_instance_that_hangs_is_running_and_silent_and_can_be_ended() {
    let world = World::start("while :; do echo tick; sleep 0.05; done");
    let instance = world.instance(&[]);
    world.until_console(&instance, "tick");
    world.control("POST", &format!("instances/{instance}/hang"), "");
    let said = || world.control("GET", &format!("instances/{instance}/console"), "").len();
    // What was said before may still be on its way.
    let drained = (0..100).any(|_| {
        let before = said();
        std::thread::sleep(Duration::from_millis(300));
        said() == before
    });
    assert!(drained, "nothing is said any more");
    assert_eq!(world.field(&instance, "instanceState/name").as_deref(), Some("running"));
    world.ec2("TerminateInstances", &[("InstanceId.1", &instance)]).unwrap();
    world.until_field(&instance, "instanceState/name", "terminated");
}
