//! A whole build: profiles checked, tup run, outputs reconciled, everything reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use contract::profile::{Names, Profile};
use nix::unistd::User;

use crate::encode::sync;
use crate::index::Index;
use crate::layout::{Layout, VARIANT_PREFIX};
use crate::names::{Apart, Naming, decode, encode as encoded};
use crate::playlist::{self, Planned, Playlists};
use crate::profile::{self, Checked};
use crate::reconcile;
use crate::report::{Counts, Failure, Outcome, Phase, Progress, Report};
use crate::rules::Settings;
use crate::tup::{Ended, Tup};
use crate::turns::{self, Turns};
use crate::{encoder, loudness, survey};

/// A build to do.
#[derive(Debug, Clone)]
pub struct Build {
    /// The sources. The caller has made them visible, read-only, at `work/collection` of `builds`.
    pub collection: PathBuf,
    /// The root of the builds volume, with `work/`, `out/` and `bin/`.
    pub builds: PathBuf,
    /// Name -> text.
    pub profiles: BTreeMap<String, String>,
    /// The user who runs tup and the encoders; none for the current user.
    pub user: Option<String>,
    /// How many tracks are encoded at once; none for one per processor.
    pub jobs: Option<usize>,
    /// The shard of a divided collection that is seen; none for a whole collection.
    pub shard: Option<Shard>,
    /// What tup runs ([`program`]).
    pub program: PathBuf,
}

/// A part of a collection: all its sidecars and some of its audio ([`contract::shard`]).
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its number, from 0.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// All audio of the collection, that of other shards too, below it: what playlists may name, and what portable names
    /// must not collide with.
    pub audio: Vec<PathBuf>,
}

/// tup's rules for every folder: ask the compiler. Whatever the profile says stands in here, so that tup asks again when
/// it changes; `preload ..` lets the folder of a disc look for its album's cover.
const TUPDEFAULT: &str = "\
compiler = @(COMPILER)
preload ..
run exec \"${tup_vardict%%/.tup/*}/../bin/vibes-compile\" rules @(SETTINGS)
";

/// tup and reconcile take turns until they agree; more turns than this mean that outputs vanish while we look.
const ROUNDS: usize = 3;

/// Builds what is missing or outdated, removes what no longer follows from the sources, and reports.
///
/// # Errors
/// Anything that keeps the build as a whole from running: a wrong profile, a missing program, names with a meaning of their own.
/// A track that fails is no error but a line of the report.
pub fn build(build: &Build, progress: &mut dyn FnMut(&Progress), stop: &AtomicBool) -> Result<Report> {
    let user = build.user.as_deref().map(find_user).transpose()?;
    let mut profiles = Vec::new();
    for (name, text) in &build.profiles {
        profiles.push(profile::check(name, text, user.as_ref())?);
    }
    if profiles.is_empty() {
        bail!("there is no profile; add one, such as CONFIG_ENCODER=flac");
    }
    progress(&Progress::default());
    let layout = Layout::new(&build.builds)?;
    let survey = survey::of(&layout.collection())
        .with_context(|| format!("{} has to be visible there", build.collection.display()))?;
    if let Some((path, meaning)) = survey.special.first_key_value() {
        bail!(
            "{} (and {} more) cannot be taken: {meaning}; rename or remove it",
            path.display(),
            survey.special.len() - 1
        );
    }
    let apart = match profiles.iter().any(|checked| checked.profile.names == Names::Portable) {
        true => Apart::of(build.shard.as_ref().map_or(&survey.audio, |shard| &shard.audio)),
        false => Apart::default(),
    };
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    let encoding = build.jobs.unwrap_or_else(processors);
    let mut run = Run {
        tup: Tup {
            work: layout.work(),
            user,
            jobs: encoding * turns::STARTED_PER_TURN,
        },
        layout,
        profiles,
        shard: build.shard.as_ref(),
        program: &build.program,
        stop,
        playlists: None,
        portable: Naming::Portable(apart.clone()),
        report: Report::default(),
        state: Progress::default(),
        changed: false,
        indexes: BTreeMap::new(),
        failed: BTreeMap::new(),
    };
    run.report
        .warnings
        .extend(encoder::missing_confinement().map(str::to_owned));
    run.find_playlists()?;
    let _turns = Turns::give(run.layout.builds(), encoding, run.tup.user.as_ref())?;
    let cut_off = run.begin()?;
    match run.prepare_and_update(&apart, survey.newest, progress) {
        Err(error) if cut_off && !run.stopped() => {
            run.forget_tree()?;
            let warning = "the last build was cut off, and tup cannot go on from what it left, but begins anew; \
                finished outputs stay";
            run.report.warnings.push(format!("{warning} ({error:#})"));
            run.prepare_and_update(&apart, survey.newest, progress)?;
        }
        result => result?,
    }
    if !run.stopped() && !survey.audio.is_empty() && run.has_no_track()? {
        // Somebody let tup look where the collection was not to be seen, and it does not look again.
        run.forget_tree()?;
        run.prepare_and_update(&apart, survey.newest, progress)?;
    }
    for _ in 0..ROUNDS {
        if run.stopped() || run.reconcile(progress)? == 0 {
            return run.finish();
        }
        run.update(progress)?;
    }
    bail!(
        "outputs keep changing while they are looked at; let nothing else write to {}",
        run.layout.out().display()
    )
}

