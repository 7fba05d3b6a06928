//! M3U: a path a line, in UTF-8 where the names are; lines that begin with `#` say more.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The playlist, and the entries that it cannot hold: a line ends where a name has a line break.
pub(super) fn bytes<'a>(title: &str, entries: &'a [PathBuf]) -> (Vec<u8>, Vec<&'a Path>) {
    let mut bytes = format!("#EXTM3U\n#PLAYLIST:{title}\n").into_bytes();
    let mut unspeakable = Vec::new();
    for entry in entries {
        let name = entry.as_os_str().as_bytes();
        if name.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            unspeakable.push(entry.as_path());
            continue;
        }
        // It could be taken for a comment, for an address, or be trimmed.
        let first = name.split(|byte| *byte == b'/').next().unwrap_or(name);
        if name.starts_with(b"#") || first.contains(&b':') || name[0].is_ascii_whitespace() {
            bytes.extend(b"./");
        }
        bytes.extend(name);
        bytes.push(b'\n');
    }
    (bytes, unspeakable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_line_that_no_player_misunderstands() {
        let entries = ["a/é 1.mp3", "#1.mp3", "http:/x.mp3", " x.mp3", "a\nb.mp3", "../b:c.mp3"].map(PathBuf::from);
        let (bytes, unspeakable) = bytes("Road", &entries);
        let lines = "#EXTM3U\n#PLAYLIST:Road\na/é 1.mp3\n./#1.mp3\n./http:/x.mp3\n./ x.mp3\n../b:c.mp3\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), lines);
        assert_eq!(unspeakable, [Path::new("a\nb.mp3")]);
    }
}
