//! Functions, state machines and nested templates on their way into the code bucket, under a version made from their content.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

use crate::cloud::Cloud;

/// Everything that is put into the code bucket: key below `KIND/VERSION/` -> bytes.
pub(crate) struct Code {
    /// Changes with the content.
    pub(crate) version: String,
    functions: BTreeMap<String, Vec<u8>>,
    state_machines: BTreeMap<String, Vec<u8>>,
    templates: BTreeMap<String, Vec<u8>>,
    /// In a twin: where the functions' programs lie, and under which names.
    programs: Option<(PathBuf, Vec<String>)>,
}

impl Code {
    /// Zips that `make package` made.
    pub(crate) fn packaged(project: &Path, zips: &Path) -> Result<Self> {
        let mut functions = BTreeMap::new();
        for name in functions_of(project)? {
            let path = zips.join(&name).join("bootstrap.zip");
            functions.insert(format!("{name}.zip"), read(&path).context("build it: make package")?);
        }
        Self::new(project, functions, None)
    }

    /// For a twin: zips that hold nothing but the way to the program, which is kept under the time of its making in `keep`.
    ///
    /// So a deploy neither copies nor reads eleven programs of 60 MB, and a program that is built anew does not change
    /// under a deployed function.
    pub(crate) fn in_place(project: &Path, programs: &Path, keep: &Path) -> Result<Self> {
        fs::create_dir_all(keep).with_context(|| format!("creating {}", keep.display()))?;
        let keep = keep.canonicalize()?;
        let mut functions = BTreeMap::new();
        let mut kept = Vec::new();
        for name in functions_of(project)? {
            let program = programs.join(&name);
            let made = fs::metadata(&program)
                .with_context(|| format!("{} is not there; build it: cargo build --workspace", program.display()))?;
            let as_name = format!("{name}-{}-{}", made.mtime(), made.mtime_nsec());
            let path = keep.join(&as_name);
            if !path.exists() {
                // A linker writes a new file, so that the link keeps what it names now.
                fs::hard_link(&program, &path)
                    .or_else(|_| fs::copy(&program, &path).map(drop))
                    .with_context(|| format!("keeping {} as {}", program.display(), path.display()))?;
            }
            functions.insert(format!("{name}.zip"), zip_of_bootstrap(&path)?);
            kept.push(as_name);
        }
        Self::new(project, functions, Some((keep, kept)))
    }

    fn new(
        project: &Path,
        functions: BTreeMap<String, Vec<u8>>,
        programs: Option<(PathBuf, Vec<String>)>,
    ) -> Result<Self> {
        let state_machines = texts(&project.join("statemachines"), ".asl.json")?;
        let templates = texts(&project.join("cfn"), ".yaml")?;
        let mut hash = Sha256::new();
        for (name, bytes) in functions.iter().chain(&state_machines).chain(&templates) {
            hash.update(name);
            hash.update(Sha256::digest(bytes));
        }
        let version = hex::encode(hash.finalize())[..16].to_owned();
        Ok(Self {
            version,
            functions,
            state_machines,
            templates,
            programs,
        })
    }

    fn objects(&self) -> impl Iterator<Item = (String, &Vec<u8>)> {
        let kinds = [
            ("functions", &self.functions),
            ("statemachines", &self.state_machines),
            ("templates", &self.templates),
        ];
        kinds.into_iter().flat_map(move |(kind, files)| {
            files
                .iter()
                .map(move |(name, bytes)| (format!("{kind}/{}/{name}", self.version), bytes))
        })
    }

    /// Puts what is not there yet.
    pub(crate) async fn put(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        self.put_below(cloud, bucket, "").await
    }

    /// The same for the templates alone.
    pub(crate) async fn put_templates(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        self.put_below(cloud, bucket, "templates/").await
    }

    async fn put_below(&self, cloud: &Cloud, bucket: &str, prefix: &str) -> Result<()> {
        let there = keys(cloud, bucket).await?;
        let wanted = self.objects().filter(|(key, _)| key.starts_with(prefix));
        let missing = wanted.filter(|(key, _)| !there.contains(key));
        stream::iter(missing)
            .map(|(key, bytes)| async move {
                let put = cloud
                    .s3
                    .put_object()
                    .bucket(bucket)
                    .key(&key)
                    .body(bytes.clone().into());
                put.send()
                    .await
                    .with_context(|| format!("writing s3://{bucket}/{key}"))
                    .map(drop)
            })
            .buffer_unordered(8)
            .try_collect()
            .await
    }

    /// Removes every other version. Call it when this one is deployed: CloudFormation needs the last good version to go
    /// back to, and that is this one now.
    pub(crate) async fn remove_others(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        let ours: Vec<String> = self.objects().map(|(key, _)| key).collect();
        let code = |key: &String| {
            ["functions/", "statemachines/", "templates/"]
                .iter()
                .any(|kind| key.starts_with(kind))
        };
        let others: Vec<String> = keys(cloud, bucket).await?.into_iter().filter(code).collect();
        let others: Vec<_> = others.into_iter().filter(|key| !ours.contains(key)).collect();
        for keys in others.chunks(1000) {
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
            let delete = Delete::builder()
                .set_objects(Some(objects.collect::<Result<_, _>>()?))
                .quiet(true)
                .build()?;
            cloud
                .s3
                .delete_objects()
                .bucket(bucket)
                .delete(delete)
                .send()
                .await
                .context("deleting older code")?;
        }
        let Some((keep, names)) = &self.programs else {
            return Ok(());
        };
        for path in files(keep, "")? {
            if !names
                .iter()
                .any(|name| path.file_name().is_some_and(|file| file == name.as_str()))
            {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

async fn keys(cloud: &Cloud, bucket: &str) -> Result<Vec<String>> {
    let mut pages = cloud.s3.list_objects_v2().bucket(bucket).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("listing the bucket {bucket}"))?;
        keys.extend(
            page.contents
                .unwrap_or_default()
                .into_iter()
                .filter_map(|object| object.key),
        );
    }
    Ok(keys)
}

/// The functions there are: one program each.
fn functions_of(project: &Path) -> Result<Vec<String>> {
    let programs = files(&project.join("functions/src/bin"), ".rs")?;
    let names: Vec<_> = programs
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    ensure!(
        !names.is_empty(),
        "{} is not the root of the project: it has no functions",
        project.display()
    );
    Ok(names)
}

/// File name -> content of the files of a directory whose names end so.
fn texts(dir: &Path, end: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let named = files(dir, end)?.into_iter().map(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is not UTF-8", path.display()))?;
        Ok((name.to_owned(), read(&path)?))
    });
    named.collect()
}

/// The files of a directory whose names end so, sorted.
fn files(dir: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading the directory {}", dir.display()))?;
    let paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let mut paths: Vec<_> = paths
        .into_iter()
        .filter(|path| path.as_os_str().as_bytes().ends_with(end.as_bytes()))
        .collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// A function's zip whose `bootstrap` only runs another program.
fn zip_of_bootstrap(program: &Path) -> Result<Vec<u8>> {
    let program = program
        .to_str()
        .with_context(|| format!("{} is not UTF-8", program.display()))?;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .unix_permissions(0o755);
    zip.start_file("bootstrap", options)?;
    write!(zip, "#!/bin/sh\nexec '{}'\n", program.replace('\'', r"'\''"))?;
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_gives_the_same_zip() {
        let program = Path::new("/some/where/it's");
        assert_eq!(zip_of_bootstrap(program).unwrap(), zip_of_bootstrap(program).unwrap());
    }
}
