//! Which objects may become files: the rules are the compiler's.

use std::collections::HashSet;

use compiler::names;
use contract::manifest::Entry;
use contract::report::Refusal;

/// The entries that may become files, and a refusal for each of the others.
///
/// An empty object whose key ends in `/` is neither: it is how consoles mark an empty folder, and holds nothing.
pub fn accept(mut entries: Vec<Entry>) -> (Vec<Entry>, Vec<Refusal>) {
    entries.retain(|entry| !(entry.size == 0 && entry.key.ends_with('/')));
    let refused: Vec<Refusal> = names::refusals(entries.iter().map(|entry| entry.key.as_str()))
        .into_iter()
        .map(|(key, reason)| Refusal {
            key: key.to_owned(),
            reason,
        })
        .collect();
    let keys: HashSet<&str> = refused.iter().map(|refusal| refusal.key.as_str()).collect();
    entries.retain(|entry| !keys.contains(entry.key.as_str()));
    (entries, refused)
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

    #[test]
    fn what_may_become_a_file_is_accepted_and_the_rest_refused() {
        let (accepted, refused) = accept(vec![entry("a/Tupfile", 1), entry("a/b", 1), entry("a/../b", 1)]);
        assert_eq!(accepted, [entry("a/b", 1)]);
        let keys: Vec<_> = refused.iter().map(|refusal| refusal.key.as_str()).collect();
        assert_eq!(keys, ["a/Tupfile", "a/../b"]);
    }

    #[test]
    fn a_folder_marker_is_not_worth_a_word() {
        let (accepted, refused) = accept(vec![entry("a/", 0), entry("a/b", 1)]);
        assert_eq!(accepted, [entry("a/b", 1)]);
        assert_eq!(refused, []);
    }
}
