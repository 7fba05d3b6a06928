//! The files on the sources volume: what there is, and removing it.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result};

/// The collection's files: size in bytes by key. What could not have come from a key (a name that is not UTF-8, a
/// link, a device) is removed on the way.
pub fn list(collection: &Path) -> Result<BTreeMap<String, u64>> {
    let mut files = BTreeMap::new();
    list_folder(collection, "", &mut files)?;
    Ok(files)
}

fn list_folder(folder: &Path, prefix: &str, files: &mut BTreeMap<String, u64>) -> Result<()> {
    let doing = || format!("listing {}", folder.display());
    for entry in fs::read_dir(folder).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        let about = entry.metadata().with_context(doing)?;
        let key = entry.file_name().to_str().map(|name| format!("{prefix}{name}"));
        match key {
            Some(key) if about.is_dir() => list_folder(&entry.path(), &format!("{key}/"), files)?,
            Some(key) if about.is_file() => {
                files.insert(key, about.len());
            }
            _ if about.is_dir() => fs::remove_dir_all(entry.path()).with_context(doing)?,
            _ => fs::remove_file(entry.path()).with_context(doing)?,
        }
    }
    Ok(())
}

/// Removes a file; one that is gone is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the empty folders below `folder`; says whether it is empty itself then.
pub fn prune(folder: &Path) -> Result<bool> {
    let doing = || format!("removing empty folders in {}", folder.display());
    let mut empty = true;
    for entry in fs::read_dir(folder).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        if entry.file_type().with_context(doing)?.is_dir() && prune(&entry.path())? {
            fs::remove_dir(entry.path()).with_context(doing)?;
        } else {
            empty = false;
        }
    }
    Ok(empty)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_listed_and_what_is_no_file_of_ours_goes() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::write(root.join("a/b/ü \n"), "123").unwrap();
        fs::write(root.join(OsStr::from_bytes(b"a/\xff")), "").unwrap();
        symlink("/etc", root.join("a/link")).unwrap();
        assert_eq!(list(root).unwrap(), BTreeMap::from([("a/b/ü \n".to_owned(), 3)]));
        assert_eq!(fs::read_dir(root.join("a")).unwrap().count(), 1);

        assert!(!prune(root).unwrap());
        assert!(!root.join("empty").exists());
        remove(&root.join("a/b/ü \n")).unwrap();
        remove(&root.join("a/b/ü \n")).unwrap();
        assert!(prune(root).unwrap());
        assert!(root.exists() && !root.join("a").exists());
    }
}
