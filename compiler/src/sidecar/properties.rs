//! Whatever stands in a sidecar, its reader ends soon and without a panic. `PROPTEST_CASES` says how many are tried.

use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{mustup_manifest, mustup_metadata, options, tags_vc, yaml};

/// A hundred times what any case needs, because other tests run beside it.
const SOON: Duration = Duration::from_secs(3);

/// Pieces of which sidecars are made, and of which their readers think most.
const PIECES: &[&str] = &[
    "tags:",
    "common:",
    "Vorbis:",
    "pictures:",
    "APIC:",
    "3:",
    "path:",
    "metadata:",
    "transformations:",
    "trim:",
    "start:",
    "seconds:",
    "title",
    "ARTIST",
    "=",
    "apic=",
    "playlists=",
    "encode-",
    "road:3",
    ",",
    ";",
    "a",
    "é",
    "曲",
    "\u{feff}",
    "\0",
    "\u{85}",
    "- ",
    "-",
    "? ",
    "?",
    ": ",
    ":",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a ",
    "&a",
    "*a",
    "!!int ",
    "!",
    "!<x>",
    "!e!f ",
    "|",
    ">",
    "|2-\n",
    ">+\n",
    "'",
    "\"",
    "\\",
    "\\x4",
    "\\u00e9",
    "#",
    " #",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "%",
    "---",
    "---\n",
    "...",
    "\n...\n",
    "<<: ",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    " ",
    "  ",
    "    ",
    "\t",
    "@",
    "`",
    "1.10",
    "~",
];

const EXAMPLES: &[&str] = &[
    "tags:\n  common: {title: Clogger, artist: [A, B]}\n  Vorbis:\n    ISRC: [A, B]\n    DATE: 1969\npictures:\n  APIC:\n    3: {path: \
     cover.jpeg, description: 'it''s'}\n",
    "01-a.wave: &a\n  metadata:\n    tags: {common: {title: \"A \\u00e9\"}}\n  transformations:\n    trim: {start: {minutes: 0, seconds: 20}, \
     duration: {seconds: 6, second_fractions: 5}}\n02-b.wave: *a\n? 03\n: |\n  text\n",
    "title: Night\ntracks:\n- a/b\n- \"c\"\n",
    "ARTIST=Björk\nARTIST=久石 譲\n# note\nDATE=\n",
    "encode-\napic=3:jpeg:..;4:png\nplaylists=road:3,night:1\nother=5\n",
];

/// Every reader takes it, says yes or no, and ends soon.
fn is_read(text: &str) {
    let began = Instant::now();
    let folder = Path::new("a/b");
    let refused = [
        yaml::read(text).err(),
        mustup_metadata::parse(text, folder).err(),
        mustup_manifest::parse(text, folder).err(),
        crate::playlist::parse(text, "name").err(),
        tags_vc::parse(text).err(),
        options::parse(text, folder).err(),
        options::memberships(text).err(),
    ];
    for refused in refused.into_iter().flatten() {
        assert!(
            refused.reason.starts_with("line ") && !refused.remedy.is_empty(),
            "{refused}"
        );
    }
    assert!(began.elapsed() < SOON, "{:?} for {} bytes", began.elapsed(), text.len());
}

/// An example with some of its characters replaced by pieces.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0..20_usize, select(PIECES), 1..4_usize);
    (select(EXAMPLES), vec(change, 0..8)).prop_map(|(example, changes)| {
        let mut text: Vec<char> = example.chars().collect();
        for (at, length, piece, times) in changes {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.repeat(times).chars());
        }
        text.into_iter().collect()
    })
}

fn holds<T: Debug>(strategy: impl Strategy<Value = T>, text: impl Fn(&T) -> String) {
    proptest!(|(value in strategy)| is_read(&text(&value)));
}

#[test]
fn any_bytes_are_read() {
    holds(vec(any::<u8>(), 0..2000), |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    });
}

#[test]
fn any_pieces_are_read() {
    holds(vec(select(PIECES), 0..200), |pieces| pieces.concat());
}

#[test]
fn changed_examples_are_read() {
    holds(mutated(), String::clone);
}

/// Whatever takes a time that grows with the square of the length would show.
#[test]
fn the_same_again_and_again_is_read() {
    let length: usize = 32 << 10;
    let pieces = vec(select(PIECES), 1..6);
    proptest!(|(pieces in pieces, begin in select(EXAMPLES))| {
        let pattern = pieces.concat();
        let text = begin.to_owned() + &pattern.repeat(length / pattern.len());
        let began = Instant::now();
        let _ = yaml::read(&text);
        let _ = yaml::read(&pattern.repeat(length / pattern.len()));
        prop_assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    });
}
