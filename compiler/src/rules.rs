//! `vibes-compile rules`: the tup rules of one folder and profile, printed for tup.
//!
//! A rule is `: |> ^ NAME^ COMMAND |> STAMP`. It declares no input, because tup sees what the command reads, and the
//! stamp as its only output. Whatever is wrong with a track becomes a rule that fails with the reason: tup would
//! give up the whole tree for one rule that it cannot read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use contract::profile::{Names, Profile, ReplayGain};
use contract::raw::Raw;
use contract::shard;
use serde::{Deserialize, Serialize};

use crate::command::{Gain, Job};
use crate::layout::Place;
use crate::loudness::Part;
use crate::names::{self, Apart, Naming, decode, encode};
use crate::refused::Refused;
use crate::resolve::{self, Folder, Track};

/// The longest command of a track, in bytes. Linux refuses arguments beyond 128 KiB, and the whole command is one.
pub(crate) const LONGEST_COMMAND: usize = 32 << 10;

/// How a rule starts this program again: relative to the tup tree, so that a moved volume encodes nothing again. `%%`
/// is how tup writes `%`.
pub(crate) const PROGRAM: &str = "exec \"${tup_vardict%%/.tup/*}/../bin/vibes-compile\"";

/// What rules need to know of a profile, on its way through tup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The encoder's name.
    pub(crate) encoder: String,
    /// What the encoder says of itself.
    pub(crate) version: String,
    /// The encoder's binary, if not the one on the path.
    pub(crate) program: Option<String>,
    /// The encoder's flags.
    pub(crate) flags: Vec<String>,
    /// The format's name.
    pub(crate) format: String,
    /// The outputs' extension.
    pub(crate) extension: String,
    /// Which gains the outputs are tagged with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay_gain: Option<ReplayGain>,
    /// Outputs have portable names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) portable: bool,
    /// The shard that is compiled, and how many there are; none for a whole collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<(u32, u32)>,
    /// What `.raw` files hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raw: Option<Raw>,
}

impl Settings {
    /// The settings of a profile whose encoder says this of itself, for a shard or the whole collection.
    pub(crate) fn new(profile: &Profile, version: &str, shard: Option<(u32, u32)>) -> Settings {
        Settings {
            encoder: profile.encoder.name.to_owned(),
            version: version.to_owned(),
            program: profile.program.clone(),
            flags: profile.flags.clone(),
            format: profile.format.name.to_owned(),
            extension: profile.format.extension.to_owned(),
            replay_gain: profile.replay_gain,
            portable: profile.names == Names::Portable,
            shard,
            raw: profile.raw,
        }
    }

    /// Whether the audio of this folder (below the collection) is here, and not on another shard.
    fn has_audio_of(&self, folder: &Path) -> bool {
        self.shard
            .is_none_or(|(shard, shards)| shard::of_audio(&folder.join("x").to_string_lossy(), shards) == shard)
    }

    /// The settings as one argument, made of characters that mean nothing to tup and to a shell.
    pub(crate) fn to_argument(&self) -> Result<String> {
        Ok(encode(serde_json::to_string(self).context("writing settings")?))
    }

    /// Reads what [`Settings::to_argument`] wrote.
    ///
    /// # Errors
    /// The argument is of another version.
    pub(crate) fn from_argument(argument: &str) -> Result<Settings> {
        serde_json::from_slice(decode(argument)?.as_bytes()).with_context(|| format!("{argument:?} is no settings"))
    }
}

/// The rules of the folder for which tup started this process.
///
/// # Errors
/// The folder cannot be listed, or tup did not start this process.
pub(crate) fn of_this_folder(settings: &Settings) -> Result<String> {
    let place = Place::of_this_process()?;
    let Some(path) = place.folder.as_deref() else {
        return Ok(String::new());
    };
    let (names, folders) = files_and_folders()?;
    let names_above = if path.as_os_str().is_empty() {
        BTreeSet::new()
    } else {
        names_above()?
    };
    let collection = place.collection();
    let folder = Folder {
        collection: &collection,
        path,
        names: &names,
        folders: &folders,
        names_above: &names_above,
        whole: settings.has_audio_of(path),
        raw: settings.raw,
    };
    Ok(of_folder(&folder, &place.profile, settings, &naming(&place, settings)?))
}

