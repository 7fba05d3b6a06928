//! Tags as Vorbis comments have them: names without case, each with one value or more.

use std::collections::BTreeMap;

/// The tags of a track. Sorted by name, so that the order of lines in a sidecar changes no command and no byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags(BTreeMap<String, Vec<String>>);

impl Tags {
    /// Adds a value to a name. An empty value counts as said, but nothing is written for it.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        let values = self.0.entry(name.to_ascii_uppercase()).or_default();
        let value = value.into();
        if !value.is_empty() {
            values.push(value);
        }
    }

    /// Takes a name away, with its values.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Takes over the other's names that are not here.
    pub(crate) fn fill_from(&mut self, farther: &Tags) {
        for (name, values) in &farther.0 {
            self.0.entry(name.clone()).or_insert_with(|| values.clone());
        }
    }

    /// Names with their values, sorted by name; a name may have no value left.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The values of a name.
    pub(crate) fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The name is one that a Vorbis comment may have: printable ASCII without `=`.
///
/// Source: <https://xiph.org/vorbis/doc/v-comment.html>.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (0x20..=0x7D).contains(&byte) && byte != b'=')
}

#[cfg(test)]
pub(crate) fn tags(pairs: &[(&str, &str)]) -> Tags {
    let mut tags = Tags::default();
    for (name, value) in pairs {
        tags.add(name, *value);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_wins_name_by_name() {
        let mut near = tags(&[("title", "near")]);
        near.fill_from(&tags(&[("TITLE", "far"), ("ALBUM", "a"), ("ALBUM", "b")]));
        assert_eq!(near.get("TITLE"), ["near"]);
        assert_eq!(near.get("ALBUM"), ["a", "b"]);
    }

    #[test]
    fn an_empty_value_hides_what_is_farther() {
        let mut near = tags(&[("DATE", "")]);
        near.fill_from(&tags(&[("DATE", "1969")]));
        assert_eq!(near.get("DATE"), [""; 0]);
    }
}
