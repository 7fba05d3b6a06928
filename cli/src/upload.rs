//! Makes the sources bucket a mirror of a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use md5::{Digest, Md5};

use crate::cloud::Cloud;
use crate::units;

/// Requests under way at a time: enough to hide the distance, few enough for a home line.
const IN_FLIGHT: usize = 16;

/// What one PutObject takes. Objects stay in one part so that their ETag is the MD5 of their content.
const LARGEST: u64 = 5 << 30;

/// What an upload did.
#[derive(Debug, Default)]
pub(crate) struct Uploaded {
    /// Objects written.
    pub(crate) put: usize,
    /// Objects deleted.
    pub(crate) deleted: usize,
}

impl Uploaded {
    /// The bucket is another one than before.
    pub(crate) fn changed(&self) -> bool {
        self.put + self.deleted > 0
    }
}

/// An object as the listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Size in bytes.
    pub(crate) size: u64,
    /// ETag with its quotes.
    pub(crate) etag: String,
}

/// All objects of a bucket, by key.
pub(crate) async fn list(cloud: &Cloud, bucket: &str) -> Result<BTreeMap<String, Listed>> {
    let mut pages = cloud.s3.list_objects_v2().bucket(bucket).into_paginator().send();
    let mut objects = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("listing the bucket {bucket}"))?;
        for object in page.contents.unwrap_or_default() {
            let size = u64::try_from(object.size.unwrap_or_default())?;
            let listed = Listed {
                size,
                etag: object.e_tag.unwrap_or_default(),
            };
            objects.insert(object.key.context("an object without a key")?, listed);
        }
    }
    Ok(objects)
}

/// Brings up what differs in size or content, deletes what is gone, leaves the rest alone.
pub(crate) async fn upload(cloud: &Cloud, bucket: &str, sources: &Path) -> Result<Uploaded> {
    let local = files(sources)?;
    ensure!(
        !local.is_empty(),
        "{} holds no file, so everything in the bucket would be deleted: if that is meant, aws s3 rm --recursive s3://{bucket}",
        sources.display()
    );
    let there = list(cloud, bucket).await?;
    let progress = ProgressBar::new(local.values().map(|file| file.size).sum());
    progress.set_style(ProgressStyle::with_template(
        "upload {bar:30} {bytes}/{total_bytes} {eta}",
    )?);

    let put = stream::iter(&local)
        .map(|(key, file)| {
            let (there, progress) = (there.get(key), &progress);
            async move {
                let put = differs(file.clone(), there.cloned()).await?;
                if put {
                    put_file(cloud, bucket, key, file).await?;
                }
                progress.inc(file.size);
                anyhow::Ok(usize::from(put))
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_fold(0, async |sum, put| Ok(sum + put))
        .await?;
    progress.finish_and_clear();

    let gone: Vec<_> = there.keys().filter(|key| !local.contains_key(*key)).collect();
    for keys in gone.chunks(1000) {
        delete(cloud, bucket, keys).await?;
    }
    let bytes = units::bytes(local.values().map(|file| file.size).sum());
    println!(
        "upload: {} ({bytes}), {put} changed, {} gone",
        units::count(local.len(), "file"),
        gone.len()
    );
    Ok(Uploaded {
        put,
        deleted: gone.len(),
    })
}

async fn put_file(cloud: &Cloud, bucket: &str, key: &str, file: &Local) -> Result<()> {
    ensure!(
        file.size <= LARGEST,
        "{} is larger than 5 GiB, which is more than an object here may be",
        file.path.display()
    );
    let body = ByteStream::from_path(&file.path)
        .await
        .with_context(|| format!("reading {}", file.path.display()))?;
    let put = cloud.s3.put_object().bucket(bucket).key(key).body(body);
    put.send()
        .await
        .with_context(|| format!("uploading {}", file.path.display()))
        .map(drop)
}

async fn delete(cloud: &Cloud, bucket: &str, keys: &[&String]) -> Result<()> {
    let objects = keys
        .iter()
        .map(|key| ObjectIdentifier::builder().key(*key).build())
        .collect::<Result<_, _>>()?;
    let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build()?;
    let answer = cloud.s3.delete_objects().bucket(bucket).delete(delete).send().await;
    let errors = answer
        .with_context(|| format!("deleting objects of {bucket}"))?
        .errors
        .unwrap_or_default();
    if let Some(error) = errors.first() {
        bail!(
            "{} could not be deleted: {}",
            error.key().unwrap_or_default(),
            error.message().unwrap_or_default()
        );
    }
    Ok(())
}

/// The file is not what the bucket has: another size or, being of the same, another content.
async fn differs(file: Local, there: Option<Listed>) -> Result<bool> {
    let Some(there) = there else { return Ok(true) };
    if there.size != file.size {
        return Ok(true);
    }
    let hash = tokio::task::spawn_blocking(move || {
        md5_of(&file.path).with_context(|| format!("reading {}", file.path.display()))
    });
    Ok(there.etag.trim_matches('"') != hash.await??)
}

/// MD5 of a file's content, in hex: the ETag of an object of one part.
fn md5_of(path: &Path) -> io::Result<String> {
    let mut hash = Md5::new();
    let mut content = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&piece[..length]),
        }
    }
}

