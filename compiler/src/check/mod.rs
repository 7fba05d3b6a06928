//! `vibes-compile check`: every problem of a collection, found by the very functions that a build calls before it encodes.

mod findings;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use contract::profile::{Profile, ProfileError};
use indicatif::ProgressBar;

use crate::encode;
use crate::machine;
use crate::names::{Apart, Naming, special};
use crate::playlist::{Playlists, Warning};
use crate::profile::{self, Checked};
use crate::refused::Refused;
use crate::resolve::{Folder, Track};
use crate::rules::{self, Settings};
use crate::standalone::read_profiles;
use crate::tags::Tags;
use findings::{About, Findings, Severity};

/// What the command line says.
#[derive(Debug)]
pub struct Check {
    /// The collection.
    pub collection: PathBuf,
    /// A folder with one file `NAME.config` per profile.
    pub profiles: Option<PathBuf>,
    /// Print the findings as JSON.
    pub json: bool,
}

/// The tags that a track should have.
const EXPECTED: [&str; 4] = ["TITLE", "ARTIST", "ALBUM", "TRACKNUMBER"];

/// What outputs are taken for where no profile is given.
const ANY_PROFILE: &str = "CONFIG_ENCODER=flac";

/// A profile as rules know it.
struct Wanted {
    name: String,
    settings: Settings,
    naming: Naming,
}

/// A folder of the collection.
struct Listed {
    /// Below the collection.
    path: PathBuf,
    /// Names of its files.
    names: BTreeSet<OsString>,
    /// Where its parent is in the list.
    above: Option<usize>,
    /// Names of the folders in it.
    folders: BTreeSet<OsString>,
}

