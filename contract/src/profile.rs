//! Profiles: the text that says how one output of a build is encoded, read and checked without touching an encoder.
//!
//! ```text
//! # the car's player
//! CONFIG_ENCODER=lame
//! CONFIG_FORMAT=mp3
//! CONFIG_LAME_FLAGS=-V 2
//! CONFIG_LAME=/opt/lame/bin/lame
//! CONFIG_REPLAYGAIN=album
//! CONFIG_NAMES=portable
//! CONFIG_RAW=s16le 44100 2
//! ```
//!
//! Flags are separated and quoted as in a shell. Whether the encoder accepts its flags is known only where the encoder is:
//! the compiler tries it before the first track.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::raw::Raw;

/// A format that an encoder program can write.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    /// The word in `CONFIG_FORMAT`.
    pub name: &'static str,
    /// The file name extension of the outputs, without the dot.
    pub extension: &'static str,
    /// It keeps the samples, and takes as much room as they need.
    pub lossless: bool,
}

/// An encoder program that a profile may name.
#[derive(Debug, PartialEq, Eq)]
pub struct Encoder {
    /// The word in `CONFIG_ENCODER`, which is also the program's name.
    pub name: &'static str,
    /// The formats it writes; the first is meant when `CONFIG_FORMAT` is not given.
    pub formats: &'static [Format],
}

impl Encoder {
    /// The key of its flags, such as `CONFIG_FLAC_FLAGS`.
    pub fn flags_key(&self) -> String {
        format!("{}_FLAGS", self.program_key())
    }

    /// The key that names another binary for it, such as `CONFIG_FLAC`.
    pub fn program_key(&self) -> String {
        format!("CONFIG_{}", self.name.to_ascii_uppercase())
    }
}

/// Every encoder that is known.
pub const ENCODERS: &[Encoder] = &[
    Encoder {
        name: "flac",
        formats: &[
            Format {
                name: "flac",
                extension: "flac",
                lossless: true,
            },
            Format {
                name: "oggflac",
                extension: "oga",
                lossless: true,
            },
        ],
    },
    Encoder {
        name: "lame",
        formats: &[Format {
            name: "mp3",
            extension: "mp3",
            lossless: false,
        }],
    },
    Encoder {
        name: "oggenc",
        formats: &[Format {
            name: "vorbis",
            extension: "ogg",
            lossless: false,
        }],
    },
    Encoder {
        name: "opusenc",
        formats: &[Format {
            name: "opus",
            extension: "opus",
            lossless: false,
        }],
    },
    Encoder {
        name: "wavpack",
        formats: &[Format {
            name: "wavpack",
            extension: "wv",
            lossless: true,
        }],
    },
    Encoder {
        name: "ffmpeg",
        formats: &[
            Format {
                name: "aac",
                extension: "m4a",
                lossless: false,
            },
            Format {
                name: "alac",
                extension: "m4a",
                lossless: true,
            },
        ],
    },
];

/// Whether outputs tell players how loud to play them (`CONFIG_REPLAYGAIN`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayGain {
    /// Each track's gain.
    Track,
    /// Each track's gain, and that of its album: the folder that it lies in.
    Album,
}

/// How the outputs of a profile are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// As their sources, whatever characters that are.
    #[default]
    Exact,
    /// So that FAT and exFAT accept the names, and without case or normalisation no two are the same.
    Portable,
}

/// The word in `CONFIG_NAMES` for each.
const NAMES: &[(&str, Names)] = &[("exact", Names::Exact), ("portable", Names::Portable)];

/// The key that says what `.raw` files hold.
const RAW_KEY: &str = "CONFIG_RAW";

/// A kind of playlist that a profile may ask for (`CONFIG_PLAYLISTS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playlist {
    /// A path a line.
    M3u,
    /// XML: <https://xspf.org/spec>.
    Xspf,
}

impl Playlist {
    /// The file name extension, which is also the word in `CONFIG_PLAYLISTS`.
    pub fn extension(self) -> &'static str {
        match self {
            Playlist::M3u => "m3u",
            Playlist::Xspf => "xspf",
        }
    }
}

/// Every kind of playlist that is known.
pub const PLAYLISTS: &[Playlist] = &[Playlist::M3u, Playlist::Xspf];

/// The longest text of a profile, in bytes: four times what a parameter of Systems Manager holds, and less than a command.
pub const LONGEST_TEXT: usize = 32 << 10;

/// The longest name of a profile: it becomes a folder's name, part of a parameter's name and an rsync module.
pub const LONGEST_NAME: usize = 64;

