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
