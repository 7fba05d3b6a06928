//! The command of a track: everything that decides its output's bytes, so that a changed command is a changed track.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Error, Result, bail};

use crate::loudness::Part;
use crate::names::{decode, encode as encoded};
use crate::resolve::Track;
use crate::sidecar::PictureFile;
use crate::tags::Tags;

/// Part of every command: raising it encodes every track again. To be raised when the same command would give other
/// bytes than before.
const ENCODE_FORMAT: u32 = 1;

/// The argument that is only passed on into the stamp.
const WARNING: &str = "warning";

/// Everything that decides an output's bytes, except the files that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// The encoder's name.
    pub(crate) encoder: String,
    /// What the encoder says of itself: another version encodes again.
    pub(crate) version: String,
    /// The encoder's binary, if not the one on the path.
    pub(crate) program: Option<String>,
    /// The profile's flags.
    pub(crate) flags: Vec<String>,
    /// The format's name.
    pub(crate) format: String,
    /// The output's extension.
    pub(crate) extension: String,
    /// The gains that it is tagged with.
    pub(crate) gain: Option<Gain>,
    /// The output below the profile's outputs, if it is not called as its source.
    pub(crate) output: Option<PathBuf>,
    /// The name of the source in its folder.
    pub(crate) source: OsString,
    /// What is known about the track.
    pub(crate) track: Track,
}

/// What a track is measured for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gain {
    /// Its own gain.
    Track,
    /// Its own and that of the album, which is made of these parts.
    Album(Vec<Part>),
}

impl Job {
    /// The job as arguments of `vibes-compile encode`, made of characters that mean nothing to tup and to a shell.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: &OsStr| arguments.push(format!("{name}={}", encoded(value)));
        add("job", ENCODE_FORMAT.to_string().as_ref());
        add("encoder", self.encoder.as_ref());
        add("version", self.version.as_ref());
        if let Some(program) = &self.program {
            add("program", program.as_ref());
        }
        for flag in &self.flags {
            add("flag", flag.as_ref());
        }
        add("format", self.format.as_ref());
        add("extension", self.extension.as_ref());
        for (argument, tags) in [("tag", &self.track.tags), ("guess", &self.track.guesses)] {
            for (name, values) in tags.iter() {
                for value in values {
                    add(argument, format!("{name}={value}").as_ref());
                }
                if values.is_empty() {
                    add(argument, format!("{name}=").as_ref());
                }
            }
        }
        for PictureFile {
            kind,
            path,
            description,
        } in &self.track.pictures
        {
            let mut value = OsString::from(format!("{kind}:"));
            value.push(path);
            add("picture", &value);
            if !description.is_empty() {
                add("description", description.as_ref());
            }
        }
        if let Some(cover) = &self.track.cover {
            add("cover", cover.as_ref());
        }
        if let Some(trim) = self.track.trim {
            add("trim", trim.to_string().as_ref());
        }
        if let Some(raw) = self.track.raw {
            add("raw", raw.to_string().as_ref());
        }
        match &self.gain {
            None => {}
            Some(Gain::Track) => add("gain", "track".as_ref()),
            Some(Gain::Album(parts)) => {
                for part in parts {
                    add("album", &part.to_text());
                }
            }
        }
        if let Some(output) = &self.output {
            add("output", output.as_ref());
        }
        add("source", &self.source);
        for warning in &self.track.warnings {
            add(WARNING, warning.as_ref());
        }
        arguments
    }

    /// The arguments that decide the output's bytes, without those that are about its tags and pictures.
    pub(crate) fn of_encoder(&self) -> impl Iterator<Item = String> {
        let is_of_encoder = |argument: &String| {
            let name = argument.split_once('=').map_or("", |(name, _)| name);
            ![
                WARNING,
                "tag",
                "guess",
                "picture",
                "description",
                "cover",
                "gain",
                "album",
            ]
            .contains(&name)
        };
        self.to_arguments().into_iter().filter(is_of_encoder)
    }

    /// Reads what [`Job::to_arguments`] wrote.
    ///
    /// # Errors
    /// The arguments are of another version, or no job.
    pub(crate) fn from_arguments(arguments: &[String]) -> Result<Job> {
        let mut track = Track {
            tags: Tags::default(),
            guesses: Tags::default(),
            pictures: Vec::new(),
            warnings: Vec::new(),
            cover: None,
            trim: None,
            raw: None,
        };
        let (mut encoder, mut version, mut program, mut format, mut extension, mut output, mut source) =
            (None, None, None, None, None, None, None);
        let mut flags = Vec::new();
        let mut gain = None;
        for argument in arguments {
            let (name, value) = self::argument(argument)?;
            let text = || {
                value
                    .clone()
                    .into_string()
                    .ok()
                    .with_context(|| format!("{argument:?} is not UTF-8"))
            };
            match name {
                "job" if text()? == ENCODE_FORMAT.to_string() => {}
                "encoder" => encoder = Some(text()?),
                "version" => version = Some(text()?),
                "program" => program = Some(text()?),
                "flag" => flags.push(text()?),
                "format" => format = Some(text()?),
                "extension" => extension = Some(text()?),
                "tag" | "guess" => {
                    let text = text()?;
                    let (tag, value) = text
                        .split_once('=')
                        .with_context(|| format!("{argument:?} is no tag"))?;
                    let tags = if name == "tag" {
                        &mut track.tags
                    } else {
                        &mut track.guesses
                    };
                    tags.add(tag, value);
                }
                "picture" => {
                    let bytes = value.as_bytes();
                    let colon = bytes.iter().position(|byte| *byte == b':');
                    let (kind, path) = bytes.split_at(colon.with_context(|| format!("{argument:?} is no picture"))?);
                    let kind = std::str::from_utf8(kind)?
                        .parse()
                        .with_context(|| format!("reading {argument:?}"))?;
                    track.pictures.push(PictureFile {
                        kind,
                        path: OsStr::from_bytes(&path[1..]).into(),
                        description: String::new(),
                    });
                }
                "description" => {
                    let picture = track.pictures.last_mut();
                    let picture = picture.with_context(|| format!("{argument:?} describes no picture"))?;
                    picture.description = text()?;
                }
                WARNING => track.warnings.push(text()?),
                "cover" => track.cover = Some(PathBuf::from(value)),
                "trim" => track.trim = Some(text()?.parse()?),
                "raw" => track.raw = Some(text()?.parse().map_err(Error::msg)?),
                "gain" if text()? == "track" => gain = Some(Gain::Track),
                "album" => match &mut gain {
                    Some(Gain::Album(parts)) => parts.push(Part::from_text(&value)?),
                    _ => gain = Some(Gain::Album(vec![Part::from_text(&value)?])),
                },
                "output" => output = Some(PathBuf::from(value)),
                "source" => source = Some(value),
                _ => bail!("{argument:?} is of another version of vibes-compile"),
            }
        }
        Ok(Job {
            encoder: encoder.context("no encoder")?,
            version: version.context("no version")?,
            program,
            flags,
            format: format.context("no format")?,
            extension: extension.context("no extension")?,
            gain,
            output,
            source: source.context("no source")?,
            track,
        })
    }
}

