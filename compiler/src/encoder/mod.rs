//! The encoder programs: one row here and one small file each.

mod flac;
mod lame;
mod oggenc;
mod opusenc;
mod pipeline;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use contract::profile::ENCODERS;

use crate::refused::Refused;
use crate::report::Versions;
use crate::source::Kind;
use crate::tup::PATH;
use pipeline::{Said, Stage};

/// What is known about an encoder program.
struct Program {
    /// Its name, as in [`contract::profile::ENCODERS`].
    name: &'static str,
    /// The arguments that make it encode WAVE from `input` (`-` for standard input) into `output`, without any tag and
    /// without saying anything but what is wrong.
    arguments: fn(&Encode, input: &Path) -> Vec<OsString>,
    /// It ended well, but these words on standard error mean that it did not understand its flags.
    misunderstood: fn(&str) -> bool,
}

/// Every program, as [`contract::profile::ENCODERS`] (a test compares them).
const PROGRAMS: &[Program] = &[flac::PROGRAM, lame::PROGRAM, oggenc::PROGRAM, opusenc::PROGRAM];

/// One encode.
#[derive(Debug)]
pub(crate) struct Encode<'a> {
    /// The encoder's name.
    pub(crate) encoder: &'a str,
    /// The binary, or the encoder's name to look for it on the path.
    pub(crate) program: &'a str,
    /// The profile's flags.
    pub(crate) flags: &'a [String],
    /// The source.
    pub(crate) source: &'a Path,
    /// How the source holds its samples.
    pub(crate) kind: Kind,
    /// Where the result goes; overwritten.
    pub(crate) output: &'a Path,
    /// The serial number of an Ogg stream, fixed so that the same input gives the same bytes.
    pub(crate) serial: u32,
}

/// Encodes the samples of a source, exactly those and nothing else of it.
///
/// # Errors
/// A program is missing ([`Refused`]), or one ended badly; with its own words.
pub(crate) fn run(encode: &Encode<'_>) -> Result<()> {
    match encode.run()?.failure {
        None => Ok(()),
        Some(failure) => bail!("{failure}"),
    }
}

/// Lets the encoder try its flags on a tenth of a second of silence. Returns what it says against them.
///
/// # Errors
/// The encoder cannot be started ([`Refused`]), or there is no place to try it.
pub(crate) fn try_flags(encoder: &str, program: &str, flags: &[String]) -> Result<Option<String>> {
    let folder = tempfile::tempdir().context("making a folder to try the encoder in")?;
    let source = folder.path().join("silence.wav");
    std::fs::write(&source, silence()).context("writing silence")?;
    let output = folder.path().join("silence.out");
    let said = Encode {
        encoder,
        program,
        flags,
        source: &source,
        kind: Kind::Wave,
        output: &output,
        serial: 1,
    }
    .run()?;
    let misunderstood = (of(encoder)?.misunderstood)(&said.words).then(|| said.words.trim().to_owned());
    Ok(said.failure.or(misunderstood))
}

/// The version of an encoder: the first line of what it says about itself.
///
/// # Errors
/// It is not installed or says nothing.
pub(crate) fn version(program: &str) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(program, &error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(str::to_owned)
        .with_context(|| format!("{program} --version says nothing"))
}

/// The versions of this compiler and of the encoders that are installed.
pub fn versions() -> Versions {
    let installed = ENCODERS
        .iter()
        .filter_map(|encoder| Some((encoder.name.to_owned(), version(encoder.name).ok()?)));
    Versions {
        compiler: env!("CARGO_PKG_VERSION").to_owned(),
        encoders: BTreeMap::from_iter(installed),
    }
}

impl Encode<'_> {
    fn run(&self) -> Result<Said> {
        let program = of(self.encoder)?;
        let mut stages = decoders(self.kind, self.source);
        let piped = PathBuf::from("-");
        let input = if stages.is_empty() { self.source } else { &piped };
        stages.push(Stage {
            program: self.program.to_owned(),
            arguments: (program.arguments)(self, input),
        });
        pipeline::run(&stages)
    }
}

/// The programs that turn a source into WAVE on standard output; none if it is WAVE.
fn decoders(kind: Kind, source: &Path) -> Vec<Stage> {
    let decode = |input: &Path| flac::stage(["--decode", "--stdout"].map(OsString::from), input);
    match kind {
        Kind::Wave => Vec::new(),
        Kind::Flac | Kind::OggFlac => vec![decode(source)],
        // Only flac and lame read 24-bit AIFF themselves: measured with oggenc 1.4.2 and opusenc 0.2.
        Kind::Aiff => vec![
            flac::stage(["--fast", "--stdout"].map(OsString::from), source),
            decode(Path::new("-")),
        ],
    }
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

/// A tenth of a second of silence: 44.1 kHz, 16 bit, stereo.
fn silence() -> Vec<u8> {
    const FRAMES: u32 = 4410;
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
    fn every_encoder_refuses_flags_it_does_not_know() {
        for encoder in ENCODERS {
            assert_eq!(try_flags(encoder.name, encoder.name, &[]).unwrap(), None);
            let flags = ["--no-such-flag".to_owned()];
            let said = try_flags(encoder.name, encoder.name, &flags)
                .unwrap()
                .expect(encoder.name);
            assert!(
                said.contains("no-such-flag") || said.contains("Unknown option"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_missing_encoder_says_what_to_do() {
        let error = try_flags("flac", "/nowhere/flac", &[]).unwrap_err().to_string();
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
