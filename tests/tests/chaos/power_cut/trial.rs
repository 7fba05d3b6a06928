//! Builds that are cut, and what becomes of the cuts.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::libc::dev_t;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;
use tests::world::program;

use super::disk::{Device, Disk, Mounted, Store, own_mounts, run};
use super::goal::{Goal, outputs};

/// Where everything lies, in mounts of this test's own: tup runs as nobody, who has to reach it.
const ROOT: &str = "/mnt";
/// Where each thread mounts the volume that it works on, as a worker always does at one place: tup reads everything again
/// for another home.
pub(crate) const BUILDS: &str = "/mnt/builds";
/// What the name of an output begins with until it is whole.
const UNFINISHED: &str = ".vibes-unfinished-";
/// A first cut of a first build comes within this time, to meet the making of the file system and of tup's tree.
const SOON: Duration = Duration::from_millis(400);

/// What a build begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// A blank volume.
    Blank,
    /// What a cut of such a build left.
    BlankCut,
    /// The volume of a whole build, and changed sources and profiles.
    Changed,
    /// What a cut of such a build left.
    ChangedCut,
}

impl Begin {
    /// In this order each cut comes before the build that resumes it.
    pub(crate) const ALL: [Begin; 4] = [Begin::Blank, Begin::BlankCut, Begin::Changed, Begin::ChangedCut];

    /// Whether it begins with a cut of the build before.
    pub(crate) fn resumes(self) -> bool {
        matches!(self, Begin::BlankCut | Begin::ChangedCut)
    }

    /// Whether the attempt takes the volume for blank, as a second one still does.
    fn is_blank(self) -> bool {
        matches!(self, Begin::Blank | Begin::BlankCut)
    }
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Begin::Blank => "of first builds",
            Begin::BlankCut => "of resumed ones",
            Begin::Changed => "of incremental ones",
            Begin::ChangedCut => "of resumed incremental ones",
        })
    }
}

/// A volume as a power cut left it.
pub(crate) struct Cut {
    name: String,
    image: PathBuf,
    begin: Begin,
    disk: Disk,
    /// Digests of the outputs whose stamps lay in their places before the cut.
    finished: BTreeSet<String>,
}

/// What was found of a cut.
pub(crate) struct Examined {
    pub(crate) begin: Begin,
    pub(crate) disk: Disk,
    /// Outputs of the release that were finished before the cut.
    pub(crate) finished: usize,
    /// Outputs that were encoded to resume the build.
    pub(crate) encoded: usize,
    /// tup had to begin anew.
    pub(crate) anew: bool,
    /// What must not be.
    pub(crate) problems: Vec<String>,
}

/// Everything that builds are cut with.
pub(crate) struct Trial {
    store: Store,
    first: Goal,
    changed: Goal,
    /// The volume of an undisturbed build of the second goal's sources and profiles before they were changed.
    base: PathBuf,
}

impl Trial {
    /// Makes sources, profiles and a store in memory, and builds without disturbance.
    pub(crate) fn prepare() -> Result<Trial> {
        own_mounts()?;
        let root = Path::new(ROOT);
        mount(None::<&str>, root, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        fs::copy(program("vibes-compile"), root.join("vibes-compile"))?;
        open_to_everybody("/dev/fuse", makedev(10, 229), &root.join("fuse"))?;
        let store = Store::make(root, &root.join("store"))?;
        let mut first = Goal::new(&store.folder("first"))?;
        let mut changed = Goal::new(&store.folder("changed"))?;
        let base = store.blank("base")?;
        changed.build_undisturbed(&base, true)?;
        (first.outputs, first.took) = (changed.outputs.clone(), changed.took);
        changed.change()?;
        changed.build_undisturbed(&store.clone(&base, "undisturbed")?, false)?;
        Ok(Trial {
            store,
            first,
            changed,
            base,
        })
    }

    /// Keeps the store for people, and says where: it would vanish with this program.
    pub(crate) fn keep(&self) -> Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix("vibes-power-cut-").tempdir()?.keep();
        self.store.copy_to(&folder.join("store.xfs"))?;
        Ok(folder)
    }

