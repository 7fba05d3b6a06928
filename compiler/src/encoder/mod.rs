//! The encoder programs: one row here and one small file each.

mod confine;
mod ffmpeg;
mod flac;
mod lame;
mod oggenc;
mod opusenc;
mod pipeline;
mod watch;
mod wavpack;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use contract::profile::{ENCODERS, Profile};
use nix::unistd::{User, chown};

use crate::header::{Coding, Form, Header};
use crate::refused::Refused;
use crate::report::Versions;
use crate::trim::Cut;
use confine::{Confined, Limits};
pub(crate) use confine::{MEMORY, missing as missing_confinement};
pub(crate) use pipeline::listen;
use pipeline::{PATIENCE, Pipeline, Said, Stage};

/// What is known about an encoder program.
struct Program {
    /// Its name, as in [`contract::profile::ENCODERS`].
    name: &'static str,
    /// The argument that makes it tell its version.
    version: &'static str,
    /// Whether it reads such a file itself.
    reads: fn(&Header, format: &str) -> bool,
    /// What it gets decoded of what it does not read.
    takes: fn(&Header, format: &str) -> Pcm,
    /// The arguments that make it encode this input into `output`, without any tag and without saying anything but what
    /// is wrong.
    arguments: fn(&Encode, Input) -> Vec<OsString>,
    /// It ended well, but these words on standard error mean that it did not understand its flags.
    misunderstood: fn(&str) -> bool,
}

/// Every program, as [`contract::profile::ENCODERS`] (a test compares them).
const PROGRAMS: &[Program] = &[
    flac::PROGRAM,
    lame::PROGRAM,
    oggenc::PROGRAM,
    opusenc::PROGRAM,
    wavpack::PROGRAM,
    ffmpeg::PROGRAM,
];

/// Samples as a decoder hands them over, as WAVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pcm {
    /// How a sample is written: in 8, 16, 24 or 32 bits, or as a floating point number of 32.
    coding: Coding,
    /// Channels.
    channels: u16,
}

impl Pcm {
    /// The samples of a source, whole numbers in whole bytes, others as written here.
    fn of(header: &Header, otherwise: Coding) -> Pcm {
        Pcm {
            coding: match header.coding {
                Coding::Integer(bits) => Coding::Integer(bits.next_multiple_of(8).min(32)),
                _ => otherwise,
            },
            channels: header.channels,
        }
    }
}

/// What an encoder reads from.
#[derive(Debug, Clone, Copy)]
enum Input<'a> {
    /// The source itself.
    Source(&'a Path),
    /// Standard input: WAVE whose header does not know its length.
    Decoded,
}

impl Input<'_> {
    /// Its name as an argument.
    fn name(self) -> OsString {
        match self {
            Input::Source(path) => path.into(),
            Input::Decoded => "-".into(),
        }
    }

    /// The flags, if it is decoded.
    fn if_decoded<const COUNT: usize>(self, flags: [&str; COUNT]) -> impl Iterator<Item = OsString> {
        let decoded = matches!(self, Input::Decoded);
        flags.map(OsString::from).into_iter().filter(move |_| decoded)
    }
}

/// One encode.
#[derive(Debug)]
pub(crate) struct Encode<'a> {
    /// The encoder's name.
    pub(crate) encoder: &'a str,
    /// The format's name.
    pub(crate) format: &'a str,
    /// The binary, or the encoder's name to look for it on the path.
    pub(crate) program: &'a str,
    /// The profile's flags.
    pub(crate) flags: &'a [String],
    /// The source.
    pub(crate) source: &'a Path,
    /// What its header says.
    pub(crate) header: &'a Header,
    /// The samples of it that count; none for all.
    pub(crate) cut: Option<Cut>,
    /// Where the result goes; overwritten.
    pub(crate) output: &'a Path,
    /// The serial number of an Ogg stream, fixed so that the same input gives the same bytes.
    pub(crate) serial: u32,
}

/// Encodes the samples of a source, exactly those and nothing else of it.
///
/// # Errors
/// A [`Refused`]: a program is missing, reached a limit, or ended badly; with its own words.
pub(crate) fn run(encode: &Encode<'_>) -> Result<()> {
    let size = encode.source.metadata().context("looking at the source")?.len();
    match encode.run(Limits::of(encode.header, size), None)?.failure {
        None => Ok(()),
        Some(failure) => Err(failure.into()),
    }
}

/// What an encoder's output lacks of what a source with this header holds, though its format promises to keep samples or
/// channels; none if nothing.
///
/// # Errors
/// The encoder is unknown.
pub(crate) fn loss(encoder: &str, format: &str, header: &Header) -> Result<Option<String>> {
    let Pcm { coding, channels } = (of(encoder)?.takes)(header, format);
    Ok(match (header.coding, coding) {
        _ if channels < header.channels => Some(format!("its {} channels are mixed to {channels}", header.channels)),
        (Coding::Float(_), Coding::Integer(bits)) => Some(format!(
            "its samples are floating point numbers, of which {bits} bits are kept"
        )),
        (Coding::Integer(held), Coding::Integer(bits)) if bits < held => {
            Some(format!("its samples have {held} bits, of which {bits} are kept"))
        }
        _ => None,
    })
}