/// A file to be uploaded.
#[derive(Debug, Clone)]
struct Local {
    path: PathBuf,
    size: u64,
}

/// Every file below a directory, by its path relative to it. Links are followed.
fn files(root: &Path) -> Result<BTreeMap<String, Local>> {
    let mut found = BTreeMap::new();
    let about = fs::metadata(root).with_context(|| format!("reading {}", root.display()))?;
    ensure!(about.is_dir(), "{} is not a directory", root.display());
    collect(root, root, &[identity(&about)], &mut found)?;
    Ok(found)
}

/// Adds the files of a folder; `above` are the folders that lead to it, itself included.
fn collect(root: &Path, folder: &Path, above: &[(u64, u64)], found: &mut BTreeMap<String, Local>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let about = fs::metadata(&path).with_context(|| match path.is_symlink() {
            true => format!("{} is a link that leads nowhere: remove it, or mend it", path.display()),
            false => format!("reading {}", path.display()),
        })?;
        if about.is_dir() {
            let identity = identity(&about);
            ensure!(
                !above.contains(&identity),
                "{} is a link that leads in a circle",
                path.display()
            );
            collect(root, &path, &[above, &[identity]].concat(), found)?;
            continue;
        }
        ensure!(about.is_file(), "{} is neither a file nor a folder", path.display());
        let key = path.strip_prefix(root)?.to_str();
        let key = key
            .with_context(|| format!("{}: its name is not UTF-8, rename it", path.display()))?
            .to_owned();
        found.insert(
            key,
            Local {
                size: about.len(),
                path,
            },
        );
    }
    Ok(())
}

/// What makes a folder the same under another name: device and inode.
fn identity(about: &fs::Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_differs_goes_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a \"b\"")).unwrap();
        fs::write(dir.path().join("a \"b\"/1%.wav"), "hello").unwrap();
        let local = files(dir.path()).unwrap();
        let file = local["a \"b\"/1%.wav"].clone();
        let there = |size, etag: &str| {
            Some(Listed {
                size,
                etag: etag.to_owned(),
            })
        };
        let hello = "\"5d41402abc4b2a76b9719d911017c592\"";
        assert!(!differs(file.clone(), there(5, hello)).await.unwrap());
        assert!(differs(file.clone(), there(6, hello)).await.unwrap());
        assert!(
            differs(file.clone(), there(5, "\"0d41402abc4b2a76b9719d911017c592\""))
                .await
                .unwrap()
        );
        assert!(differs(file, None).await.unwrap());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("gone.wav")).unwrap();
        let error = format!("{:#}", files(dir.path()).unwrap_err());
        assert!(
            error.contains("gone.wav is a link that leads nowhere: remove it, or mend it"),
            "{error}"
        );
    }

    #[test]
    fn a_link_in_a_circle_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        assert!(format!("{:#}", files(dir.path()).unwrap_err()).contains("circle"));
    }
}
