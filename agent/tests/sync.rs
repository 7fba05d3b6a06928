//! The sync against a real S3: the folder is a mirror, and an unchanged file is not touched.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use agent::stop::Stop;
use agent::store::Store;
use agent::sync::{Mirror, Outcome, collection, ledger, tree};
use anyhow::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ErrorMetadata;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use contract::manifest::Entry;
use contract::status::Bytes;
use support::s3::{S3, SOURCES};
use support::scratch;

/// Inode and time of its last change: what tup compares.
type Identity = (u64, i64, i64);

fn identity(path: &Path) -> Identity {
    let about = fs::metadata(path).unwrap();
    (about.ino(), about.ctime(), about.ctime_nsec())
}

struct World {
    s3: S3,
    root: tempfile::TempDir,
    stop: Stop,
}

impl World {
    async fn new() -> Self {
        Self {
            s3: S3::start().await,
            root: scratch(),
            stop: Stop::default(),
        }
    }

    async fn sync_entries(&self, entries: Vec<Entry>, progress: &dyn Fn(Bytes)) -> Result<Outcome> {
        let store = self.s3.store();
        let mirror = Mirror {
            store: &store,
            bucket: SOURCES,
            root: self.root.path(),
            stop: &self.stop,
        };
        mirror.run(entries, progress).await
    }

    /// Syncs to what the bucket holds; returns files written and removed.
    async fn sync(&self) -> (usize, usize) {
        let outcome = self.sync_entries(self.s3.manifest().await, &|_| ()).await.unwrap();
        assert!(outcome.complete && outcome.refused.is_empty(), "{outcome:?}");
        self.check_ledger();
        (outcome.written, outcome.removed)
    }

    /// The ledger knows exactly the files there are.
    fn check_ledger(&self) {
        let known = ledger::load(&self.root.path().join("manifest.jsonl")).unwrap();
        let known: BTreeMap<_, _> = known.into_values().map(|record| (record.key, record.size)).collect();
        assert_eq!(known, tree::list(&collection(self.root.path())).unwrap());
        assert_eq!(fs::read_dir(self.root.path().join("incoming")).unwrap().count(), 0);
    }

    fn path(&self, key: &str) -> std::path::PathBuf {
        collection(self.root.path()).join(key)
    }

    fn identities(&self) -> BTreeMap<String, Identity> {
        let files = tree::list(&collection(self.root.path())).unwrap();
        files
            .into_keys()
            .map(|key| (key.clone(), identity(&self.path(&key))))
            .collect()
    }
}

#[tokio::test]
async fn the_folder_follows_the_bucket_and_nothing_else_is_touched() {
    let world = World::new().await;
    let names = [
        "root.wav",
        "a/1/01 - x<3 & \"q\" 100%.wav",
        "a/tags.vc",
        "曲/ü $x.flac",
        "empty",
    ];
    for name in names {
        let content = if name == "empty" { "" } else { name };
        world.s3.upload(name, content.as_bytes()).await;
    }
    let seen = Mutex::new(Bytes::default());
    let outcome = world
        .sync_entries(world.s3.manifest().await, &|bytes| *seen.lock().unwrap() = bytes)
        .await
        .unwrap();
    assert_eq!(outcome.written, names.len());
    assert_eq!(fs::read_to_string(world.path(names[1])).unwrap(), names[1]);
    let seen = *seen.lock().unwrap();
    assert!(seen.total > 0 && seen.done == seen.total, "{seen:?}");
    let mut before = world.identities();

    assert_eq!(world.sync().await, (0, 0), "nothing changed");
    assert_eq!(world.identities(), before);

    world.s3.upload("a/tags.vc", b"ARTIST=other").await;
    assert_eq!(world.sync().await, (1, 0), "one object changed");
    assert_eq!(fs::read_to_string(world.path("a/tags.vc")).unwrap(), "ARTIST=other");
    assert_ne!(world.identities().remove("a/tags.vc"), before.remove("a/tags.vc"));
    assert!(
        before
            .iter()
            .all(|(key, identity)| world.identities()[key] == *identity)
    );

    world.s3.delete("曲/ü $x.flac").await;
    assert_eq!(world.sync().await, (0, 1), "one object is gone");
    assert!(!world.path("曲").exists(), "and its emptied folder with it");

    world.s3.delete(names[1]).await;
    world.s3.upload("a/2/01.wav", names[1].as_bytes()).await;
    assert_eq!(world.sync().await, (1, 1), "one object has another name");
    assert!(!world.path("a/1").exists());

    world.s3.delete("a/2/01.wav").await;
    world.s3.delete("a/tags.vc").await;
    world.s3.upload("a", b"a file now").await;
    world.s3.delete("root.wav").await;
    world.s3.upload("root.wav/is a folder now", b"x").await;
    assert_eq!(world.sync().await, (2, 3), "a folder became a file and a file a folder");
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "a file now");
}

