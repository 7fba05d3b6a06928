//! `flac`: the encoder, and the decoder of everything that is not WAVE.

use std::ffi::OsString;
use std::path::Path;

use super::pipeline::Stage;
use super::{Encode, Program};

pub(super) const PROGRAM: Program = Program {
    name: "flac",
    arguments,
    misunderstood: |_| false,
};

fn arguments(encode: &Encode<'_>, input: &Path) -> Vec<OsString> {
    let mut arguments = vec!["--silent".into(), "--force".into()];
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend(["-o".into(), encode.output.into(), "--".into(), input.into()]);
    arguments
}

/// `flac` from the path, used on the way to another encoder.
pub(super) fn stage(flags: [OsString; 2], input: &Path) -> Stage {
    let mut arguments = vec!["--silent".into()];
    arguments.extend(flags);
    arguments.extend(["--".into(), input.into()]);
    Stage {
        program: "flac".to_owned(),
        arguments,
    }
}
