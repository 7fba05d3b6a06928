//! The fingerprint: one hash over everything that can change a release.

use std::collections::BTreeMap;

use anyhow::Result;
use contract::image::Image;
use contract::manifest::Entry;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Everything that can change a release.
#[derive(Debug, Serialize)]
pub(crate) struct Ingredients<'a> {
    /// Sorted by key.
    pub(crate) sources: &'a [Entry],
    /// Name -> text.
    pub(crate) profiles: &'a BTreeMap<String, String>,
    pub(crate) image: &'a Image,
    pub(crate) shards: u32,
}

/// The hash of the ingredients, 64 hex digits.
pub(crate) fn of(ingredients: &Ingredients<'_>) -> Result<String> {
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(ingredients)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            key: "a/01.wave".to_owned(),
            size: 1234,
            etag: "\"e\"".to_owned(),
            version: None,
        }
    }

    fn fingerprint(change: impl Fn(&mut Vec<Entry>, &mut BTreeMap<String, String>, &mut Image, &mut u32)) -> String {
        let mut sources = vec![entry()];
        let mut profiles = BTreeMap::from([("home".to_owned(), "CONFIG_ENCODER=flac".to_owned())]);
        let encoders = BTreeMap::from([("flac".to_owned(), "1.4.2".to_owned())]);
        let mut image = Image {
            compiler: "1".to_owned(),
            encoders,
            architecture: "x86_64".to_owned(),
        };
        let mut shards = 1;
        change(&mut sources, &mut profiles, &mut image, &mut shards);
        of(&Ingredients {
            sources: &sources,
            profiles: &profiles,
            image: &image,
            shards,
        })
        .unwrap()
    }

    #[test]
    fn the_same_ingredients_have_the_same_fingerprint() {
        assert_eq!(fingerprint(|_, _, _, _| ()), fingerprint(|_, _, _, _| ()));
        assert_eq!(fingerprint(|_, _, _, _| ()).len(), 64);
    }

    #[test]
    fn every_ingredient_changes_the_fingerprint() {
        let changed = [
            fingerprint(|_, _, _, _| ()),
            fingerprint(|sources, _, _, _| sources[0].etag = "\"f\"".to_owned()),
            fingerprint(|sources, _, _, _| sources[0].size = 1),
            fingerprint(|sources, _, _, _| sources[0].key = "b".to_owned()),
            fingerprint(|sources, _, _, _| sources.push(entry())),
            fingerprint(|_, profiles, _, _| drop(profiles.insert("car".to_owned(), String::new()))),
            fingerprint(|_, profiles, _, _| drop(profiles.insert("home".to_owned(), String::new()))),
            fingerprint(|_, _, image, _| image.compiler = "2".to_owned()),
            fingerprint(|_, _, image, _| drop(image.encoders.insert("flac".to_owned(), "1.5".to_owned()))),
            fingerprint(|_, _, image, _| image.architecture = "arm64".to_owned()),
            fingerprint(|_, _, _, shards| *shards = 2),
        ];
        let different: std::collections::HashSet<_> = changed.iter().collect();
        assert_eq!(different.len(), changed.len());
    }
}
