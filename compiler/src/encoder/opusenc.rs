//! `opusenc`: Opus.

use std::ffi::OsString;
use std::path::Path;

use super::{Encode, Program};

pub(super) const PROGRAM: Program = Program {
    name: "opusenc",
    arguments,
    misunderstood: |_| false,
};

fn arguments(encode: &Encode<'_>, input: &Path) -> Vec<OsString> {
    let mut arguments = vec!["--quiet".into()];
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend(["--serial".into(), encode.serial.to_string().into()]);
    arguments.extend(["--".into(), input.into(), encode.output.into()]);
    arguments
}
