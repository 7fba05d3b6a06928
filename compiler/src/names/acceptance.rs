//! Which objects may become files: keys that are no paths, and names with a meaning of their own, are refused one by one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{LONGEST_NAME, STAMP_SUFFIX};
use crate::layout::UNFINISHED_PREFIX;

/// Beginnings of names with a meaning of their own, and the meaning.
///
/// Held against tup 0.7.11 by `names_with_a_meaning_of_their_own_are_left_out`.
const BEGINNINGS: &[(&str, &str)] = &[
    ("Tupfile", OBEYED),
    ("Tupdefault", OBEYED),
    ("Tuprules", OBEYED),
    (".ccache", "tup does not follow what happens in there"),
    (UNFINISHED_PREFIX, "its output could be taken for an unfinished one"),
];

/// Whole names with a meaning of their own, and the meaning.
const NAMES: &[(&str, &str)] = &[
    ("tup.config", OBEYED),
    (".tup", PASSED_OVER),
    (".git", PASSED_OVER),
    (".svn", PASSED_OVER),
    (".hg", PASSED_OVER),
    (".bzr", PASSED_OVER),
];

const OBEYED: &str = "tup would obey it";
const PASSED_OVER: &str = "tup passes over it";

/// The meaning of its own that a name has for what builds; none for nearly all names.
pub fn special(name: &OsStr) -> Option<&'static str> {
    let name = name.as_bytes();
    let begins = BEGINNINGS.iter().find(|(begin, _)| name.starts_with(begin.as_bytes()));
    let is = || NAMES.iter().find(|(special, _)| name == special.as_bytes());
    match begins.or_else(is) {
        Some((_, meaning)) => Some(meaning),
        None if name.ends_with(STAMP_SUFFIX.as_bytes()) => Some("it could be taken for the stamp of a track"),
        None => None,
    }
}

/// The keys that cannot become files, each with the reason and the remedy. All others can, side by side.
pub fn refusals<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<(&'a str, String)> {
    let mut refusals = Vec::new();
    let mut accepted = Vec::new();
    for key in keys {
        match refusal(key) {
            Some(reason) => refusals.push((key, reason)),
            None => accepted.push(key),
        }
    }
    let folders: HashSet<_> = accepted.iter().flat_map(|key| folders_of(key)).collect();
    for key in accepted.iter().filter(|key| folders.contains(**key)) {
        let reason = format!("there are also objects below `{key}/`, and a file cannot be a folder too; rename one");
        refusals.push((key, reason));
    }
    refusals
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
        } else {
            format!("`{name}` cannot be taken: {}", special(OsStr::new(name))?)
        };
        Some(format!("{problem}; rename the object"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<'a>(keys: &[&'a str]) -> Vec<&'a str> {
        let refusals = refusals(keys.iter().copied());
        refusals.into_iter().map(|(key, _)| key).collect()
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
            "x.stamp",
            &long,
        ];
        assert_eq!(refused(&keys), [""; 0]);
    }

    #[test]
    fn keys_that_are_no_paths_are_refused() {
        let long = "ü".repeat(128);
        let keys = ["../x", "a/../b", "a/./b", "/a", "a//b", "a/", ".", "a\0b", &long];
        assert_eq!(refused(&keys), keys);
    }

    #[test]
    fn names_with_a_meaning_are_refused_at_any_depth() {
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
            "a/.ccache/01.wav",
            "a/01.wav.vibes-stamp",
        ];
        assert_eq!(refused(&keys), keys);
        let (_, reason) = &refusals(["a/Tupfile"].into_iter())[0];
        assert_eq!(
            reason,
            "`Tupfile` cannot be taken: tup would obey it; rename the object"
        );
    }

    #[test]
    fn an_object_that_is_also_a_folder_gives_way_to_the_folder() {
        assert_eq!(refused(&["a", "a/b", "a/b/c", "a/bb"]), ["a", "a/b"]);
    }

    #[test]
    fn a_refused_object_takes_no_other_with_it() {
        assert_eq!(refused(&["a", "a/Tupfile"]), ["a/Tupfile"]);
    }
}
