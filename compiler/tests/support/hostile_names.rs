//! Names as no owner would give them, for tests that try many.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Parts of names that mean something to tup, a shell, a file system or us.
pub(crate) const PARTS: &[&str] = &[
    " ",
    ".",
    "..",
    "-",
    "a",
    "A",
    "x",
    "1",
    "=",
    "=3D",
    "%",
    "%f",
    "%%",
    "$",
    "$(x)",
    "${y}",
    "@",
    "@(z)",
    "&(w)",
    "|",
    "|>",
    "<",
    ">",
    "^",
    "!",
    "#",
    "{",
    "}",
    "[",
    "]",
    "*",
    "?",
    "\"",
    "'",
    "`",
    "\\",
    ":",
    ";",
    ",",
    "\n",
    "\r",
    "\t",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{feff}",
    "\u{ffff}",
    "CON",
    "con",
    "Com1",
    "LPT\u{b9}",
    "NUL ",
    "e\u{301}",
    "\u{e9}",
    "\u{c9}",
    "\u{df}",
    "ss",
    "\u{130}",
    "\u{131}",
    "\u{3c2}",
    "\u{3a3}",
    "\u{345}",
    "\u{212a}",
    "\u{ff0e}",
    "\u{2420}",
    "\u{ff1f}",
    " ~ca978112",
    "\u{9577}",
    "\u{1f3b5}",
    ".stamp",
    "_",
    "job=1",
    "source",
    "Tupfile",
    ".git",
    "{b}",
    "[c]",
    ".flac",
    ".wav",
    ".vibes-stamp",
    ".tags.vc",
    ".ccache",
    "tup.config",
    ".tup",
    "build-home",
    "collection",
    "apart",
    "@tupjob-1",
    "out",
];

/// Any name that a file system can hold, of so many bytes at most.
pub(crate) fn name(longest: usize) -> impl Strategy<Value = OsString> {
    let part = prop_oneof![
        6 => select(PARTS).prop_map(|part| part.as_bytes().to_vec()),
        2 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => (select(PARTS), 50..130_usize).prop_map(|(part, times)| part.repeat(times).into_bytes()),
    ];
    vec(part, 1..6).prop_map(move |parts| {
        let mut bytes = parts.concat();
        bytes.retain(|byte| !matches!(byte, 0 | b'/'));
        bytes.truncate(longest);
        if matches!(bytes.as_slice(), b"" | b"." | b"..") {
            bytes = b"x".to_vec();
        }
        OsString::from_vec(bytes)
    })
}
