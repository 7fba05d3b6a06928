//! An image that was made is published (packer/publish): it is the role's image, and older ones are deleted.

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::project;
use tests::world::{World, eventually};

/// Snapshots of a volume take a moment, on a busy machine a long one.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// An image as packer leaves it: a snapshot and an image, both with their tags.
async fn image(world: &World, volume: &str, name: &str, stack: &str, role: &str) -> Result<[String; 2]> {
    let tags = |kind: &str| {
        format!("ResourceType={kind},Tags=[{{Key=vibes:stack,Value={stack}}},{{Key=vibes:role,Value={role}}}]")
    };
    let create = ["ec2", "create-snapshot", "--volume-id", volume];
    let tagged = ["--tag-specifications", &tags("snapshot")];
    let snapshot = world.aws(&[&create[..], &tagged, &["--query", "SnapshotId", "--output", "text"]].concat())?;
    let snapshot = snapshot.trim().to_owned();
    let device = format!("DeviceName=/dev/xvda,Ebs={{SnapshotId={snapshot}}}");
    let register = [
        "ec2",
        "register-image",
        "--name",
        name,
        "--query",
        "ImageId",
        "--output",
        "text",
    ];
    let image = world.aws(
        &[
            &register[..],
            &[
                "--block-device-mappings",
                &device,
                "--tag-specifications",
                &tags("image"),
            ],
        ]
        .concat(),
    )?;
    Ok([image.trim().to_owned(), snapshot])
}

fn publish(world: &World, stack: &str, role: &str, image: &str) -> Result<()> {
    let made_of = world.dir().join("image.json");
    std::fs::write(&made_of, format!("{{\"of\": \"{image}\"}}"))?;
    let mut command = world.command(&project::path("packer/publish"));
    command.args([stack, role, image]).arg(&made_of);
    let out = command.env("KEEP_IMAGES", "1").output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

fn listed(world: &World, what: &str, query: &str) -> Result<Vec<String>> {
    let owner = if what == "describe-images" {
        "--owners"
    } else {
        "--owner-ids"
    };
    let text = world.aws(&["ec2", what, owner, "self", "--query", query, "--output", "json"])?;
    let mut ids: Vec<String> = serde_json::from_str(&text)?;
    ids.sort_unstable();
    Ok(ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_image_is_its_roles_and_only_the_newest_and_the_one_in_use_stay() -> Result<()> {
    let world = World::empty().await?;
    let volume = [
        "ec2",
        "create-volume",
        "--availability-zone",
        "us-east-1a",
        "--size",
        "1",
    ];
    let volume = world.aws(&[&volume[..], &["--query", "VolumeId", "--output", "text"]].concat())?;
    let volume = volume.trim();
    eventually(SOON, "the volume is available", async || {
        let state = [
            "ec2",
            "describe-volumes",
            "--volume-ids",
            volume,
            "--query",
            "Volumes[0].State",
        ];
        Ok((world.aws(&state)?.contains("available")).then_some(()))
    })
    .await?;

    let server = image(&world, volume, "server", "vibes", "server").await?;
    let other = image(&world, volume, "other", "other", "worker").await?;
    let mut workers = Vec::new();
    for name in ["oldest", "older", "newest"] {
        workers.push(image(&world, volume, name, "vibes", "worker").await?);
    }
    publish(&world, "vibes", "worker", &workers[1][0])?;

    let kept = [&workers[1], &workers[2], &server, &other];
    let of = |which: usize| {
        let mut ids: Vec<_> = kept.iter().map(|image| image[which].clone()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(listed(&world, "describe-images", "Images[].ImageId")?, of(0));
    assert_eq!(listed(&world, "describe-snapshots", "Snapshots[].SnapshotId")?, of(1));

    let parameter = |name: &str| {
        world.aws(&[
            "ssm",
            "get-parameter",
            "--name",
            name,
            "--query",
            "Parameter.Value",
            "--output",
            "text",
        ])
    };
    assert_eq!(parameter("/vibes/ami/worker")?.trim(), workers[1][0]);
    let made_of: Value = serde_json::from_str(&parameter("/vibes/image/worker")?)?;
    assert_eq!(made_of["of"], workers[1][0].as_str());
    assert!(
        parameter("/vibes/ami/server").is_err(),
        "only what was published has changed"
    );
    world.done()
}
