//! `oggenc`: Ogg Vorbis.

use std::ffi::OsString;
use std::path::Path;

use super::{Encode, Program};

// It ignores flags that it does not know and corrects values out of range, with a warning.
pub(super) const PROGRAM: Program = Program {
    name: "oggenc",
    arguments,
    misunderstood: |words| words.contains("WARNING"),
};

fn arguments(encode: &Encode<'_>, input: &Path) -> Vec<OsString> {
    let mut arguments = vec!["--quiet".into()];
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend(["--serial".into(), encode.serial.to_string().into()]);
    arguments.extend(["--output".into(), encode.output.into(), "--".into(), input.into()]);
    arguments
}