/// How the profile names its outputs.
fn naming(place: &Place, settings: &Settings) -> Result<Naming> {
    if !settings.portable {
        return Ok(Naming::Exact);
    }
    let path = place.layout.apart();
    let reading = || format!("reading {}", path.display());
    let lines = fs::read_to_string(&path).with_context(reading)?;
    Ok(Naming::Portable(Apart::from_lines(&lines).with_context(reading)?))
}

/// The rules of a folder.
pub(crate) fn of_folder(folder: &Folder<'_>, profile: &str, settings: &Settings, naming: &Naming) -> String {
    let mut rules = String::new();
    for (source, job) in jobs(folder, settings, naming) {
        let command = match job {
            Ok((_, arguments)) => format!("encode {arguments}"),
            Err(refused) => refuse(&source, &refused),
        };
        let name = encode(Path::new(profile).join(folder.path).join(&source));
        let stamp = names::stamp(&source);
        writeln!(rules, ": |> ^ {NAME_PREFIX}{name}^ {PROGRAM} {command} |> {stamp}")
            .expect("writing to a string cannot fail");
    }
    rules
}

/// The jobs of a folder by their source, with their arguments; those that cannot be built, with the reason.
pub(crate) fn jobs(
    folder: &Folder<'_>,
    settings: &Settings,
    naming: &Naming,
) -> BTreeMap<OsString, Result<(Job, String), Refused>> {
    let mut tracks = resolve::tracks(folder, &settings.extension, naming);
    let gain = settings.replay_gain.map(|wished| match wished {
        ReplayGain::Track => Gain::Track,
        ReplayGain::Album => album_gain(folder, &mut tracks),
    });
    let mut jobs = BTreeMap::new();
    for (source, track) in tracks {
        let job = track.and_then(|track| {
            let job = Job {
                encoder: settings.encoder.clone(),
                version: settings.version.clone(),
                program: settings.program.clone(),
                flags: settings.flags.clone(),
                format: settings.format.clone(),
                extension: settings.extension.clone(),
                gain: gain.clone(),
                output: (*naming != Naming::Exact).then(|| naming.of_source(folder.path, &source, &settings.extension)),
                source: source.clone(),
                track,
            };
            let arguments = job.to_arguments().join(" ");
            match arguments.len() {
                ..=LONGEST_COMMAND => Ok((job, arguments)),
                length => Err(Refused::new(
                    format!("its command takes {length} bytes, and {LONGEST_COMMAND} is the limit"),
                    "shorten the tags in its sidecars",
                )),
            }
        });
        jobs.insert(source, job);
    }
    jobs
}

/// The gain of tracks that are an album. Every command names all of them; where that is too much, each has its own gain, with
/// a warning.
fn album_gain(folder: &Folder<'_>, tracks: &mut BTreeMap<OsString, Result<Track, Refused>>) -> Gain {
    let good = tracks
        .iter()
        .filter_map(|(source, track)| Some((source, track.as_ref().ok()?)));
    let parts: Vec<_> = good
        .map(|(source, track)| Part {
            source: source.clone(),
            trim: track.trim,
            raw: track.raw,
        })
        .collect();
    let arguments = parts.iter().map(|part| "album= ".len() + encode(part.to_text()).len());
    // The rest is for the tags.
    if arguments.sum::<usize>() <= LONGEST_COMMAND / 2 {
        return Gain::Album(parts);
    }
    let warning = format!(
        "{}: its {} tracks are too many for the gain of an album, each has its own alone",
        Path::new(".").join(folder.path).display(),
        parts.len()
    );
    for track in tracks.values_mut().flatten() {
        track.warnings.push(warning.clone());
    }
    Gain::Track
}

/// What the name of a rule begins with; the rest is `PROFILE/SOURCE`, encoded.
pub(crate) const NAME_PREFIX: &str = "vibes/";

/// The command of a track that cannot be built. It names the source, because tup wants every command of a folder to be
/// another one.
fn refuse(source: &OsStr, refused: &Refused) -> String {
    // A reason may quote any sidecar line; it must not be what makes the command too long.
    let short = |text: &str| encode(text.chars().take(1000).collect::<String>());
    let (reason, remedy) = (short(&refused.reason), short(&refused.remedy));
    format!("refuse reason={reason} remedy={remedy} source={}", encode(source))
}

