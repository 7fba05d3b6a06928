//! `lame`: MP3. Its own header keeps the encoder's delay and padding, so that players can join tracks without a gap.

use std::ffi::OsString;
use std::path::Path;

use super::{Encode, Program};

pub(super) const PROGRAM: Program = Program {
    name: "lame",
    arguments,
    misunderstood: |_| false,
};

fn arguments(encode: &Encode<'_>, input: &Path) -> Vec<OsString> {
    let mut arguments = vec!["--quiet".into()];
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend([input.into(), encode.output.into()]);
    arguments
}
