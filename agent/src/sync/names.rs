//! Which objects may become files: keys that are no paths, and names that tup would obey, are refused one by one.

use std::collections::HashSet;

use contract::manifest::Entry;
use contract::report::Refusal;

/// Longest file name in bytes that ext4 holds.
const LONGEST_NAME: usize = 255;
/// Beginnings of names that tup obeys wherever they lie: an uploaded `Tupfile` would have its commands run.
const OBEYED_BY_TUP: &[&str] = &["Tupfile", "Tupdefault", "Tuprules"];
/// Names that tup obeys or passes over silently.
const SPECIAL_TO_TUP: &[&str] = &["tup.config", ".tup", ".git", ".svn", ".hg", ".bzr"];

/// The entries that may become files, and a refusal for each of the others.
///
/// An empty object whose key ends in `/` is neither: it is how consoles mark an empty folder, and holds nothing.
pub fn accept(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Refusal>) {
    let entries: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| !(entry.size == 0 && entry.key.ends_with('/')))
        .collect();
    let mut refused = Vec::new();
    let mut accepted = Vec::new();
    for entry in entries {
        match refusal(&entry.key) {
            Some(reason) => refused.push(Refusal { key: entry.key, reason }),
            None => accepted.push(entry),
        }
    }
    let folders: HashSet<String> = accepted
        .iter()
        .flat_map(|entry| folders_of(&entry.key))
        .map(str::to_owned)
        .collect();
    let (both, accepted): (Vec<_>, Vec<_>) = accepted.into_iter().partition(|entry| folders.contains(&entry.key));
    refused.extend(both.into_iter().map(|entry| Refusal {
        reason: format!(
            "there are also objects below `{}/`, and a file cannot be a folder too; rename one",
            entry.key
        ),
        key: entry.key,
    }));
    (accepted, refused)
}

/// `a/b/c` lies in `a` and `a/b`.
fn folders_of(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| &key[..at])
}

/// Why this key cannot be a file, and what to do.
fn refusal(key: &str) -> Option<String> {
    key.split('/').find_map(|name| {
        let problem = if name.is_empty() {
            "a part of the name is empty".to_owned()
        } else if name == "." || name == ".." {
            format!("`{name}` is no name")
        } else if name.len() > LONGEST_NAME {
            format!(
                "a part of the name has {} bytes, and a file name may have {LONGEST_NAME}",
                name.len()
            )
        } else if name.contains('\0') {
            "the name holds a zero byte".to_owned()
        } else if OBEYED_BY_TUP.iter().any(|begin| name.starts_with(begin)) || SPECIAL_TO_TUP.contains(&name) {
            format!("`{name}` has a meaning of its own for the build system")
        } else {
            return None;
        };
        Some(format!("{problem}; rename the object"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, size: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            size,
            etag: "\"x\"".to_owned(),
            version: None,
        }
    }

    fn accept_keys(keys: &[&str]) -> (Vec<String>, Vec<String>) {
        let (accepted, refused) = accept(keys.iter().map(|key| entry(key, 1)).collect());
        let accepted = accepted.into_iter().map(|entry| entry.key).collect();
        (accepted, refused.into_iter().map(|refusal| refusal.key).collect())
    }

    #[test]
    fn names_that_a_file_can_have_are_accepted() {
        let long = "ü".repeat(127);
        let keys = [
            "01.wave",
            "a/b c/01 - x<3 & \"q\" 100%.wav",
            "-lead/.hidden",
            "a/trailing ",
            "曲/🎵.flac",
            "a/new\nline",
            "...",
            "My Tupfile",
            "tup.configs",
            ".github/x",
            "a/.gitignore",
            &long,
        ];
        let (accepted, refused) = accept_keys(&keys);
        assert_eq!(accepted, keys);
        assert_eq!(refused, [""; 0]);
    }

    #[test]
    fn keys_that_are_no_paths_are_refused() {
        let long = "ü".repeat(128);
        let keys = ["../x", "a/../b", "a/./b", "/a", "a//b", "a/", ".", "a\0b", &long];
        let (accepted, refused) = accept_keys(&keys);
        assert_eq!(accepted, [""; 0]);
        assert_eq!(refused, keys);
    }

    #[test]
    fn names_that_tup_obeys_are_refused_at_any_depth() {
        let keys = [
            "Tupfile",
            "a/Tupfile.lua",
            "a/Tupfile.ini",
            "Tuprules.tup",
            "Tupdefault",
            "tup.config",
            ".tup/db",
            "a/.git/x",
            "a/.svn",
            "a/.hg/x",
            ".bzr",
        ];
        let (accepted, refused) = accept_keys(&keys);
        assert_eq!(accepted, [""; 0]);
        assert_eq!(refused, keys);
    }

    #[test]
    fn an_object_that_is_also_a_folder_gives_way_to_the_folder() {
        let (accepted, refused) = accept_keys(&["a", "a/b", "a/b/c", "a/bb"]);
        assert_eq!(accepted, ["a/b/c", "a/bb"]);
        assert_eq!(refused, ["a", "a/b"]);
    }

    #[test]
    fn a_refused_object_takes_no_other_with_it() {
        let (accepted, refused) = accept_keys(&["a", "a/Tupfile"]);
        assert_eq!(accepted, ["a"]);
        assert_eq!(refused, ["a/Tupfile"]);
    }

    #[test]
    fn a_folder_marker_is_not_worth_a_word() {
        let (accepted, refused) = accept(vec![entry("a/", 0), entry("a/b", 1)]);
        assert_eq!(accepted, [entry("a/b", 1)]);
        assert_eq!(refused, []);
    }
}