    fn goal(&self, begin: Begin) -> &Goal {
        match begin {
            Begin::Blank | Begin::BlankCut => &self.first,
            Begin::Changed | Begin::ChangedCut => &self.changed,
        }
    }

    /// Builds, and cuts the power at random moments; the build itself goes on and has to end well. `last` is a cut of
    /// the build before.
    pub(crate) fn build_and_cut(
        &self,
        build: usize,
        (begin, disk): (Begin, Disk),
        last: Option<Cut>,
        cuts: usize,
        chance: &mut fastrand::Rng,
    ) -> Result<Vec<Cut>> {
        let name = format!("build-{build}");
        let image = match begin {
            Begin::Blank => self.store.blank(&name)?,
            Begin::Changed => self.store.clone(&self.base, &name)?,
            Begin::BlankCut | Begin::ChangedCut => {
                let last = last.as_ref().context("no cut was left to be resumed")?;
                self.store.clone(&last.image, &name)?
            }
        };
        last.map_or(Ok(()), |last| fs::remove_file(last.image))?;
        let (goal, at, over) = (self.goal(begin), Path::new(BUILDS), &AtomicBool::new(false));
        let image = image.as_path();
        let take = |number: usize| -> Result<Cut> {
            Ok(Cut {
                finished: stamped(at),
                image: self.store.clone(image, &format!("{name}-cut-{number}"))?,
                name: format!("cut {number} of build {build} ({begin:?}, {disk:?})"),
                begin,
                disk,
            })
        };
        let building = || -> Result<Vec<Cut>> {
            own_mounts()?;
            let device = Device::attach(image, disk)?;
            let cache = device.cache()?;
            let (mut when, mut what) = (chance.fork(), chance.fork());
            // What these threads start sees the mounts of this one.
            thread::scope(|scope| {
                let destager = scope.spawn(move || cache.destage(&mut what, over));
                let cutter = scope.spawn(move || {
                    let mean = goal.took / cuts as u32;
                    let soon = if begin == Begin::Blank { SOON } else { 2 * mean };
                    let mut taken = Vec::new();
                    while taken.len() < cuts {
                        let longest = if taken.is_empty() { soon } else { 2 * mean };
                        if sleep_unless(over, longest.mul_f64(when.f64())) {
                            break;
                        }
                        taken.push(take(taken.len() + 1)?);
                    }
                    Ok(taken)
                });
                let built = whole_build(goal, device, begin, at);
                over.store(true, Ordering::Relaxed);
                destager.join().expect("it does not panic")?;
                let cuts = cutter.join().expect("it does not panic");
                built.with_context(|| format!("build {build} ({begin:?}, {disk:?})"))?;
                cuts
            })
        };
        let cuts = thread::scope(|scope| scope.spawn(building).join().expect("it does not panic"))?;
        fs::remove_file(image)?;
        Ok(cuts)
    }

    /// Forgets all cuts but one.
    pub(crate) fn keep_one(&self, mut cuts: Vec<Cut>, chance: &mut fastrand::Rng) -> Result<Option<Cut>> {
        if cuts.is_empty() {
            return Ok(None);
        }
        let kept = cuts.swap_remove(chance.usize(..cuts.len()));
        cuts.iter().try_for_each(|cut| fs::remove_file(&cut.image))?;
        Ok(Some(kept))
    }

    /// Looks at what a cut left, and resumes its build. What it left is kept if there is a problem.
    pub(crate) fn examine(&self, cut: &Cut) -> Result<Examined> {
        let name = cut.image.file_name().context("a cut without a name")?.to_string_lossy();
        let image = self.store.clone(&cut.image, &format!("{name}-resumed"))?;
        let mut found = Examined {
            begin: cut.begin,
            disk: cut.disk,
            finished: 0,
            encoded: 0,
            anew: false,
            problems: Vec::new(),
        };
        if let Err(error) = self.resume(cut, &image, &mut found) {
            found.problems.push(format!("{error:#}"));
        }
        if found.problems.is_empty() {
            fs::remove_file(image)?;
        } else {
            self.store.clone(&cut.image, &format!("{name}-kept"))?;
        }
        for problem in &mut found.problems {
            *problem = format!("{}: {problem}", cut.name);
        }
        Ok(found)
    }

