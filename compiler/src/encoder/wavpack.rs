//! `wavpack`: WavPack.

use std::ffi::OsString;

use super::{Encode, Input, Pcm, Program};
use crate::header::{Coding, Form, Header};

pub(super) const PROGRAM: Program = Program {
    name: "wavpack",
    version: "--version",
    reads: |header, _| reads(header),
    takes: |header, _| Pcm::of(header, Coding::Float(32)),
    arguments,
    misunderstood: |_| false,
};

fn reads(header: &Header) -> bool {
    matches!(header.form, Form::Wave | Form::Rf64 | Form::Aiff)
        && matches!(header.coding, Coding::Integer(8 | 16 | 24 | 32) | Coding::Float(32))
}

fn arguments(encode: &Encode<'_>, input: Input<'_>) -> Vec<OsString> {
    // -r: nothing of the source's file but its samples.
    let mut arguments = vec!["-q".into(), "-y".into(), "-r".into()];
    arguments.extend(input.if_decoded(["-i"]));
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend([input.name(), "-o".into(), encode.output.into()]);
    arguments
}
