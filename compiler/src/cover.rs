//! The cover that lies beside the music: `cover`, `folder`, `front` or `cover-front`, as `.jpg`, `.jpeg` or `.png`, in any case.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// The names, best first.
const NAMES: &[&str] = &["cover", "folder", "front", "cover-front"];
/// The extensions, best first.
const EXTENSIONS: &[&str] = &["jpg", "jpeg", "png"];

/// The best cover among the names of a folder.
pub(crate) fn find(names: &BTreeSet<OsString>) -> Option<&OsString> {
    names
        .iter()
        .filter_map(|name| {
            let lower = name.to_str()?.to_ascii_lowercase();
            let (base, extension) = lower.rsplit_once('.')?;
            let base = NAMES.iter().position(|known| *known == base)?;
            let extension = EXTENSIONS.iter().position(|known| *known == extension)?;
            Some(((base, extension), name))
        })
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Option<String> {
        let names = names.iter().map(OsString::from).collect();
        find(&names).map(|name| name.to_string_lossy().into_owned())
    }

    #[test]
    fn any_case_is_found_and_the_best_name_wins() {
        assert_eq!(found(&["a.png", "Folder.JPG", "01.wav"]).as_deref(), Some("Folder.JPG"));
        assert_eq!(
            found(&["front.jpg", "COVER.png", "cover-front.jpg"]).as_deref(),
            Some("COVER.png")
        );
        assert_eq!(found(&["cover.png", "cover.jpeg"]).as_deref(), Some("cover.jpeg"));
        assert_eq!(found(&["cover.gif", "cover", "mycover.jpg"]), None);
    }
}
