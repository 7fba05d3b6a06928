//! `opusenc`: Opus.

use std::ffi::OsString;

use super::{Encode, Input, Program, oggenc};

pub(super) const PROGRAM: Program = Program {
    name: "opusenc",
    version: "--version",
    reads: |header, _| oggenc::reads(header),
    takes: |header, _| oggenc::takes(header),
    arguments,
    misunderstood: |_| false,
};

fn arguments(encode: &Encode<'_>, input: Input<'_>) -> Vec<OsString> {
    let mut arguments = vec!["--quiet".into()];
    arguments.extend(input.if_decoded(["--ignorelength"]));
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend(["--serial".into(), encode.serial.to_string().into()]);
    arguments.extend(["--".into(), input.name(), encode.output.into()]);
    arguments
}