/// A profile that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its encoder.
    pub encoder: &'static Encoder,
    /// What the encoder is to write.
    pub format: &'static Format,
    /// The encoder's flags, in order.
    pub flags: Vec<String>,
    /// Another binary than the one on the path; absolute.
    pub program: Option<String>,
    /// Which gains its outputs are tagged with.
    pub replay_gain: Option<ReplayGain>,
    /// How the outputs are called.
    pub names: Names,
    /// The kinds of playlists that are made, each once.
    pub playlists: Vec<Playlist>,
    /// The line of the text that holds the flags, from 1; for messages about them.
    pub flags_line: Option<usize>,
    /// What `.raw` files hold; without it they are no audio.
    pub raw: Option<Raw>,
}

/// Why a text is not a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// The profile's name.
    pub profile: String,
    /// The line, from 1; none if it is about the whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile {:?}", self.profile)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// Reads a profile's text.
    ///
    /// # Errors
    /// A name that cannot be a folder's, a line that is no `CONFIG_KEY=value`, an unknown or repeated key, a missing or
    /// unknown encoder, a format that the encoder does not write, a program without an absolute path.
    pub fn parse(name: &str, text: &str) -> Result<Profile, ProfileError> {
        let error = |line: Option<usize>, problem: String, remedy: String| ProfileError {
            profile: name.to_owned(),
            line,
            problem,
            remedy,
        };
        check_name(name).map_err(|problem| {
            let remedy = format!(
                "use 1 to {LONGEST_NAME} of the characters A-Z a-z 0-9 _ . - and begin with a letter or a digit"
            );
            error(None, problem, remedy)
        })?;
        if text.len() > LONGEST_TEXT {
            let problem = format!("it is longer than {} KiB", LONGEST_TEXT >> 10);
            return Err(error(None, problem, "shorten it".to_owned()));
        }
        let settings = settings(text).map_err(|(line, problem, remedy)| error(Some(line), problem, remedy))?;

        let Some(named) = find(&settings, "CONFIG_ENCODER") else {
            let remedy = format!(
                "add a line CONFIG_ENCODER={}",
                alternatives(ENCODERS.iter().map(|e| e.name))
            );
            return Err(error(None, "it names no encoder".to_owned(), remedy));
        };
        let Some(encoder) = ENCODERS.iter().find(|encoder| encoder.name == named.value) else {
            let remedy = format!("known are {}", alternatives(ENCODERS.iter().map(|e| e.name)));
            return Err(error(
                Some(named.line),
                format!("unknown encoder {:?}", named.value),
                remedy,
            ));
        };
        let format = match find(&settings, "CONFIG_FORMAT") {
            None => &encoder.formats[0],
            Some(named) => encoder
                .formats
                .iter()
                .find(|format| format.name == named.value)
                .ok_or_else(|| {
                    let remedy = format!(
                        "{} writes {}",
                        encoder.name,
                        alternatives(encoder.formats.iter().map(|f| f.name))
                    );
                    error(Some(named.line), format!("unknown format {:?}", named.value), remedy)
                })?,
        };
        let program = find(&settings, &encoder.program_key());
        if let Some(program) = program.filter(|program| !program.value.starts_with('/')) {
            let problem = format!("{:?} is not an absolute path", program.value);
            return Err(error(Some(program.line), problem, "begin it with /".to_owned()));
        }
        let replay_gain = match find(&settings, REPLAY_GAIN) {
            None => None,
            Some(wished) => Some(match wished.value {
                "track" => ReplayGain::Track,
                "album" => ReplayGain::Album,
                _ => {
                    let problem = format!("{REPLAY_GAIN} has no value {:?}", wished.value);
                    return Err(error(Some(wished.line), problem, "known are track|album".to_owned()));
                }
            }),
        };
        let names = match find(&settings, "CONFIG_NAMES") {
            None => Names::default(),
            Some(named) => {
                let known = NAMES.iter().find(|(word, _)| *word == named.value);
                known.map(|(_, names)| *names).ok_or_else(|| {
                    let remedy = format!("known are {}", alternatives(NAMES.iter().map(|(word, _)| *word)));
                    error(Some(named.line), format!("unknown names {:?}", named.value), remedy)
                })?
            }
        };
        let mut playlists = Vec::new();
        if let Some(wished) = find(&settings, "CONFIG_PLAYLISTS") {
            for word in wished.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                let known = PLAYLISTS.iter().find(|playlist| playlist.extension() == word);
                let known = known.ok_or_else(|| {
                    let words = PLAYLISTS.iter().map(|playlist| playlist.extension());
                    let remedy = format!("known are {}", alternatives(words));
                    error(Some(wished.line), format!("unknown kind of playlist {word:?}"), remedy)
                })?;
                if !playlists.contains(known) {
                    playlists.push(*known);
                }
            }
        }
        let flags = find(&settings, &encoder.flags_key());
        let split = flags.map(|flags| {
            shell_words::split(flags.value).map_err(|_| {
                let problem = format!("a quote is not closed in {:?}", flags.value);
                error(Some(flags.line), problem, "close it, or write \\ before it".to_owned())
            })
        });
        let raw = find(&settings, RAW_KEY).map(|raw| {
            let wrong = |remedy| {
                error(
                    Some(raw.line),
                    format!("{:?} says nothing of .raw files", raw.value),
                    remedy,
                )
            };
            raw.value.parse().map_err(wrong)
        });
        Ok(Profile {
            name: name.to_owned(),
            encoder,
            format,
            flags: split.transpose()?.unwrap_or_default(),
            replay_gain,
            program: program.map(|program| program.value.to_owned()),
            names,
            playlists,
            flags_line: flags.map(|flags| flags.line),
            raw: raw.transpose()?,
        })
    }

    /// The error of flags that the encoder refused, with its own words.
    pub fn flags_refused(&self, words: &str) -> ProfileError {
        ProfileError {
            profile: self.name.clone(),
            line: self.flags_line,
            problem: format!(
                "{} refuses {:?}: {words}",
                self.encoder.name,
                shell_words::join(&self.flags)
            ),
            remedy: format!("correct {}", self.encoder.flags_key()),
        }
    }
}