/// Lets the encoder, run by `user` (none for the current one), try its flags on a tenth of a second of silence. Returns
/// what it says against them.
///
/// # Errors
/// The encoder cannot be started ([`Refused`]), or there is no place to try it.
pub(crate) fn try_flags(profile: &Profile, program: &str, user: Option<&User>) -> Result<Option<String>> {
    // The temporary folder of the one who runs this may be closed to another user.
    let place = user.map_or_else(std::env::temp_dir, |_| "/tmp".into());
    let folder = tempfile::tempdir_in(place).context("making a folder to try the encoder in")?;
    if let Some(user) = user {
        chown(folder.path(), Some(user.uid), Some(user.gid)).context("giving away the folder to try the encoder in")?;
    }
    let source = folder.path().join("silence.wav");
    std::fs::write(&source, silence()).context("writing silence")?;
    let output = folder.path().join("silence").with_extension(profile.format.extension);
    let said = Encode {
        encoder: profile.encoder.name,
        format: profile.format.name,
        program,
        flags: &profile.flags,
        source: &source,
        header: &SILENCE,
        cut: None,
        output: &output,
        serial: 1,
    }
    .run(Limits::TRIAL, user)?;
    if let Some(failure) = said.failure {
        return Ok(Some(failure.reason));
    }
    if (of(profile.encoder.name)?.misunderstood)(&said.words) {
        return Ok(Some(said.words.trim().to_owned()));
    }
    for entry in folder.path().read_dir().context("looking at what the encoder wrote")? {
        let path = entry.context("looking at what the encoder wrote")?.path();
        if path != source && path != output {
            return Ok(Some(format!(
                "it would write another file beside its output, {}",
                path.display()
            )));
        }
    }
    Ok(None)
}

/// The version of an encoder, run by `user` (none for the current one): the first line of what it says about itself.
///
/// # Errors
/// It is not installed or says nothing.
pub(crate) fn version(encoder: &str, program: &str, user: Option<&User>) -> Result<String> {
    version_within(encoder, program, user, PATIENCE)
}

fn version_within(encoder: &str, program: &str, user: Option<&User>, patience: Duration) -> Result<String> {
    let argument = of(encoder)?.version;
    let confined = Confined {
        program,
        arguments: &[argument.into()],
        writes_in: None,
        user,
        limits: Limits::TRIAL,
    };
    let child = confined.spawn(Stdio::null(), Stdio::piped());
    let mut child = [child.map_err(|error| missing(program, &error))?];
    let said = child[0].stdout.take().map(listen);
    let wrong = child[0].stderr.take().map(listen);
    let ended = watch::until_ended(&child, patience)?;
    if !ended {
        // It may have ended by itself in this very moment.
        let _ = child[0].kill();
    }
    child[0].wait().with_context(|| format!("waiting for {program}"))?;
    watch::end_what_is_left(&child)?;
    // Heard to its end, so that it never waits for us.
    drop(wrong.map(JoinHandle::join));
    let text = said.and_then(|said| said.join().ok()).unwrap_or_default();
    if !ended {
        return Err(pipeline::hung(&[program], patience).into());
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(str::to_owned)
        .with_context(|| format!("{program} {argument} says nothing"))
}

/// The versions of this compiler and of the encoders that are installed.
pub fn versions() -> Versions {
    let installed = ENCODERS
        .iter()
        .filter_map(|encoder| Some((encoder.name.to_owned(), version(encoder.name, encoder.name, None).ok()?)));
    Versions {
        compiler: env!("CARGO_PKG_VERSION").to_owned(),
        encoders: BTreeMap::from_iter(installed),
    }
}

impl Encode<'_> {
    fn run(&self, limits: Limits, user: Option<&User>) -> Result<Said> {
        let program = of(self.encoder)?;
        let mut stages = self.decoders(program);
        let input = if stages.is_empty() {
            Input::Source(self.source)
        } else {
            Input::Decoded
        };
        stages.push(Stage {
            program: self.program.to_owned(),
            arguments: (program.arguments)(self, input),
            writes_in: self.output.parent().map(Path::to_owned),
        });
        Pipeline { stages, limits, user }.run()
    }

    /// The programs that turn the source into WAVE that the encoder reads; none if it reads the source.
    fn decoders(&self, program: &Program) -> Vec<Stage> {
        if self.cut.is_none() && (program.reads)(self.header, self.format) {
            return Vec::new();
        }
        let pcm = (program.takes)(self.header, self.format);
        let mut stages = match self.header.form {
            Form::Flac { ogg } if ogg || !flac::is_called_ogg(self.source) => {
                vec![flac::decoder(self.source, ogg, self.cut)]
            }
            _ => return vec![ffmpeg::decoder(Some(self.source), self.header, self.cut, pcm)],
        };
        // What flac writes are whole numbers of whole bytes, and every channel.
        if pcm != Pcm::of(self.header, pcm.coding) {
            stages.push(ffmpeg::decoder(None, self.header, None, pcm));
        }
        stages
    }
}