/// A build that runs.
struct Run<'a> {
    layout: Layout,
    tup: Tup,
    profiles: Vec<Checked>,
    shard: Option<&'a Shard>,
    program: &'a Path,
    stop: &'a AtomicBool,
    /// The playlists, if any profile asks for them here.
    playlists: Option<Playlists>,
    /// How profiles with portable names name their outputs.
    portable: Naming,
    report: Report,
    state: Progress,
    /// tup found something to do.
    changed: bool,
    /// What the last build found, by profile.
    indexes: BTreeMap<String, Index>,
    /// The failures of this build, by job.
    failed: BTreeMap<String, Failed>,
}

/// A track that failed.
struct Failed {
    failure: Failure,
    /// Its output, below the profile's outputs.
    output: PathBuf,
}

impl Run<'_> {
    /// Marks the volume as one on which a build has not ended. Returns whether it was marked: a power cut loses what was
    /// not written to the disk, so that tup's database may be older than the files that tup made.
    fn begin(&self) -> Result<bool> {
        let mark = self.layout.unended();
        let marking = || format!("marking {}", mark.display());
        if mark.try_exists().with_context(marking)? {
            return Ok(true);
        }
        fs::write(&mark, "").with_context(marking)?;
        sync(&mark)?;
        sync(self.layout.builds())?;
        Ok(false)
    }

    /// Brings the tree to what is wished for, and lets tup do what follows. `newest` is the newest ctime of the collection.
    fn prepare_and_update(&mut self, apart: &Apart, newest: i64, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
        let newest = self.prepare(apart)?.max(newest);
        self.wait_for_the_clock(newest);
        self.update(progress)
    }

    /// The tup tree and its variants, as the profiles want them. Returns the newest ctime of the files that tup reads.
    fn prepare(&mut self, apart: &Apart) -> Result<i64> {
        for folder in [
            self.layout.work(),
            self.layout.out(),
            self.layout.bin(),
            self.layout.loudness(),
        ] {
            self.make_folder(&folder)?;
        }
        self.tup.init()?;
        link(self.program, &self.layout.bin().join("vibes-compile"))?;
        let mut newest = write_if_different(&self.layout.work().join("Tupdefault"), TUPDEFAULT)?;
        newest = newest.max(write_if_different(&self.layout.apart(), &apart.to_lines())?);
        self.remove_other_profiles()?;
        for Checked { profile, version } in &self.profiles {
            let variant = self.layout.variant(&profile.name);
            self.make_folder(&variant)?;
            self.make_folder(&self.layout.outputs(&profile.name))?;
            let config = tup_config(profile, version, self.shard)?;
            newest = newest.max(write_if_different(&variant.join("tup.config"), &config)?);
            reconcile::unfinished(&self.layout, &profile.name)?;
            if let Some(index) = Index::take(&self.layout, &profile.name)? {
                self.indexes.insert(profile.name.clone(), index);
            }
        }
        Ok(newest)
    }

    /// Makes a folder that belongs to the user who runs tup.
    fn make_folder(&self, path: &Path) -> Result<()> {
        let making = || format!("making {}", path.display());
        fs::create_dir_all(path).with_context(making)?;
        if let Some(user) = &self.tup.user
            && fs::metadata(path).with_context(making)?.uid() != user.uid.as_raw()
        {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).with_context(making)?;
        }
        Ok(())
    }

    /// Removes variants and outputs of profiles that are no more.
    fn remove_other_profiles(&mut self) -> Result<()> {
        for name in folders(&self.layout.work())? {
            if let Some(profile) = name.strip_prefix(VARIANT_PREFIX).filter(|name| !self.wants(name)) {
                remove_folder(&self.layout.variant(profile))?;
            }
        }
        for profile in folders(&self.layout.out())? {
            if self.wants(&profile) {
                continue;
            }
            let outputs = self.layout.outputs(&profile);
            reconcile::visit(&outputs, &mut |path| {
                let below = path
                    .strip_prefix(&outputs)
                    .context("an output outside of its profile")?;
                self.report.removed.push(format!("{profile}/{}", below.display()));
                Ok(())
            })?;
            remove_folder(&outputs)?;
        }
        Ok(())
    }

    /// Looks for playlists if a profile asks for them and no other shard makes them.
    fn find_playlists(&mut self) -> Result<()> {
        let wished = self
            .profiles
            .iter()
            .any(|checked| !checked.profile.playlists.is_empty());
        if wished && self.shard.is_none_or(|shard| shard.number == 0) {
            self.playlists = Some(Playlists::find(&self.layout.collection(), self.shard)?);
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.profiles.iter().any(|checked| checked.profile.name == name)
    }

    /// Waits until the clock's second is later than the newest change: tup's database holds whole seconds, so that a
    /// second change within the second of its walk would never be seen.
    fn wait_for_the_clock(&mut self, newest: i64) {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if newest > now().as_secs().cast_signed() {
            let warning = "a file is newer than the clock; set the clock, or changes may go unseen";
            self.report.warnings.push(warning.to_owned());
        } else if newest == now().as_secs().cast_signed() {
            let rest = Duration::from_secs(1).saturating_sub(Duration::from_nanos(now().subsec_nanos().into()));
            thread::sleep(rest);
        }
    }

    /// Lets tup read the tree and run what has to run.
    fn update(&mut self, progress: &mut dyn FnMut(&Progress)) -> Result<()> {
        let state = &mut self.state;
        state.phase = Phase::Reading { done: 0, total: 0 };
        progress(state);
        self.tup.parse(self.stop, &mut |done, total| {
            self.changed = true;
            state.phase = Phase::Reading { done, total };
            progress(state);
        })?;
        if self.stopped() {
            return Ok(());
        }
        // What tup has read is on the disk before the first stamp: SQLite removes its journal without waiting, and one
        // that comes back with the power takes the reading back.
        sync(&self.layout.work().join(".tup"))?;
        let todo = self.tup.todo(self.stop)?;
        if self.stopped() {
            return Ok(());
        }
        self.changed |= !todo.is_empty();
        let mut state = Progress {
            phase: Phase::Encoding,
            ..Progress::default()
        };
        for checked in &self.profiles {
            state.profiles.insert(checked.profile.name.clone(), Counts::default());
        }
        for job in &todo {
            if let Some(counts) = counts(&mut state, job) {
                counts.total += 1;
            }
        }
        progress(&state);
        self.failed.clear();
        let mut ended = Vec::new();
        let content = self.tup.update(self.stop, &mut |job| {
            if let Some(counts) = counts(&mut state, &job.name).filter(|_| todo.contains(&job.name)) {
                if job.failure.is_none() {
                    counts.done += 1
                } else {
                    counts.failed += 1
                }
                progress(&state);
                ended.push(job);
            }
        })?;
        if !self.stopped() && !content && ended.iter().all(|job| job.failure.is_none()) {
            bail!(
                "tup failed, and no track did; build again, and if it stays, remove {} before: finished outputs stay",
                self.layout.work().display()
            );
        }
        for job in ended {
            self.note(job)?;
        }
        for (name, counts) in &state.profiles {
            let sum = self.report.profiles.entry(name.clone()).or_default();
            sum.total += counts.total;
            sum.done += counts.done;
            sum.failed = counts.failed;
        }
        self.state = state;
        Ok(())
    }

    /// tup knows no track at all, neither a good nor a failing one.
    fn has_no_track(&self) -> Result<bool> {
        for checked in &self.profiles {
            let stamps = self.layout.variant(&checked.profile.name).join("collection");
            if reconcile::holds_a_stamp(&stamps)? {
                return Ok(false);
            }
        }
        Ok(self.failed.is_empty())
    }

    /// Takes away all that tup knows. The outputs stay: who encodes finds them finished.
    fn forget_tree(&mut self) -> Result<()> {
        self.indexes.clear();
        for name in folders(&self.layout.work())? {
            if name == ".tup" || name.starts_with(VARIANT_PREFIX) {
                remove_folder(&self.layout.work().join(name))?;
            }
        }
        Ok(())
    }

    /// Puts a job into the report.
    fn note(&mut self, job: Ended) -> Result<()> {
        let (profile, source) = job.name.split_once('/').context("a job without a profile")?;
        let source = PathBuf::from(decode(source)?);
        let checked = self.profiles.iter().find(|checked| checked.profile.name == profile);
        let checked = &checked.context("a job of no profile")?.profile;
        let naming = Naming::of(checked, &self.portable);
        let folder = source.parent().unwrap_or(Path::new(""));
        let name = source.file_name().context("a job without a source")?;
        let output = naming.of_source(folder, name, checked.format.extension);
        match job.failure {
            None if job.finished_before => {}
            None => self.report.built.push(format!("{profile}/{}", output.display())),
            // A job that was interrupted with tup has not failed.
            Some(_) if self.stopped() => {}
            Some(refused) => {
                let failure = Failure {
                    source: source.display().to_string(),
                    profile: profile.to_owned(),
                    reason: refused.reason,
                    remedy: refused.remedy,
                };
                self.failed.insert(job.name, Failed { failure, output });
            }
        }
        Ok(())
    }

    /// Makes outputs and stamps agree; returns how many things stood in the way and are gone, so that tup has to try
    /// again: stamps without their output, and outputs where now another one belongs.
    fn reconcile(&mut self, progress: &mut dyn FnMut(&Progress)) -> Result<usize> {
        self.state.phase = Phase::Comparing;
        progress(&self.state);
        let (mut stale, mut warnings, mut about_sidecars) = (0, Vec::new(), BTreeSet::new());
        self.report.outputs.clear();
        for checked in &self.profiles {
            let name = &checked.profile.name;
            let playlists = self.playlists.as_ref().map_or(Planned::new(), |found| {
                found.plan(
                    &checked.profile,
                    Naming::of(&checked.profile, &self.portable),
                    &mut BTreeSet::new(),
                )
            });
            if !self.changed
                && let Some(index) = self.indexes.get(name)
                && let Some(number) = index.found_in(&self.layout.outputs(name), &playlists)?
            {
                self.report.outputs.insert(name.clone(), number);
                warnings.extend_from_slice(&index.warnings);
                about_sidecars.extend(index.about_sidecars.iter().cloned());
                Index::put_back(&self.layout, name)?;
                continue;
            }
            let of_profile = self.failed.values().filter(|failed| failed.failure.profile == *name);
            let failed: BTreeSet<PathBuf> = of_profile.map(|failed| failed.output.clone()).collect();
            let reconciled = reconcile::profile(&self.layout, name, &failed, &playlists)?;
            stale += reconciled.stale + reconciled.in_the_way;
            if reconciled.stale == 0 && failed.is_empty() {
                Index::of(&reconciled).keep(&self.layout, name)?;
            }
            let removed = reconciled
                .removed
                .iter()
                .map(|path| format!("{name}/{}", path.display()));
            self.report.removed.extend(removed);
            self.report.outputs.insert(name.clone(), reconciled.good.len() as u64);
            warnings.extend(reconciled.warnings);
            about_sidecars.extend(reconciled.about_sidecars);
        }
        if stale == 0 {
            self.report.warnings.extend(warnings);
            self.report.warnings.extend(about_sidecars);
            self.write_playlists()?;
        }
        Ok(stale)
    }

    /// Writes the playlists, now that the outputs are there. One that cannot be written is a warning.
    fn write_playlists(&mut self) -> Result<()> {
        let Some(found) = self.playlists.take() else {
            return Ok(());
        };
        let (mut written, mut unwritten, mut warnings) = (Vec::new(), Vec::new(), found.warnings.clone());
        for Checked { profile, .. } in &self.profiles {
            let (outputs, naming) = (self.layout.outputs(&profile.name), Naming::of(profile, &self.portable));
            for (output, plan) in &found.plan(profile, naming, &mut warnings) {
                let Some(bytes) = found.bytes((output, plan), &outputs, profile, naming, &mut warnings)? else {
                    continue;
                };
                let mut folders: Vec<_> = output.ancestors().skip(1).collect();
                folders.reverse();
                let made = folders
                    .iter()
                    .try_for_each(|folder| self.make_folder(&outputs.join(folder)));
                let named = format!("{}/{}", profile.name, output.display());
                match made.and_then(|()| playlist::write(&outputs, output, &bytes)) {
                    Ok(true) => written.push(named),
                    Ok(false) => {}
                    Err(error) => unwritten.push(format!("{named} is not written: {error:#}")),
                }
            }
        }
        self.report.built.extend(written);
        self.report.warnings.extend(warnings.iter().map(ToString::to_string));
        self.report.warnings.extend(unwritten);
        Ok(())
    }

    /// The report with its outcome.
    fn finish(mut self) -> Result<Report> {
        self.report.failed = std::mem::take(&mut self.failed)
            .into_values()
            .map(|failed| failed.failure)
            .collect();
        self.report.built.sort();
        self.report.removed.sort();
        loudness::forget_gone(&self.layout.loudness(), &self.layout.collection())?;
        let mark = self.layout.unended();
        fs::remove_file(&mark).with_context(|| format!("removing {}", mark.display()))?;
        let good: u64 = self.report.outputs.values().sum();
        let failed = self.report.failed.len() as u64;
        if self.stopped() {
            for checked in &self.profiles {
                reconcile::unfinished(&self.layout, &checked.profile.name)?;
            }
            self.report.outcome = Outcome::Interrupted;
        } else if failed > good {
            self.report.outcome = Outcome::Failed;
            let first = &self.report.failed[0];
            self.report.reason = Some(format!(
                "{failed} tracks failed and {good} are good; the first: {} ({}): {}; {}",
                first.source, first.profile, first.reason, first.remedy
            ));
        } else if good + failed == 0 {
            self.report
                .warnings
                .push("the collection holds no track to encode".to_owned());
        }
        Ok(self.report)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The counts of a job's profile.
fn counts<'a>(progress: &'a mut Progress, job: &str) -> Option<&'a mut Counts> {
    progress.profiles.get_mut(job.split_once('/')?.0)
}

