//! `ffmpeg`: the decoder of what an encoder does not read itself.

use std::ffi::OsString;
use std::path::Path;

use super::Pcm;
use super::pipeline::Stage;
use crate::header::{Coding, Form, Header};
use crate::trim::Cut;

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
    }
}
