//! The agent as a worker, whole: from user data to clean volumes, with the real compiler, tup and encoders.

mod support;

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::control::Control;
use contract::input::{Input, Market};
use contract::job::{Kind, Role, UserData, VolumeJob};
use contract::plan::{Plan, Polls, ShardPlan, VolumePlan};
use contract::report::Report;
use contract::status::{Final, Status};
use contract::{manifest, objects};
use support::agent::{Agent, become_instance};
use support::devices::{Volume, run};
use support::metadata::Metadata;
use support::s3::{S3, SOURCES, STATE};

const BUILD: &str = "b-00001";

/// A collection, its two volumes and the state bucket of one build.
struct World {
    s3: S3,
    folder: PathBuf,
    volumes: BTreeMap<Kind, Volume>,
    attempts: u32,
}

/// A mono WAV file of 16-bit samples: a tone.
fn tone(hertz: f64, milliseconds: u32) -> Vec<u8> {
    const RATE: u32 = 44_100;
    let samples = (0..RATE * milliseconds / 1000).map(|n| f64::from(n) * hertz * TAU / f64::from(RATE));
    let data: Vec<u8> = samples
        .flat_map(|angle| ((angle.sin() * 20_000.0) as i16).to_le_bytes())
        .collect();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

impl World {
    async fn new() -> Self {
        let folder = become_instance();
        let volumes = [(Kind::Sources, "vol-0a"), (Kind::Builds, "vol-0b")];
        let volumes = volumes
            .map(|(kind, id)| (kind, Volume::attach(&folder, id, 128)))
            .into();
        Self {
            s3: S3::start().await,
            folder,
            volumes,
            attempts: 0,
        }
    }

    fn path(&self) -> &Path {
        &self.folder
    }

    /// What the function plan writes.
    async fn plan(&self, profiles: &[(&str, &str)], kinds: &[Kind]) {
        let volume = VolumePlan { snapshot: None, gib: 1 };
        let names = profiles.iter().map(|(name, _)| name.to_string()).collect();
        let plan = Plan {
            build: BUILD.to_owned(),
            input: Input::default(),
            fingerprint: String::new(),
            sources_bucket: SOURCES.to_owned(),
            role: Role::Worker,
            image: "ami-1".to_owned(),
            markets: vec![Market::Spot],
            attempts: 3,
            profiles: names,
            kinds: kinds.to_vec(),
            shards: vec![ShardPlan {
                shard: 0,
                sources: volume.clone(),
                builds: volume,
            }],
            polls: Polls {
                first_seconds: 1,
                max_seconds: 1,
                silent_seconds: 60,
                boot_seconds: 60,
            },
            serve: false,
            max_run_minutes: 10,
        };
        let owner = Control {
            owner: Some(BUILD.to_owned()),
            seq: 1,
            ..Control::default()
        };
        let profiles: BTreeMap<_, _> = profiles.iter().copied().collect();
        let lines = manifest::to_lines(&self.s3.manifest().await).unwrap();
        self.s3
            .store()
            .put_text(&objects::manifest(BUILD, &plan.fingerprint), lines)
            .await
            .unwrap();
        self.s3.put(&objects::plan(BUILD), &plan).await;
        self.s3
            .put(&objects::profiles(BUILD, &plan.fingerprint), &profiles)
            .await;
        self.s3.put(objects::CONTROL, &owner).await;
    }

    /// Starts an instance for the next attempt.
    async fn start(&mut self) -> (Agent, Metadata) {
        let started = self.launch(&[]).await;
        self.attach().await;
        started
    }

    /// Tells the attempt's instance which volumes it has.
    async fn attach(&self) {
        for (&kind, volume) in &self.volumes {
            let job = VolumeJob {
                volume: volume.id.clone(),
                blank: true,
                gib: 1,
            };
            self.s3
                .put(&objects::volume_job(BUILD, 0, self.attempts, kind), &job)
                .await;
        }
    }

    /// Starts an instance for the next attempt that has no volumes yet.
    async fn launch(&mut self, settings: &[(&str, &str)]) -> (Agent, Metadata) {
        self.attempts += 1;
        let metadata = Metadata::start(&UserData {
            stack: "vibes".to_owned(),
            region: "us-east-1".to_owned(),
            state_bucket: STATE.to_owned(),
            role: Role::Worker,
            build: Some(BUILD.to_owned()),
            shard: 0,
            attempt: self.attempts,
        })
        .await;
        (Agent::start(self.path(), &self.s3, &metadata, settings), metadata)
    }

    async fn status(&self) -> Option<Status> {
        self.s3.get(&objects::status(BUILD, 0, self.attempts)).await
    }

    async fn report(&self) -> Report {
        self.s3.get(&objects::report(BUILD, 0)).await.unwrap()
    }

    /// Waits until the status is like this.
    async fn until(&self, agent: &Agent, like_this: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..600 {
            match self.status().await {
                Some(status) if like_this(&status) => return status,
                Some(status) if status.last.is_some() => panic!("{status:?}\n{}", agent.console()),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("it never came to that:\n{}", agent.console());
    }

    /// Runs an attempt to its end.
    async fn attempt(&mut self) -> Status {
        let (agent, _metadata) = self.start().await;
        agent.ended().await;
        self.status().await.expect("an attempt that ended has a status")
    }

    /// Files of the builds volume below `out/`, with their sizes.
    fn outputs(&self) -> BTreeMap<String, u64> {
        let at = self.path().join("look");
        fs::create_dir_all(&at).unwrap();
        let (device, at) = (
            self.volumes[&Kind::Builds].device.to_str().unwrap(),
            at.to_str().unwrap(),
        );
        run("mount", &["-o", "ro", device, at]);
        let files = agent::sync::tree::list(&Path::new(at).join("out")).unwrap();
        run("umount", &[at]);
        files
    }
}

const HOME: (&str, &str) = ("home", "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=--best\n");
const RADIO: (&str, &str) = ("radio", "CONFIG_ENCODER=oggenc\n");

#[tokio::test]
async fn a_worker_builds_what_changed_and_leaves_clean_volumes() {
    let mut world = World::new().await;
    world.s3.upload("tags.vc", b"ARTIST=The Tones\n").await;
    world.s3.upload("one/01-low.wav", &tone(220.0, 300)).await;
    world
        .s3
        .upload("one/02 - x<3 & \"q\" 100%.wav", &tone(440.0, 300))
        .await;
    world.s3.upload("one/Tupfile", b": |> touch /tmp/obeyed |>\n").await;
    world.plan(&[HOME, RADIO], &[Kind::Sources, Kind::Builds]).await;

    let status = world.attempt().await;
    assert_eq!(
        (status.last, status.reason.as_deref(), status.clean),
        (Some(Final::Done), None, true),
        "{status:?}"
    );
    assert_eq!(
        (status.step.as_str(), status.instance.as_str()),
        ("unmount", "i-0123456789abcdef0")
    );
    assert_eq!(status.bytes.done, status.bytes.total);
    assert_eq!(status.profiles.values().map(|tracks| tracks.done).sum::<u64>(), 4);
    let report = world.report().await;
    assert_eq!(report.built.len(), 4, "{report:?}");
    assert!(report.complete && report.failed.is_empty());
    assert_eq!(report.refused.len(), 1, "the Tupfile is refused");
    let outputs = world.outputs();
    let names: Vec<_> = outputs.keys().map(String::as_str).collect();
    let track = "02 - x<3 & \"q\" 100%";
    let expected = [
        "home/one/01-low.flac".to_owned(),
        format!("home/one/{track}.flac"),
        "radio/one/01-low.ogg".to_owned(),
        format!("radio/one/{track}.ogg"),
    ];
    assert_eq!(names, expected);
    assert!(world.path().join("powered-off").exists());
    let journal: Option<String> = world.s3.store().text(&objects::journal(BUILD, 0, 1)).await.unwrap();
    assert!(journal.unwrap().contains("step build"));

    let status = world.attempt().await;
    assert_eq!((status.last, status.clean), (Some(Final::Done), true), "{status:?}");
    assert_eq!(
        world.report().await.built,
        [""; 0],
        "nothing changed, nothing is encoded"
    );
    assert_eq!(world.outputs(), outputs);

    world.s3.upload("one/01-low.wav", &tone(110.0, 300)).await;
    world.plan(&[HOME], &[Kind::Sources, Kind::Builds]).await;
    let status = world.attempt().await;
    assert_eq!(status.last, Some(Final::Done), "{status:?}");
    assert_eq!(
        world.report().await.built,
        ["home/one/01-low.flac"],
        "one source changed"
    );
    assert_eq!(world.outputs().len(), 2, "a profile is gone");
}

#[tokio::test]
async fn a_volume_that_comes_from_another_zone_may_take_hours() {
    let mut world = World::new().await;
    world.s3.upload("one/01-low.wav", &tone(220.0, 300)).await;
    world.plan(&[HOME], &[Kind::Sources, Kind::Builds]).await;
    let (agent, _metadata) = world.launch(&[("VIBES_ATTACH_SECONDS", "1")]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.attach().await;
    agent.ended().await;
    let status = world.status().await.unwrap();
    assert_eq!(status.last, Some(Final::Done), "{status:?}");
}

#[tokio::test]
async fn an_interrupted_worker_leaves_clean_volumes_and_the_next_attempt_continues() {
    let mut world = World::new().await;
    for number in 1..=24 {
        world
            .s3
            .upload(
                &format!("long/{number:02}-tone.wav"),
                &tone(100.0 * f64::from(number), 20_000),
            )
            .await;
    }
    let slow = ("slow", "CONFIG_ENCODER=opusenc\nCONFIG_OPUSENC_FLAGS=--comp 10\n");
    world.plan(&[slow], &[Kind::Sources, Kind::Builds]).await;

    let (agent, metadata) = world.start().await;
    world
        .until(&agent, |status| {
            status.profiles.get("slow").is_some_and(|tracks| tracks.done > 1)
        })
        .await;
    metadata.give_spot_notice();
    agent.ended().await;
    let status = world.status().await.unwrap();
    assert_eq!(
        (status.last, status.clean),
        (Some(Final::Interrupted), true),
        "{status:?}"
    );
    assert!(status.reason.unwrap().contains("spot notice"));
    let first = world.outputs();
    assert!(first.len() > 1 && first.len() < 24, "{} of 24 were made", first.len());

    let status = world.attempt().await;
    assert_eq!((status.last, status.clean), (Some(Final::Done), true), "{status:?}");
    assert_eq!(
        world.report().await.built.len(),
        24 - first.len(),
        "what was done is not done again"
    );
    assert_eq!(world.outputs().len(), 24);
}

#[tokio::test]
async fn a_worker_stops_when_it_is_no_longer_wanted() {
    let mut world = World::new().await;
    world.plan(&[HOME], &[Kind::Sources, Kind::Builds]).await;
    // It waits for a volume that never comes.
    world.volumes.clear();

    let (agent, _metadata) = world.start().await;
    world.until(&agent, |status| status.sequence > 1).await;
    agent.shut_down();
    assert!(agent.ended().await.success());
    let status = world.status().await.unwrap();
    assert_eq!(
        (status.last, status.clean),
        (Some(Final::Interrupted), false),
        "{status:?}"
    );
    assert!(status.reason.unwrap().contains("SIGTERM"));

    let (agent, _metadata) = world.start().await;
    world.until(&agent, |status| status.sequence > 1).await;
    let other = Control {
        owner: Some("b-00002".to_owned()),
        seq: 2,
        ..Control::default()
    };
    world.s3.put(objects::CONTROL, &other).await;
    agent.ended().await;
    let status = world.status().await.unwrap();
    assert_eq!(status.last, Some(Final::Interrupted));
    assert!(status.reason.unwrap().contains("belongs to b-00002"));
}

#[tokio::test]
async fn a_worker_that_cannot_succeed_says_why_and_lets_go() {
    let mut world = World::new().await;
    world.s3.upload("one/01.wav", b"this is no music").await;
    world.plan(&[HOME], &[Kind::Sources, Kind::Builds]).await;
    let (agent, _metadata) = world.start().await;
    assert!(!agent.ended().await.success());
    let status = world.status().await.unwrap();
    assert_eq!((status.last, status.clean), (Some(Final::Failed), true), "{status:?}");
    assert!(!status.reason.unwrap().is_empty());
    assert_eq!(world.report().await.failed.len(), 1);
    assert!(world.path().join("powered-off").exists());
}

#[tokio::test]
async fn what_reads_uploaded_files_has_no_network() {
    let mut world = World::new().await;
    world.s3.upload("one/01.wav", &tone(220.0, 300)).await;
    let (flac, ours) = (
        world.path().join("bin/lonely-flac"),
        fs::read_link("/proc/self/ns/net").unwrap(),
    );
    let script = format!(
        "#!/bin/sh\n[ \"$(readlink /proc/self/ns/net)\" != {:?} ] || {{ echo 'I see the network' >&2; exit 1; }}\nexec flac \"$@\"\n",
        ours.display().to_string()
    );
    fs::write(&flac, script).unwrap();
    fs::set_permissions(&flac, fs::Permissions::from_mode(0o755)).unwrap();
    let profile = format!("CONFIG_ENCODER=flac\nCONFIG_FLAC={}\n", flac.display());
    world.plan(&[("home", &profile)], &[Kind::Sources, Kind::Builds]).await;
    let status = world.attempt().await;
    assert_eq!(status.last, Some(Final::Done), "{status:?}");
    assert_eq!(world.report().await.built, ["home/one/01.flac"]);
}

#[tokio::test]
async fn a_volume_manager_only_syncs() {
    let mut world = World::new().await;
    world.s3.upload("one/01.wav", &tone(220.0, 300)).await;
    world.plan(&[HOME], &[Kind::Sources]).await;
    world.volumes.remove(&Kind::Builds);
    let status = world.attempt().await;
    assert_eq!((status.last, status.clean), (Some(Final::Done), true), "{status:?}");
    assert_eq!(status.bytes.done, tone(220.0, 300).len() as u64);
    assert!(world.report().await.complete);
}