/// What tup knows of a profile. tup reads a rule again when a value in it changes.
fn tup_config(profile: &Profile, version: &str, shard: Option<&Shard>) -> Result<String> {
    let shard = shard.map(|shard| (shard.number, shard.of));
    let settings = Settings::new(profile, version, shard).to_argument()?;
    Ok(format!(
        "CONFIG_COMPILER={}\nCONFIG_SETTINGS={settings}\n",
        encoded(env!("CARGO_PKG_VERSION"))
    ))
}

/// `vibes-compile`: this program, or the one beside it, or the one on the path. To be asked before [`crate::view::enter`]: a
/// program that does not lie on the file system of `/` has no path in another mount namespace.
///
/// # Errors
/// It is nowhere there.
pub fn program() -> Result<PathBuf> {
    const NAME: &str = "vibes-compile";
    let this = std::env::current_exe().context("finding this program")?;
    let beside = this.with_file_name(NAME);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::iter::once(beside).chain(std::env::split_paths(&on_path).map(|folder| folder.join(NAME)));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!(
                "{NAME} is neither beside {} nor on the path; install it",
                this.display()
            )
        })
}

fn link(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, link),
    }
    .with_context(|| format!("linking {} to {}", link.display(), target.display()))
}

/// Writes a file and returns its ctime. An equal file is left alone: tup would read every folder again. It is on the disk
/// before tup reads it: one that a power cut emptied would be written again, and tup gives up a tree whose stamps are
/// there before it has read the folders again.
fn write_if_different(path: &Path, text: &str) -> Result<i64> {
    let writing = || format!("writing {}", path.display());
    if !fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        fs::write(path, text).with_context(writing)?;
        sync(path)?;
        sync(path.parent().context("a file needs a folder")?)?;
    }
    Ok(fs::metadata(path).with_context(writing)?.ctime())
}

/// The names of the folders in a folder.
fn folders(path: &Path) -> Result<Vec<String>> {
    let listing = || format!("listing {}", path.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(path).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        if entry.file_type().with_context(listing)?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

fn remove_folder(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))
}

fn find_user(name: &str) -> Result<User> {
    let user = User::from_name(name).with_context(|| format!("looking up user {name:?}"))?;
    user.with_context(|| format!("there is no user {name:?}; create it, or name another"))
}
