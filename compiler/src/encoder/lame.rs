//! `lame`: MP3. Its own header keeps the encoder's delay and padding, so that players can join tracks without a gap.

use std::ffi::OsString;

use super::{Encode, Input, Pcm, Program};
use crate::header::{Coding, Form, Header};

pub(super) const PROGRAM: Program = Program {
    name: "lame",
    version: "--version",
    reads: |header, _| reads(header),
    takes: |header, _| Pcm {
        channels: header.channels.min(2),
        ..Pcm::of(header, Coding::Float(32))
    },
    arguments,
    misunderstood: |_| false,
};

// It reads AIFF too, but not AIFF-C and no floating point numbers in it.
fn reads(header: &Header) -> bool {
    header.form == Form::Wave && header.channels <= 2 && header.coding != Coding::Other
}

fn arguments(encode: &Encode<'_>, input: Input<'_>) -> Vec<OsString> {
    let mut arguments = vec!["--quiet".into()];
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend([input.name(), encode.output.into()]);
    arguments
}
