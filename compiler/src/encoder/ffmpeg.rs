//! `ffmpeg`: AAC and ALAC in MP4, and the decoder of what an encoder does not read itself.

use std::ffi::OsString;
use std::path::Path;

use super::pipeline::Stage;
use super::{Encode, Input, Pcm, Program};
use crate::header::{Coding, Form, Header};
use crate::trim::Cut;

pub(super) const PROGRAM: Program = Program {
    name: "ffmpeg",
    version: "-version",
    reads,
    takes,
    arguments,
    misunderstood: |_| false,
};

fn reads(header: &Header, format: &str) -> bool {
    // Of FLAC, ffmpeg 5.1 decodes no 32 bits.
    matches!(header.form, Form::Wave | Form::Rf64 | Form::Aiff)
        && takes(header, format) == Pcm::of(header, header.coding)
}

/// ALAC as ffmpeg writes it has 24 bits at most. It has places for 6.1 but not for 7.1, which would lose two channels, and
/// players know no 6.1 in AAC.
fn takes(header: &Header, format: &str) -> Pcm {
    let alac = format == "alac";
    let pcm = Pcm::of(header, if alac { Coding::Integer(24) } else { Coding::Float(32) });
    Pcm {
        coding: match pcm.coding {
            Coding::Integer(32) if alac => Coding::Integer(24),
            coding => coding,
        },
        channels: match pcm.channels {
            7 => 6,
            8 if alac => 6,
            channels => channels,
        },
    }
}

fn arguments(encode: &Encode<'_>, input: Input<'_>) -> Vec<OsString> {
    let mut arguments = ["-nostdin", "-v", "error", "-y", "-i"].map(OsString::from).to_vec();
    arguments.push(input.name());
    arguments.extend(["-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1"].map(OsString::from));
    arguments.extend(["-c:a", encode.format].map(OsString::from));
    arguments.extend(encode.flags.iter().map(OsString::from));
    // The length is kept in units of this; ffmpeg's own are milliseconds.
    arguments.extend(["-movie_timescale".into(), encode.header.rate.to_string().into()]);
    // No time, no version.
    arguments.extend(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "ipod"].map(OsString::from));
    arguments.push(encode.output.into());
    arguments
}

/// `ffmpeg` from the path, on the way to an encoder: the samples of a source, or of standard input, as WAVE.
/// `header` is that of the source.
pub(super) fn decoder(source: Option<&Path>, header: &Header, cut: Option<Cut>, pcm: Pcm) -> Stage {
    let mut arguments = ["-nostdin", "-v", "error"].map(OsString::from).to_vec();
    // Whatever is wrong ends it: what it would go on with is not what was recorded. Only an end that comes before the
    // announced one is none there.
    if header.form != Form::Streamed {
        arguments.push("-xerror".into());
    }
    if let Form::Raw(sample) = header.form {
        arguments.extend(["-f".into(), sample.name.into()]);
        arguments.extend(["-ar".into(), header.rate.to_string().into()]);
        arguments.extend(["-ac".into(), header.channels.to_string().into()]);
    }
    arguments.push("-i".into());
    arguments.push(source.map_or("pipe:0".into(), OsString::from));
    arguments.extend(["-map", "0:a:0", "-map_metadata", "-1"].map(OsString::from));
    if let Some(Cut { start, end }) = cut {
        let end = end.map_or(String::new(), |end| format!(":end_sample={end}"));
        arguments.extend(["-af".into(), format!("atrim=start_sample={start}{end}").into()]);
    }
    let coding = match pcm.coding {
        Coding::Integer(8) => "pcm_u8",
        Coding::Integer(16) => "pcm_s16le",
        Coding::Integer(24) => "pcm_s24le",
        Coding::Integer(_) => "pcm_s32le",
        Coding::Float(_) | Coding::Other => "pcm_f32le",
    };
    if pcm.channels != header.channels {
        arguments.extend(["-ac".into(), pcm.channels.to_string().into()]);
    }
    arguments.extend(["-c:a", coding].map(OsString::from));
    arguments.extend(["-bitexact", "-f", "wav", "pipe:1"].map(OsString::from));
    Stage {
        program: "ffmpeg".to_owned(),
        arguments,
        writes_in: None,
    }
}