/// Starts to decode a source to WAVE of 32-bit floating point samples on standard output, for who wants to hear it.
///
/// # Errors
/// ffmpeg is missing ([`Refused`]).
pub(crate) fn hear(source: &Path, header: &Header, cut: Option<Cut>) -> Result<Child> {
    let pcm = Pcm {
        coding: Coding::Float(32),
        channels: header.channels,
    };
    let size = source.metadata().context("looking at the source")?.len();
    let stage = ffmpeg::decoder(Some(source), header, cut, pcm);
    let pipeline = Pipeline {
        stages: Vec::new(),
        limits: Limits::of(header, size),
        user: None,
    };
    pipeline.spawn(&stage, Stdio::null(), Stdio::piped())
}

fn of(encoder: &str) -> Result<&'static Program> {
    PROGRAMS
        .iter()
        .find(|program| program.name == encoder)
        .with_context(|| format!("unknown encoder {encoder:?}"))
}

fn missing(program: &str, error: &std::io::Error) -> Refused {
    let remedy = "install it, or name another binary in the profile";
    Refused::new(format!("{program} cannot be started: {error}"), remedy)
}

/// A tenth of a second of silence.
const SILENCE: Header = Header {
    form: Form::Wave,
    coding: Coding::Integer(16),
    channels: 2,
    speakers: None,
    rate: 44_100,
    frames: Some(FRAMES as u64),
    odd: false,
};
const FRAMES: u32 = 4410;

/// Its file.
fn silence() -> Vec<u8> {
    const BYTES: u32 = FRAMES * 4;
    let mut wave = Vec::new();
    wave.extend(b"RIFF");
    wave.extend((36 + BYTES).to_le_bytes());
    wave.extend(b"WAVEfmt ");
    wave.extend(16_u32.to_le_bytes());
    for word in [1_u16, 2] {
        wave.extend(word.to_le_bytes());
    }
    for long in [44_100_u32, 44_100 * 4] {
        wave.extend(long.to_le_bytes());
    }
    for word in [4_u16, 16] {
        wave.extend(word.to_le_bytes());
    }
    wave.extend(b"data");
    wave.extend(BYTES.to_le_bytes());
    wave.resize(wave.len() + BYTES as usize, 0);
    wave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_of_the_contract_has_its_program() {
        let names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
        let contracted: Vec<_> = ENCODERS.iter().map(|encoder| encoder.name).collect();
        assert_eq!(names, contracted);
    }

    #[test]
    fn an_encoder_that_never_says_its_version_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("flac");
        std::fs::write(&program, "#!/bin/sh\nsleep 71914 & sleep 71914\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let program = program.to_str().unwrap();
        let error = version_within("flac", program, None, Duration::from_secs(1)).unwrap_err();
        let expected = format!("{program} did nothing for 1 s, and that was the end");
        assert!(error.to_string().starts_with(&expected), "{error}");
        let left = std::process::Command::new("pgrep")
            .args(["--full", "sleep 71914"])
            .status();
        assert!(!left.unwrap().success());
    }

    #[test]
    fn every_encoder_refuses_flags_it_does_not_know() {
        for encoder in ENCODERS {
            for format in encoder.formats {
                let name = encoder.name;
                let said = |flags: &str| {
                    let text = format!(
                        "CONFIG_ENCODER={name}\nCONFIG_FORMAT={}\n{}={flags}\n",
                        format.name,
                        encoder.flags_key()
                    );
                    try_flags(&Profile::parse("p", &text).unwrap(), name, None).unwrap()
                };
                assert_eq!(said(""), None);
                let said = said("--no-such-flag").expect(name);
                assert!(
                    said.contains("no-such-flag") || said.contains("nknown option"),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn a_missing_encoder_says_what_to_do() {
        let profile = Profile::parse("p", "CONFIG_ENCODER=flac").unwrap();
        let error = try_flags(&profile, "/nowhere/flac", None).unwrap_err().to_string();
        assert!(
            error.contains("/nowhere/flac cannot be started") && error.contains("install it"),
            "{error}"
        );
    }

    #[test]
    fn versions_are_those_of_the_programs() {
        let versions = versions();
        assert!(versions.encoders["flac"].starts_with("flac "), "{versions:?}");
        assert_eq!(versions.encoders.len(), ENCODERS.len());
    }
}