impl Check {
    /// Looks at everything and prints what was found. The exit code tells whether a build would fail somewhere.
    ///
    /// # Errors
    /// The collection or the profiles cannot be listed.
    pub fn run(&self) -> Result<ExitCode> {
        machine::check_readable(&self.collection, "DIR")?;
        let mut findings = Findings::default();
        let profiles = self.check_profiles(&mut findings)?;
        let folders = self.list(&mut findings);
        let files = folders
            .iter()
            .flat_map(|folder| folder.names.iter().map(|name| folder.path.join(name)));
        let portable = Naming::Portable(Apart::of(&files.collect::<Vec<_>>()));
        let wanted: Vec<_> = profiles
            .iter()
            .map(|Checked { profile, version }| Wanted {
                name: profile.name.clone(),
                settings: Settings::new(profile, version, None),
                naming: Naming::of(profile, &portable).clone(),
            })
            .collect();
        findings.extend(self.check_folders(&folders, &wanted));
        self.check_playlists(&profiles, &portable, &mut findings)?;
        if self.profiles.is_none() {
            findings.outputs.clear();
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings.to_json())?);
        } else {
            println!("{findings}");
        }
        let fails = findings.number(Severity::Failure) > 0;
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// The profiles that can be built.
    fn check_profiles(&self, findings: &mut Findings) -> Result<Vec<Checked>> {
        let Some(folder) = &self.profiles else {
            let profile = Profile::parse("any", ANY_PROFILE)?;
            let version = String::new();
            return Ok(vec![Checked { profile, version }]);
        };
        let mut good = Vec::new();
        for (name, text) in read_profiles(folder)? {
            match profile::check(&name, &text, None) {
                Ok(checked) => good.push(checked),
                Err(error) => {
                    let refused = match error.downcast_ref::<ProfileError>() {
                        Some(wrong) => {
                            let line = wrong.line.map(|line| format!("line {line}: ")).unwrap_or_default();
                            Refused::new(format!("{line}{}", wrong.problem), wrong.remedy.clone())
                        }
                        None => Refused::from_error(&error, "see whether its encoder works"),
                    };
                    findings.add(About::Profile, refused.reason, refused.remedy, name);
                }
            }
        }
        Ok(good)
    }

    /// Playlists as the profiles wish them; without profiles, as if one did.
    fn check_playlists(&self, profiles: &[Checked], portable: &Naming, findings: &mut Findings) -> Result<()> {
        let wished = profiles.iter().filter(|checked| !checked.profile.playlists.is_empty());
        if self.profiles.is_some() && wished.clone().count() == 0 {
            return Ok(());
        }
        let found = Playlists::find(&self.collection, None)?;
        let mut warnings = found.warnings.clone();
        for Checked { profile, .. } in wished {
            found.plan(profile, Naming::of(profile, portable), &mut warnings);
        }
        for Warning { origin, refused } in warnings {
            findings.add(About::Playlist, refused.reason, refused.remedy, origin);
        }
        Ok(())
    }

    /// All folders, parents first.
    fn list(&self, findings: &mut Findings) -> Vec<Listed> {
        let mut folders = Vec::new();
        let mut next = vec![(PathBuf::new(), None)];
        while let Some((path, above)) = next.pop() {
            match self.list_one(&path, findings) {
                Ok((names, inner)) => {
                    next.extend(inner.iter().map(|name| (path.join(name), Some(folders.len()))));
                    folders.push(Listed {
                        path,
                        names,
                        above,
                        folders: inner,
                    });
                }
                Err(error) => {
                    let place = path.display().to_string();
                    findings.add(About::Folder, format!("{error:#}"), "make it readable", place);
                }
            }
        }
        folders
    }

    /// The names of the files and of the folders in a folder, without those that tup would obey.
    fn list_one(&self, path: &Path, findings: &mut Findings) -> Result<(BTreeSet<OsString>, BTreeSet<OsString>)> {
        let (mut names, mut folders) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(self.collection.join(path)).context("it cannot be listed")? {
            let entry = entry.context("it cannot be listed")?;
            let name = entry.file_name();
            if let Some(meaning) = special(&name) {
                let place = path.join(&name).display().to_string();
                findings.add(About::LeftOut, meaning, "rename it", place);
                continue;
            }
            let kind = entry.file_type().context("it cannot be listed")?;
            if kind.is_dir() {
                folders.insert(name);
            } else if kind.is_file() || entry.path().is_file() {
                names.insert(name);
            }
        }
        Ok((names, folders))
    }

    /// Looks into all folders, several at a time.
    fn check_folders(&self, folders: &[Listed], wanted: &[Wanted]) -> Findings {
        let bar = ProgressBar::new(folders.len() as u64).with_message("looking into folders");
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut findings = Findings::default();
        thread::scope(|scope| {
            let work = || {
                let mut found = Findings::default();
                while let Some(listed) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.check_folder(folders, listed, wanted, &mut found);
                    bar.inc(1);
                }
                found
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                findings.extend(worker.join().expect("a bug of vibes-compile"));
            }
        });
        bar.finish_and_clear();
        findings
    }

    fn check_folder(&self, folders: &[Listed], listed: &Listed, wanted: &[Wanted], findings: &mut Findings) {
        let nothing = BTreeSet::new();
        let folder = |raw| Folder {
            collection: &self.collection,
            path: &listed.path,
            names: &listed.names,
            folders: &listed.folders,
            names_above: listed.above.map_or(&nothing, |above| &folders[above].names),
            whole: true,
            raw,
        };
        let place = |name: &OsString| listed.path.join(name).display().to_string();
        let mut seen = BTreeSet::new();
        let mut opened: BTreeMap<_, Result<bool, Refused>> = BTreeMap::new();
        let mut bare = BTreeSet::new();
        for Wanted { name, settings, naming } in wanted {
            let folder = folder(settings.raw);
            let mut good = 0;
            for (source, job) in rules::jobs(&folder, settings, naming) {
                if seen.insert(source.clone()) {
                    let kind = Path::new(&source).extension().unwrap_or_default();
                    let kind = kind.to_string_lossy().to_ascii_lowercase();
                    *findings.sources.entry(kind).or_default() += 1;
                }
                // What is inside is the same for every profile.
                let pictured = job.and_then(|(job, _)| match opened.get(&source) {
                    Some(known) => known.clone(),
                    None => {
                        let pictured = self
                            .check_track(&folder, &source, job.track, findings)
                            .map_err(|error| Refused::from_error(&error, "see whether the source plays"));
                        opened.insert(source.clone(), pictured.clone());
                        pictured
                    }
                });
                match pictured {
                    Ok(pictured) => {
                        good += 1;
                        if !pictured {
                            bare.insert(place(&source));
                        }
                    }
                    Err(refused) => findings.add(About::Track, refused.reason, refused.remedy, place(&source)),
                }
            }
            *findings.outputs.entry(name.clone()).or_default() += good;
        }
        for place in bare {
            let remedy = "put a cover.jpg beside the tracks, or embed one";
            findings.add(
                About::Cover,
                "neither in the source nor beside it is a picture",
                remedy,
                place,
            );
        }
    }

    /// Opens a track as a build does. Returns whether it has a picture.
    fn check_track(&self, folder: &Folder<'_>, name: &OsString, track: Track, findings: &mut Findings) -> Result<bool> {
        let below = folder.path.join(name);
        let place = below.display().to_string();
        let said = Track {
            guesses: Tags::default(),
            ..track
        };
        let opened = encode::open(folder.collection, &folder.collection.join(&below), &said)?;
        for warning in said.warnings.into_iter().chain(opened.about_cover) {
            findings.add(
                About::Sidecar,
                warning,
                "correct it, or leave it as it is",
                place.clone(),
            );
        }
        for warning in opened.warnings {
            findings.add(About::Source, warning, "embed them anew", place.clone());
        }
        let absent = |tags: &Tags| {
            EXPECTED
                .into_iter()
                .filter(|name| tags.get(name).is_empty())
                .collect::<Vec<_>>()
        };
        let not_said = absent(&opened.tags);
        let mut all = opened.tags;
        all.fill_from(&track.guesses);
        let missing = absent(&all);
        let guessed: Vec<_> = not_said.into_iter().filter(|name| !missing.contains(name)).collect();
        if !missing.is_empty() {
            let reason = format!("no {}", missing.join(", "));
            findings.add(
                About::Tags,
                reason,
                "add it to a tags.vc or to the source",
                place.clone(),
            );
        }
        if !guessed.is_empty() {
            let remedy = "give them in a tags.vc if that is wrong";
            findings.add(About::Guesses, guessed.join(", "), remedy, place);
        }
        Ok(!opened.pictures.is_empty())
    }
}
