//! A twin's life: what it keeps, what it leaves, what it refuses.

use std::process::Stdio;

use crate::world::{IDLE, World, left_behind, root, until};

#[test]
fn nothing_is_left_when_the_foreground_process_is_killed() {
    let mut world = World::start(IDLE);
    let instance = world.instance(&[]);
    let volume = world.volume(&[]);
    world
        .ec2(
            "AttachVolume",
            &[("VolumeId", &volume), ("InstanceId", &instance), ("Device", "/dev/sdf")],
        )
        .unwrap();
    world.until_field(&volume, "attachmentSet/item/status", "attached");
    assert!(
        left_behind(world.path()).len() >= 4,
        "foreground, init, base and the volume's device are seen"
    );
    world.kill();
    until("everything is gone", || left_behind(world.path()).is_empty());

    world.up();
    assert_eq!(world.field(&instance, "instanceState/name").unwrap(), "terminated");
    assert_eq!(world.field(&volume, "status").unwrap(), "available");
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let mut world = World::start(IDLE);
    let authorization = root("s3");
    let signed = [("Authorization", authorization.as_str())];
    world.http("PUT", "/kept", &signed, b"").unwrap();
    world.http("PUT", "/kept/song", &signed, b"music").unwrap();
    // The command-line client takes the endpoint of SQS from nowhere else.
    let endpoint = world.endpoint.clone();
    let sqs = ["--endpoint-url", &endpoint, "sqs"];
    let queue = world.aws(&[&sqs[..], &["create-queue", "--queue-name", "q"]].concat())["QueueUrl"].clone();
    let queue = queue.as_str().unwrap();
    assert!(queue.starts_with(&endpoint), "{queue}");
    let volume = world.volume(&[]);
    let snapshot = world
        .ec2("CreateSnapshot", &[("VolumeId", &volume)])
        .unwrap()
        .text_at("snapshotId")
        .unwrap();
    world.until_field(&snapshot, "status", "completed");
    let instance = world.instance(&[]);
    let before = String::from_utf8(world.command("env").output().unwrap().stdout).unwrap();
    world.down();
    assert_eq!(left_behind(world.path()), Vec::<String>::new());

    world.up();
    assert_eq!(
        String::from_utf8(world.command("env").output().unwrap().stdout).unwrap(),
        before,
        "the same endpoint"
    );
    assert_eq!(
        world.http("GET", "/kept/song", &signed, b"").unwrap(),
        (200, "music".to_owned())
    );
    world.aws(&[&sqs[..], &["send-message", "--queue-url", queue, "--message-body", "m"]].concat());
    assert_eq!(world.field(&volume, "status").unwrap(), "available");
    assert_eq!(world.field(&instance, "instanceState/name").unwrap(), "terminated");
    let from = [("AvailabilityZone", "us-east-1a"), ("SnapshotId", snapshot.as_str())];
    let clone = world.ec2("CreateVolume", &from).unwrap().text_at("volumeId").unwrap();
    world.until_field(&clone, "status", "available");
    let inventory: serde_json::Value = serde_json::from_str(&world.control("GET", "inventory", "")).unwrap();
    assert_eq!(inventory["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(inventory["instances"].as_array().unwrap().len(), 0);
}

#[test]
fn a_twin_can_end_with_the_one_who_started_it() {
    let mut world = World::start(IDLE);
    world.instance(&[]);
    drop(world.child().stdin.take());
    assert!(world.child().wait().unwrap().success(), "{}", world.log());
    assert_eq!(left_behind(world.path()), Vec::<String>::new());
}

#[test]
fn one_directory_has_one_twin() {
    let mut world = World::start(IDLE);
    let second = world.command("start").stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("a twin is already up"));
    let detached = world.command("start").arg("--detach").output().unwrap();
    assert!(detached.status.success() && String::from_utf8_lossy(&detached.stdout).starts_with("http://127.0.0.1:"));
    assert!(world.command("stop").status().unwrap().success());
    assert_eq!(left_behind(world.path()), Vec::<String>::new());
    assert!(
        world.command("stop").status().unwrap().success(),
        "stopping nothing is fine"
    );
    assert!(!world.command("env").output().unwrap().status.success());
    // It was ended by `stop`; its directory takes another.
    world.up();
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let world = World::start(IDLE);
    let twin = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vibes-twin"));
        let output = command
            .args(["start", "--detach", "--state"])
            .arg(world.path().join("other"))
            .args(arguments)
            .output();
        String::from_utf8_lossy(&output.unwrap().stderr).into_owned()
    };
    let missing = twin(&["--base", "/nowhere/ministack"]);
    assert!(
        missing.contains("the base /nowhere/ministack does not exist") && missing.contains("--base"),
        "{missing}"
    );
    let python = crate::world::venv("python").display().to_string();
    let missing = twin(&["--base", &python, "--agent", "/nowhere/agent"]);
    assert!(
        missing.contains("/nowhere/agent does not exist") && missing.contains("--agent"),
        "{missing}"
    );
    // A base that is none: the log's end is shown.
    let agent = world.path().join("agent").display().to_string();
    let failed = twin(&["--base", "/bin/false", "--agent", &agent, "--compile", &agent]);
    assert!(
        failed.contains("the twin did not start") && failed.contains("the base ended at once"),
        "{failed}"
    );
}
