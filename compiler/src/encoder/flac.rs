//! `flac`: the encoder, and the decoder of what it encodes.

use std::ffi::OsString;
use std::path::Path;

use super::pipeline::Stage;
use super::{Encode, Input, Pcm, Program};
use crate::header::{Coding, Form, Header};
use crate::trim::Cut;

pub(super) const PROGRAM: Program = Program {
    name: "flac",
    version: "--version",
    reads: |header, _| reads(header),
    takes: |header, _| Pcm::of(header, FINEST),
    arguments,
    misunderstood: |_| false,
};

/// What becomes of floating point numbers, which FLAC does not hold.
const FINEST: Coding = Coding::Integer(24);

/// The speakers that it knows, by the number of channels; it refuses others. Measured with flac 1.4.2.
const SPEAKERS: [&[u32]; 8] = [
    &[0, 1, 2, 4],
    &[0, 3],
    &[0x7],
    &[0x33, 0x603],
    &[0x37, 0x607],
    &[0x3F, 0x60F],
    &[0x70F],
    &[0x63F],
];

fn reads(header: &Header) -> bool {
    matches!(header.form, Form::Wave | Form::Rf64 | Form::Aiff)
        && matches!(header.coding, Coding::Integer(8 | 16 | 24 | 32))
}

/// The speakers are such that it takes the channels as they come.
fn unknown_speakers(header: &Header) -> bool {
    let known = SPEAKERS.get(usize::from(header.channels) - 1);
    match header.speakers {
        None => header.channels > 2 && !matches!(header.form, Form::Flac { .. }),
        Some(speakers) => !known.is_some_and(|known| known.contains(&speakers)),
    }
}

fn arguments(encode: &Encode<'_>, input: Input<'_>) -> Vec<OsString> {
    let mut arguments = vec!["--silent".into(), "--force".into()];
    arguments.extend(input.if_decoded(["--ignore-chunk-sizes"]));
    if unknown_speakers(encode.header) {
        arguments.push("--channel-map=none".into());
    }
    if encode.format == "oggflac" {
        arguments.push("--ogg".into());
        arguments.push(format!("--serial-number={}", encode.serial).into());
    }
    arguments.extend(encode.flags.iter().map(OsString::from));
    arguments.extend(["-o".into(), encode.output.into(), "--".into(), input.name()]);
    arguments
}

/// It takes whatever has this name for Ogg, and cannot be told otherwise. Measured with flac 1.4.2.
pub(super) fn is_called_ogg(source: &Path) -> bool {
    source
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("oga"))
}

/// `flac` from the path, on the way to another encoder.
pub(super) fn decoder(source: &Path, ogg: bool, cut: Option<Cut>) -> Stage {
    let mut arguments: Vec<OsString> = ["--silent", "--decode", "--stdout"].map(OsString::from).to_vec();
    if ogg {
        arguments.push("--ogg".into());
    }
    if let Some(Cut { start, end }) = cut {
        arguments.push(format!("--skip={start}").into());
        arguments.extend(end.map(|end| format!("--until={end}").into()));
    }
    arguments.extend(["--".into(), source.into()]);
    Stage {
        program: "flac".to_owned(),
        arguments,
        writes_in: None,
    }
}
