//! Profiles as files: `NAME.config`, each of which becomes a stack.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contract::profile::Profile;

/// What a standard parameter holds, in bytes; an empty text it does not hold either.
const MOST_BYTES: usize = 4096;

/// The profiles of a directory: name to text.
pub(crate) fn read(dir: &Path) -> Result<BTreeMap<String, String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading the profiles' directory {}", dir.display()))?;
    let mut profiles = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "config") {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        // More than any folder's: it is part of a stack's name.
        ensure!(
            name.len() <= 63 && !name.contains('.'),
            "{}: a profile's name has at most 63 characters here, and no dot; rename the file",
            path.display()
        );
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let text = text.trim_end();
        ensure!(
            text.len() <= MOST_BYTES,
            "{}: a profile has at most {MOST_BYTES} bytes here; shorten it",
            path.display()
        );
        Profile::parse(name, text).with_context(|| format!("reading {}", path.display()))?;
        profiles.insert(name.to_owned(), text.to_owned());
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_file_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("home.config"), "CONFIG_ENCODER=flac\n").unwrap();
        fs::write(dir.path().join("README"), "not a profile").unwrap();
        let profiles = read(dir.path()).unwrap();
        assert_eq!(
            profiles,
            BTreeMap::from([("home".to_owned(), "CONFIG_ENCODER=flac".to_owned())])
        );
    }

    #[test]
    fn what_is_no_profile_is_refused_with_what_is_allowed() {
        for (name, text, expected) in [
            ("my car", "CONFIG_ENCODER=lame\n", "A-Z a-z 0-9"),
            ("my.car", "CONFIG_ENCODER=lame\n", "no dot"),
            (
                "car",
                "CONFIG_ENCODER=winamp\n",
                "line 1: unknown encoder \"winamp\"; known are",
            ),
            ("car", "\n", "names no encoder"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(format!("{name}.config")), text).unwrap();
            let error = format!("{:#}", read(dir.path()).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
