//! `oggenc`: Ogg Vorbis.

use std::ffi::OsString;

use super::{Encode, Input, Pcm, Program};
use crate::header::{Coding, Form, Header};

// It ignores flags that it does not know and corrects values out of range, with a warning.
pub(super) const PROGRAM: Program = Program {
    name: "oggenc",
    version: "--version",
    reads: |header, _| reads(header),
    takes: |header, _| takes(header),
    arguments,
    misunderstood: |words| words.contains("WARNING"),
};

/// What it reads, and `opusenc`, which has the same reader (measured with oggenc 1.4.2 and opusenc 0.2).
pub(super) fn reads(header: &Header) -> bool {
    let codings = [
        Coding::Integer(8),
        Coding::Integer(16),
        Coding::Integer(24),
        Coding::Float(32),
    ];
    // It does not know the byte that fills up a chunk of odd length.
    header.form == Form::Wave && !header.odd && codings.contains(&header.coding)
}

/// What both get of anything else.
pub(super) fn takes(header: &Header) -> Pcm {
    let pcm = Pcm::of(header, Coding::Float(32));
    match pcm.coding {
        Coding::Integer(32) => Pcm {
            coding: Coding::Float(32),
            ..pcm
        },
        _ => pcm,
    }
}

fn arguments(encode: &Encode<'_>, input: Input<'_>) -> Vec<OsString> {
    let mut arguments = vec!["--quiet".into()];
    arguments.extend(input.if_decoded(["--ignorelength"]));
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend(["--serial".into(), encode.serial.to_string().into()]);
    arguments.extend(["--output".into(), encode.output.into(), "--".into(), input.name()]);
    arguments
}