    fn resume(&self, cut: &Cut, image: &Path, found: &mut Examined) -> Result<()> {
        let goal = self.goal(cut.begin);
        let at = Path::new(BUILDS);
        let device = Device::attach(image, Disk::WrittenThrough)?;
        let volume = Mounted::open(device, cut.begin.is_blank(), at)?;
        check_database(&at.join("work/.tup"))?;

        let mut kept = BTreeSet::new();
        for (output, digest) in outputs(at)? {
            let is_of = |goal: &Goal| goal.outputs.get(&output) == Some(&digest);
            if is_of(goal) {
                kept.insert(output);
            } else if !is_of(&self.first) && !output.contains(UNFINISHED) {
                found.problems.push(format!("{output} was there and not whole"));
            }
        }
        let of_release = goal.outputs.iter().filter(|(_, digest)| cut.finished.contains(*digest));
        for (output, _) in of_release {
            found.finished += 1;
            if !kept.contains(output) {
                found.problems.push(format!("{output} had been finished and was lost"));
            }
        }

        let report = goal.build(at)?;
        if outputs(at)? != goal.outputs {
            found.problems.push(format!("another release: {:?}", outputs(at)?));
        }
        found.anew = strings(&report["warnings"])
            .iter()
            .any(|warning| warning.contains("begins anew"));
        let built = strings(&report["built"]);
        found.encoded = built.len();
        let again: Vec<_> = built.intersection(&kept).collect();
        if !again.is_empty() {
            found.problems.push(format!("encoded again: {again:?}"));
        }
        let report = goal.build(at)?;
        let (built, removed) = (strings(&report["built"]), strings(&report["removed"]));
        if !built.is_empty() || !removed.is_empty() {
            found
                .problems
                .push(format!("the next build still built {built:?} and removed {removed:?}"));
        }
        volume.close()
    }
}

/// Shows a device that every user may open, as on an instance.
fn open_to_everybody(device: &str, number: dev_t, made: &Path) -> Result<()> {
    mknod(made, SFlag::S_IFCHR, Mode::empty(), number)?;
    fs::set_permissions(made, fs::Permissions::from_mode(0o666))?;
    Ok(mount(Some(made), device, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// A build from opening the volume to closing it.
fn whole_build(goal: &Goal, device: Device, begin: Begin, at: &Path) -> Result<()> {
    let volume = Mounted::open(device, begin.is_blank(), at)?;
    goal.build(at)?;
    let outputs = outputs(at)?;
    ensure!(outputs == goal.outputs, "it made something else: {outputs:?}");
    volume.close()
}

/// Sleeps; returns true as soon as it is over.
fn sleep_unless(over: &AtomicBool, long: Duration) -> bool {
    let end = Instant::now() + long;
    while !over.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(left.min(Duration::from_millis(5)));
    }
    true
}

/// Digests of the outputs that stamps tell of, while a build runs: what comes and goes meanwhile is none.
fn stamped(builds: &Path) -> BTreeSet<String> {
    let mut digests = BTreeSet::new();
    let mut folders = vec![builds.join("work")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // The collection has no stamps, and tup's own folder has those of jobs that have not ended.
            let passed = ["collection", ".tup"].map(|name| builds.join("work").join(name));
            if path.is_dir() && !passed.contains(&path) {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "vibes-stamp") {
                let stamp = fs::read(&path).ok();
                let stamp = stamp.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
                digests.extend(stamp.and_then(|stamp| stamp["sha256"].as_str().map(str::to_owned)));
            }
        }
    }
    digests
}

/// tup's database is whole, after what tup itself would take back; looked at in a copy.
fn check_database(tup: &Path) -> Result<()> {
    if !tup.join("db").exists() {
        return Ok(());
    }
    let copy = tempfile::tempdir()?;
    for file in ["db", "db-journal"] {
        if tup.join(file).exists() {
            fs::copy(tup.join(file), copy.path().join(file))?;
        }
    }
    let said = run(
        "sqlite3",
        [copy.path().join("db").as_os_str(), "PRAGMA integrity_check".as_ref()],
    )?;
    ensure!(said.trim() == "ok", "tup's database is damaged: {said}");
    Ok(())
}

fn strings(list: &Value) -> BTreeSet<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