/// The names of the files and of the folders in the folder itself.
fn files_and_folders() -> Result<(BTreeSet<OsString>, BTreeSet<OsString>)> {
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(".").context("listing this folder")? {
        let entry = entry.context("listing this folder")?;
        if entry.path().is_file() {
            files.insert(entry.file_name());
        } else if entry.path().is_dir() {
            folders.insert(entry.file_name());
        }
    }
    Ok((files, folders))
}

/// The names in the folder above. tup shows stamps among them and gives up when a rule looks at one, so nothing but the
/// names is read.
fn names_above() -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir("..").context("listing the folder above")?;
    entries
        .map(|entry| Ok(entry.context("listing the folder above")?.file_name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            encoder: "flac".to_owned(),
            version: "flac 1.4.2".to_owned(),
            program: None,
            flags: vec!["--best".to_owned()],
            format: "flac".to_owned(),
            extension: "flac".to_owned(),
            replay_gain: None,
            portable: false,
            shard: None,
            raw: None,
        }
    }

    static NONE: BTreeSet<OsString> = BTreeSet::new();

    /// A folder with these files and nothing around it.
    fn folder<'a>(collection: &'a Path, path: &'a str, names: &'a BTreeSet<OsString>) -> Folder<'a> {
        Folder {
            collection,
            path: Path::new(path),
            names,
            folders: &NONE,
            names_above: &NONE,
            whole: true,
            raw: None,
        }
    }

    fn rules_of(collection: &Path, path: &str, names: &[&str]) -> String {
        let names = names.iter().map(OsString::from).collect();
        let folder = folder(collection, path, &names);
        of_folder(&folder, "home", &settings(), &Naming::Exact)
    }

    #[test]
    fn settings_survive_their_way_through_tup() {
        let mut given = settings();
        given.flags = vec!["--tag=a b".to_owned(), "$(x) @(y) %f 久石".to_owned()];
        let argument = given.to_argument().unwrap();
        assert!(
            argument
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"=_/+,@.-".contains(&b))
        );
        assert_eq!(Settings::from_argument(&argument).unwrap(), given);
    }

    #[test]
    fn no_name_can_break_a_rule() {
        let hostile = "|> ^x^ $(y) @(z) &(w) %f %o {b} <g> [a] \"q\" 'p' \\ \n ;.wav";
        let rules = rules_of(Path::new("/nowhere"), "a |> b", &[hostile]);
        assert_eq!(rules.lines().count(), 1);
        assert_eq!(rules.matches("|>").count(), 2);
        let rest = rules.replace(PROGRAM, "");
        assert!(
            !rest.contains(['$', '%', '&', '"', '\'', '{', '[', '<', '\\', ';']),
            "{rest}"
        );
    }

    #[test]
    fn a_broken_sidecar_fails_the_tracks_below_it_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("bad")).unwrap();
        fs::write(root.path().join("bad/tags.vc"), "nonsense").unwrap();
        let rules = rules_of(root.path(), "bad", &["1.wav"]);
        assert!(
            rules.contains("refuse reason=bad/tags=2Evc") || rules.contains("refuse reason=bad/tags.vc"),
            "{rules}"
        );
        assert!(rules_of(root.path(), "", &["1.wav"]).contains("encode job=1"));
    }

    #[test]
    fn an_album_of_too_many_tracks_has_the_gain_of_each_track() {
        let names: BTreeSet<_> = (0..700)
            .map(|n| OsString::from(format!("{n:03} - a song.wav")))
            .collect();
        let folder = folder(Path::new("/nowhere"), "singles", &names);
        let mut settings = settings();
        settings.replay_gain = Some(ReplayGain::Album);
        let jobs = jobs(&folder, &settings, &Naming::Exact);
        assert_eq!(jobs.len(), 700);
        for job in jobs.into_values() {
            let (job, _) = job.unwrap();
            assert_eq!(job.gain, Some(Gain::Track));
            assert!(job.track.warnings[0].starts_with("./singles: its 700 tracks are too many"));
        }
    }

    #[test]
    fn tags_beyond_the_limit_are_that_tracks_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("1.tags.vc"),
            format!("LYRICS={}", "la ".repeat(20_000)),
        )
        .unwrap();
        let rules = rules_of(root.path(), "", &["1.wav", "1.tags.vc", "2.wav"]);
        let lines: Vec<_> = rules.lines().collect();
        assert!(lines[0].contains(" refuse reason=its=20command=20take"), "{}", lines[0]);
        assert!(lines[1].contains(" encode "), "{}", lines[1]);
    }
}