#[tokio::test]
async fn equal_content_keeps_its_file_whatever_the_etag_says() {
    let world = World::new().await;
    world.s3.upload("a.wav", b"the same").await;
    world.s3.upload("b.wav", b"the other").await;
    world.sync().await;
    let before = world.identities();

    world.s3.upload_as_parts("a.wav", b"the same").await;
    let etag = &world.s3.manifest().await[0].etag;
    assert!(etag.contains('-'), "{etag} should be that of a multipart upload");
    assert_eq!(world.sync().await, (0, 0), "uploaded again in parts");
    assert_eq!(world.sync().await, (0, 0), "the new ETag is known now");
    assert_eq!(world.identities(), before);

    fs::remove_file(world.root.path().join("manifest.jsonl")).unwrap();
    assert_eq!(world.sync().await, (0, 0), "the ledger is lost, the files are not");
    assert_eq!(world.identities(), before);

    fs::write(world.path("b.wav"), "the o").unwrap();
    assert_eq!(world.sync().await, (1, 0), "a truncated file is repaired");
    assert_eq!(fs::read_to_string(world.path("b.wav")).unwrap(), "the other");
}

#[tokio::test]
async fn hostile_keys_are_refused_and_the_rest_is_fetched() {
    let world = World::new().await;
    for key in ["good.wav", "folder", "folder/good.wav"] {
        world.s3.upload(key, b"good").await;
    }
    let mut entries = world.s3.manifest().await;
    for key in ["../escaped", "a//b", "sub/Tupfile", ".git/config"] {
        entries.push(Entry {
            key: key.to_owned(),
            size: 1,
            etag: "\"x\"".to_owned(),
            version: None,
        });
    }
    let outcome = world.sync_entries(entries, &|_| ()).await.unwrap();
    assert!(
        outcome.complete,
        "a refused name is not a change: another build would not help"
    );
    let refused: Vec<_> = outcome.refused.iter().map(|refusal| &*refusal.key).collect();
    assert_eq!(refused, ["../escaped", "a//b", "sub/Tupfile", ".git/config", "folder"]);
    let files: Vec<_> = world.identities().into_keys().collect();
    assert_eq!(files, ["folder/good.wav", "good.wav"]);
    assert!(outcome.refused.iter().all(|refusal| refusal.reason.contains("rename")));
}

#[tokio::test]
async fn what_changes_while_it_is_fetched_is_reported_and_the_older_file_stays() {
    let world = World::new().await;
    for key in ["changes", "goes", "new", "stays"] {
        world.s3.upload(key, key.as_bytes()).await;
    }
    let mut first = world.s3.manifest().await;
    first.retain(|entry| entry.key != "new");
    world.sync_entries(first, &|_| ()).await.unwrap();
    let before = world.identities();

    for key in ["changes", "goes", "new", "stays"] {
        world.s3.upload(key, format!("{key} 2").as_bytes()).await;
    }
    let planned = world.s3.manifest().await;
    world.s3.upload("changes", b"after the plan").await;
    world.s3.upload("new", b"after the plan").await;
    world.s3.delete("goes").await;
    let outcome = world.sync_entries(planned, &|_| ()).await.unwrap();
    assert!(!outcome.complete);
    let mut refused: Vec<_> = outcome.refused.iter().map(|refusal| &*refusal.key).collect();
    refused.sort();
    assert_eq!(refused, ["changes", "goes", "new"]);
    assert_eq!(fs::read_to_string(world.path("stays")).unwrap(), "stays 2");
    for key in ["changes", "goes"] {
        assert_eq!(identity(&world.path(key)), before[key]);
    }
    assert!(!world.path("new").exists());
    world.check_ledger();
    assert_eq!(world.sync().await, (2, 1), "the next build takes it as it is then");
}

