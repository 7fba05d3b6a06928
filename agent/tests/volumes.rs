//! Volumes on real block devices: made once, grown, repaired, mounted as promised, clean at the end.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use agent::process;
use agent::settings::Settings;
use agent::stop::Stop;
use agent::volume::{Volumes, filesystem};
use clap::Parser;
use contract::job::{Kind, VolumeJob};
use support::devices::{Volume, by_id, private_place, run};

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

fn settings(folder: &Path) -> Settings {
    let mut settings = Arguments::parse_from(["test"]).settings;
    settings.root = folder.join("root");
    settings.devices = by_id(folder);
    settings.attach_within = Duration::from_secs(1);
    settings
}

fn job(volume: &Volume, blank: bool) -> VolumeJob {
    VolumeJob {
        volume: volume.id.clone(),
        blank,
        gib: 1,
    }
}

/// Options of the mount at this folder.
fn options(at: &Path) -> String {
    run(
        "findmnt",
        &[
            "--noheadings",
            "--output",
            "OPTIONS",
            "--mountpoint",
            at.to_str().unwrap(),
        ],
    )
}

#[tokio::test]
async fn a_blank_volume_is_formatted_once_grows_and_ends_clean() {
    let folder = private_place();
    let settings = settings(&folder);
    let stop = Stop::default();
    let volume = Volume::attach(&folder, "vol-0a", 64);

    let mut volumes = Volumes::default();
    let root = volumes
        .open(Kind::Builds, &job(&volume, true), &settings, &stop)
        .await
        .unwrap();
    assert_eq!(root, settings.root.join("builds"));
    fs::write(root.join("kept"), "kept").unwrap();
    let mounted = options(&root);
    for option in ["rw", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(
            mounted.split(',').any(|have| have == option),
            "{option} is missing: {mounted}"
        );
    }
    let error = filesystem::prove_clean(&volume.device).await.unwrap_err();
    assert!(
        error.to_string().contains("not clean"),
        "a mounted volume is not clean: {error:#}"
    );
    assert!(volumes.close().await.unwrap());

    volume.grow(128);
    let mut volumes = Volumes::default();
    volumes
        .open(Kind::Builds, &job(&volume, true), &settings, &stop)
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(root.join("kept")).unwrap(),
        "kept",
        "a blank volume is formatted only once"
    );
    let size = run(
        "findmnt",
        &[
            "--noheadings",
            "--bytes",
            "--output",
            "SIZE",
            "--mountpoint",
            root.to_str().unwrap(),
        ],
    );
    assert!(
        size.parse::<u64>().unwrap() > 100 << 20,
        "the filesystem has {size} bytes"
    );

    fs::create_dir_all(root.join("folder")).unwrap();
    volumes
        .show(&root.join("folder"), &root.join("work/collection"))
        .unwrap();
    assert!(options(&root.join("work/collection")).starts_with("ro,"));
    fs::write(root.join("folder/visible"), "").unwrap();
    assert!(root.join("work/collection/visible").exists());
    // What tup leaves when it is killed.
    fs::create_dir(root.join("stray")).unwrap();
    run("mount", &["-t", "tmpfs", "none", root.join("stray").to_str().unwrap()]);
    volumes.make_read_only(&root).unwrap();
    assert!(fs::write(root.join("kept"), "").is_err());
    assert!(volumes.close().await.unwrap());
    assert!(!root.join("kept").exists(), "it is unmounted");
}

#[tokio::test]
async fn what_only_a_thorough_repair_mends_is_repaired() {
    let folder = private_place();
    let settings = settings(&folder);
    let stop = Stop::default();
    let volume = Volume::attach(&folder, "vol-0d", 64);
    let mut volumes = Volumes::default();
    let root = volumes
        .open(Kind::Builds, &job(&volume, true), &settings, &stop)
        .await
        .unwrap();
    fs::create_dir(root.join("lost")).unwrap();
    fs::write(root.join("lost/file"), "lost").unwrap();
    fs::write(root.join("kept"), "kept").unwrap();
    assert!(volumes.close().await.unwrap());
    let device = volume.device.to_str().unwrap();
    for damage in ["clri lost", "set_super_value state 2"] {
        run("debugfs", &["-w", "-R", damage, device]);
    }
    let preen = process::run("e2fsck", &["-p", "-n", device], &[0]).await;
    assert!(preen.is_err(), "it is damaged");

    let mut volumes = Volumes::default();
    volumes
        .open(Kind::Builds, &job(&volume, false), &settings, &stop)
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(root.join("kept")).unwrap(), "kept");
    assert!(!root.join("lost").exists());
    assert!(volumes.close().await.unwrap());
}

#[tokio::test]
async fn a_volume_that_is_in_use_is_waited_for_and_what_was_cut_off_is_repaired() {
    let folder = private_place();
    let settings = settings(&folder);
    let stop = Stop::default();
    let volume = Volume::attach(&folder, "vol-0b", 64);
    let mut volumes = Volumes::default();
    let root = volumes
        .open(Kind::Sources, &job(&volume, true), &settings, &stop)
        .await
        .unwrap();
    fs::write(root.join("file"), "durable").unwrap();
    nix::unistd::sync();

    // What a power cut leaves: the device as it is while it is mounted.
    let cut = Volume::attach(&folder, "vol-0c", 64);
    let mut from = File::open(&volume.device).unwrap();
    let mut to = OpenOptions::new().write(true).open(&cut.device).unwrap();
    io::copy(&mut from, &mut to).unwrap();
    drop(to);
    let error = filesystem::prove_clean(&cut.device).await.unwrap_err();
    assert!(error.to_string().contains("not clean"), "{error:#}");

    let open = File::open(root.join("file")).unwrap();
    let user = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        drop(open);
    });
    assert!(volumes.close().await.unwrap());
    user.join().unwrap();

    let mut volumes = Volumes::default();
    let root = volumes
        .open(Kind::Sources, &job(&cut, false), &settings, &stop)
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "durable");
    assert!(volumes.close().await.unwrap());
}

#[tokio::test]
async fn a_volume_is_not_formatted_on_suspicion() {
    let folder = private_place();
    let settings = settings(&folder);
    let volume = Volume::attach(&folder, "vol-0d", 64);
    let device = volume.device.to_str().unwrap();
    let mut volumes = Volumes::default();
    let opened = volumes
        .open(Kind::Sources, &job(&volume, false), &settings, &Stop::default())
        .await;
    assert!(
        opened.is_err(),
        "a restored volume without a filesystem is broken, not blank"
    );
    process::run("blkid", &["--probe", device], &[2])
        .await
        .expect("nothing is on it");

    run("mkswap", &[device]);
    let mut volumes = Volumes::default();
    let opened = volumes
        .open(Kind::Sources, &job(&volume, true), &settings, &Stop::default())
        .await;
    assert!(opened.unwrap_err().to_string().contains("left alone"));
    assert!(!volumes.close().await.unwrap(), "nothing was mounted");
}