/// The key and the value of a `KEY=VALUE` argument, whose value is encoded.
pub(crate) fn argument(argument: &str) -> Result<(&str, OsString)> {
    let (key, value) = argument
        .split_once('=')
        .with_context(|| format!("{argument:?} is no argument"))?;
    Ok((key, decode(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tags;

    #[test]
    fn a_job_survives_its_command() {
        let mut given = tags(&[("TITLE", "<3 & \"q\" $(x) %f 久石"), ("ARTIST", "a"), ("ARTIST", "b=c")]);
        given.add("DATE", "");
        let job = Job {
            encoder: "flac".to_owned(),
            version: "flac 1.4.2".to_owned(),
            program: Some("/opt/my flac".to_owned()),
            flags: vec!["--best".to_owned(), "-e".to_owned()],
            format: "flac".to_owned(),
            extension: "flac".to_owned(),
            gain: Some(Gain::Album(vec![
                Part {
                    source: "a:1 b".into(),
                    trim: None,
                    raw: None,
                },
                Part {
                    source: "-\u{fc}.wav".into(),
                    trim: Some("5:10".parse().unwrap()),
                    raw: None,
                },
                Part {
                    source: "a.raw".into(),
                    trim: None,
                    raw: Some("u8 8000 1".parse().unwrap()),
                },
            ])),
            output: Some("a/－ x.flac".into()),
            source: OsStr::from_bytes(b"-\xff x.wav").to_owned(),
            track: Track {
                tags: given,
                guesses: tags(&[("ALBUM", "x")]),
                pictures: vec![
                    PictureFile {
                        kind: 3,
                        path: "a:b/ö.png".into(),
                        description: String::new(),
                    },
                    PictureFile {
                        kind: 4,
                        path: "b.png".into(),
                        description: "\"b\" = $x".to_owned(),
                    },
                ],
                warnings: vec!["a/b, line 1: odd".to_owned()],
                cover: Some("a/cover.jpg".into()),
                trim: Some("20000000:256500000".parse().unwrap()),
                raw: Some("s16le 44100 2".parse().unwrap()),
            },
        };
        let arguments = job.to_arguments();
        assert!(arguments.iter().all(|one| {
            one.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"=_/+,@.-".contains(&b))
        }));
        assert_eq!(Job::from_arguments(&arguments).unwrap(), job);
    }

    #[test]
    fn a_job_of_another_version_is_refused() {
        assert!(Job::from_arguments(&["job=0".to_owned()]).is_err());
        assert!(Job::from_arguments(&["job=1".to_owned()]).is_err());
    }
}