/// Syncs these keys from an S3 that does not hand all of them out.
async fn sync_from_a_locked_bucket(keys: &[&str]) -> Result<Outcome> {
    let refuse = |key: &'static str, code: &'static str| {
        mock!(Client::get_object)
            .match_requests(move |request| request.key() == Some(key))
            .then_error(move || GetObjectError::generic(ErrorMetadata::builder().code(code).build()))
    };
    let archived = refuse("a/archived.wav", "InvalidObjectState");
    let forbidden = refuse("a/forbidden.wav", "AccessDenied");
    let open = mock!(Client::get_object)
        .match_requests(|request| request.key().is_some_and(|key| key.contains("open")))
        .then_output(|| GetObjectOutput::builder().body(b"open".to_vec().into()).build());
    let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&archived, &forbidden, &open]);
    let entry = |key: &&str| Entry {
        key: key.to_string(),
        size: 4,
        etag: "\"x\"".to_owned(),
        version: None,
    };
    let (store, root, stop) = (Store::new(client, "state"), scratch(), Stop::default());
    let mirror = Mirror {
        store: &store,
        bucket: SOURCES,
        root: root.path(),
        stop: &stop,
    };
    mirror.run(keys.iter().map(entry).collect(), &|_| ()).await
}

#[tokio::test]
async fn what_s3_does_not_hand_out_is_refused_and_the_rest_is_fetched() {
    let outcome = sync_from_a_locked_bucket(&["a/archived.wav", "a/forbidden.wav", "a/open.wav"]).await;
    let mut outcome = outcome.unwrap();
    assert!(!outcome.complete && outcome.written == 1, "{outcome:?}");
    outcome.refused.sort_by(|one, other| one.key.cmp(&other.key));
    let said: Vec<_> = outcome.refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            r#"a/archived.wav: it is archived: restore it from the archive, then start a build with {"force": true}"#,
            r#"a/forbidden.wav: S3 does not hand it out (access denied): let the workers' role read it, then start a build with {"force": true}"#
        ]
    );
}

#[tokio::test]
async fn a_bucket_that_gives_no_audio_fails_the_sync() {
    let error = sync_from_a_locked_bucket(&["a/archived.wav", "a/open.jpg"]).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("gives none of its audio: a/archived.wav: it is archived"),
        "{error}"
    );
}

#[tokio::test]
async fn a_sync_that_was_cut_short_continues_where_it_stopped() {
    let mut world = World::new().await;
    for number in 0..60 {
        world
            .s3
            .upload(&format!("{number:02}.wav"), &vec![number; 100_000])
            .await;
    }
    let manifest = world.s3.manifest().await;
    let stop = world.stop.clone();
    let halfway = |bytes: Bytes| {
        if bytes.done > bytes.total / 2 {
            stop.request("enough".to_owned());
        }
    };
    let error = world.sync_entries(manifest.clone(), &halfway).await.unwrap_err();
    assert!(error.to_string().contains("enough"), "{error:#}");
    let before = world.identities();
    assert!(
        !before.is_empty() && before.len() < 60,
        "{} files are there",
        before.len()
    );
    assert!(
        before
            .keys()
            .all(|key| fs::metadata(world.path(key)).unwrap().len() == 100_000)
    );

    world.stop = Stop::default();
    let outcome = world.sync_entries(manifest, &|_| ()).await.unwrap();
    assert_eq!(outcome.written, 60 - before.len());
    let after = world.identities();
    assert!(before.iter().all(|(key, identity)| after[key] == *identity));
    world.check_ledger();
}