const REPLAY_GAIN: &str = "CONFIG_REPLAYGAIN";

/// One `CONFIG_KEY=value` line.
struct Setting<'a> {
    line: usize,
    key: &'a str,
    value: &'a str,
}

/// All settings of a text, or the line, problem and remedy of the first wrong one.
fn settings(text: &str) -> Result<Vec<Setting<'_>>, (usize, String, String)> {
    let mut settings: Vec<Setting<'_>> = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        if raw.trim().is_empty() || raw.starts_with('#') {
            continue;
        }
        let Some((key, value)) = raw.split_once('=') else {
            let problem = format!("{raw:?} is no setting");
            return Err((
                line,
                problem,
                "write CONFIG_KEY=value, or begin a comment with #".to_owned(),
            ));
        };
        if !known_keys().any(|known| known == key) {
            let remedy = format!("known are {}", known_keys().collect::<Vec<_>>().join(", "));
            return Err((line, format!("unknown key {key:?}"), remedy));
        }
        if let Some(first) = find(&settings, key) {
            let problem = format!("{key} was already set in line {}", first.line);
            return Err((line, problem, "keep one of the two".to_owned()));
        }
        // Quotes around the whole are tup's way of writing; others belong to the value.
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'))
            .filter(|inner| !inner.contains('"'))
            .unwrap_or(value);
        settings.push(Setting { line, key, value });
    }
    Ok(settings)
}

fn find<'a, 'b>(settings: &'b [Setting<'a>], key: &str) -> Option<&'b Setting<'a>> {
    settings.iter().find(|setting| setting.key == key)
}

fn known_keys() -> impl Iterator<Item = String> {
    let others = [RAW_KEY, REPLAY_GAIN, "CONFIG_NAMES", "CONFIG_PLAYLISTS"];
    ["CONFIG_ENCODER", "CONFIG_FORMAT"]
        .into_iter()
        .chain(others)
        .map(str::to_owned)
        .chain(
            ENCODERS
                .iter()
                .flat_map(|encoder| [encoder.program_key(), encoder.flags_key()]),
        )
}

fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join("|")
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match name {
        "" => Err("a profile needs a name".to_owned()),
        _ if name.len() > LONGEST_NAME => Err(format!("the name has {} characters", name.len())),
        _ if !name.chars().all(allowed) => Err("the name holds a character that a folder here may not hold".to_owned()),
        _ if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            Err("the name does not begin with a letter or a digit".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_profile_is_read() {
        let text = "# the car\r\nCONFIG_ENCODER=lame\r\n\r\nCONFIG_FORMAT=\"mp3\"\nCONFIG_LAME_FLAGS= -V  2 \nCONFIG_LAME=/opt/lame\n";
        let profile = Profile::parse("car", text).unwrap();
        assert_eq!(profile.encoder.name, "lame");
        assert_eq!(profile.format.extension, "mp3");
        assert_eq!(profile.flags, ["-V", "2"]);
        assert_eq!(profile.flags_line, Some(5));
        assert_eq!(profile.program.as_deref(), Some("/opt/lame"));
    }

    #[test]
    fn playlists_are_made_of_the_kinds_that_are_asked_for() {
        let playlists = |text: &str| {
            Profile::parse("p", &format!("CONFIG_ENCODER=flac\n{text}"))
                .unwrap()
                .playlists
        };
        assert_eq!(
            playlists("CONFIG_PLAYLISTS=xspf, m3u,xspf"),
            [Playlist::Xspf, Playlist::M3u]
        );
        assert_eq!(playlists("CONFIG_PLAYLISTS="), []);
        assert_eq!(playlists(""), []);
    }

    #[test]
    fn the_first_format_is_the_default() {
        for encoder in ENCODERS {
            let profile = Profile::parse("p", &format!("CONFIG_ENCODER={}", encoder.name)).unwrap();
            assert_eq!(profile.format, &encoder.formats[0]);
        }
    }

    #[test]
    fn flags_of_another_encoder_are_left_alone() {
        let profile = Profile::parse("p", "CONFIG_ENCODER=flac\nCONFIG_LAME_FLAGS=-V2").unwrap();
        assert_eq!(profile.flags, [""; 0]);
    }

    #[test]
    fn flags_are_quoted_as_in_a_shell() {
        let flags = |value: &str| {
            let text = format!("CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS={value}");
            Profile::parse("p", &text).map(|profile| profile.flags)
        };
        assert_eq!(flags("-T 'A=b c' --best").unwrap(), ["-T", "A=b c", "--best"]);
        assert_eq!(flags("\"-T\" \"A=b c\"").unwrap(), ["-T", "A=b c"]);
        assert_eq!(flags("\"--best -e\"").unwrap(), ["--best", "-e"]);
        assert_eq!(flags("-T A=it\\'s").unwrap(), ["-T", "A=it's"]);
        assert_eq!(
            flags("-T 'A=b c").unwrap_err().to_string(),
            "profile \"p\", line 2: a quote is not closed in \"-T 'A=b c\"; close it, or write \\ before it"
        );
    }

    #[test]
    fn raw_files_are_described_in_one_line() {
        let parse = |value: &str| Profile::parse("p", &format!("CONFIG_ENCODER=flac\nCONFIG_RAW={value}"));
        assert_eq!(parse("s24be 96000 1").unwrap().raw.unwrap().rate, 96_000);
        let message = parse("16 bit").unwrap_err().to_string();
        assert!(
            message.starts_with("profile \"p\", line 2: \"16 bit\" says nothing of .raw files; write SAMPLE RATE"),
            "{message}"
        );
    }

    #[test]
    fn errors_name_profile_line_and_remedy() {
        let cases = [
            (
                "CONFIG_ENCODER=winamp",
                "profile \"car\", line 1: unknown encoder \"winamp\"; known are flac|lame|oggenc|opusenc|wavpack|ffmpeg",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_FLAVOUR=x",
                "profile \"car\", line 2: unknown key \"CONFIG_FLAVOUR\"; known are",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_NAMES=short",
                "profile \"car\", line 2: unknown names \"short\"; known are exact|portable",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_PLAYLISTS=m3u,pls",
                "profile \"car\", line 2: unknown kind of playlist \"pls\"; known are m3u|xspf",
            ),
            (
                "CONFIG_ENCODER=flac\nhello",
                "profile \"car\", line 2: \"hello\" is no setting",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_FORMAT=mp3",
                "profile \"car\", line 2: unknown format \"mp3\"; flac writes flac|oggflac",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_ENCODER=lame",
                "line 2: CONFIG_ENCODER was already set in line 1",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_REPLAYGAIN=loud",
                "line 2: CONFIG_REPLAYGAIN has no value \"loud\"; known are track|album",
            ),
            (
                "CONFIG_ENCODER=flac\nCONFIG_FLAC=flac",
                "line 2: \"flac\" is not an absolute path",
            ),
            (
                "",
                "profile \"car\": it names no encoder; add a line CONFIG_ENCODER=flac|lame|oggenc|opusenc|wavpack|ffmpeg",
            ),
        ];
        for (text, expected) in cases {
            let message = Profile::parse("car", text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let comment = |length: usize| format!("CONFIG_ENCODER=flac\n#{}", "x".repeat(length - 21));
        assert!(Profile::parse("car", &comment(LONGEST_TEXT)).is_ok());
        let message = Profile::parse("car", &comment(LONGEST_TEXT + 1))
            .unwrap_err()
            .to_string();
        assert_eq!(message, "profile \"car\": it is longer than 32 KiB; shorten it");
    }

    #[test]
    fn names_that_cannot_be_folders_are_refused() {
        for name in ["", "..", ".hidden", "a/b", "a b", "-x", &"x".repeat(65)] {
            assert!(Profile::parse(name, "CONFIG_ENCODER=flac").is_err(), "{name:?}");
        }
    }
}
