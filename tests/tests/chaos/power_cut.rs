//! Power cuts: what a disk holds at random moments of a running build, resumed to the release of a build that nobody disturbed.
//!
//! A builds volume is a file in an XFS in memory, on a loop device, with the file system and the mount options of the agent, whose
//! functions open and close it. A cut is a clone of that file (FICLONE). XFS locks the file for writing, writes back what is cached
//! of it and shares its blocks before it lets the next write in: the clone holds every write that the device had taken by then
//! and none later. What is in the page cache of the volume's own file system is not in it, as after a power cut. A request that
//! is just being carried out may be there in part, as on a disk.
//!
//! Three kinds of disk ([`Disk`]). One keeps whatever it has acknowledged, in order. The other two have a volatile cache: the
//! volume lies on a loop device on a loop device, and what the upper one writes stays in the page cache of the lower one until a
//! flush; a clone of the file behind loses what was not flushed. The third also writes parts of its cache in any order, so
//! that later writes survive and earlier ones do not.
//!
//! A seed repeats what is built on what disk, and the waits between cuts; what a build is doing at that moment depends on the machine.
//!
//! Not covered: a disk that lies about flushes or loses what it has flushed, sectors torn within a page, the sources volume.

mod disk;
mod goal;
mod trial;

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use disk::Disk;
use trial::{Begin, Cut, Examined, Trial};

/// How many cuts `make test` tries.
const FEW: u64 = 8;
/// At least so many cuts of one build; more, so that there are about [`BUILDS`] builds.
const LEAST_PER_BUILD: usize = 2;
/// How many builds are cut when there are many cuts: each way to begin on each disk, twice.
const BUILDS: usize = 2 * Begin::ALL.len() * Disk::ALL.len();
/// Cuts that are examined side by side.
const SIDE_BY_SIDE: usize = 2;

#[test]
fn a_build_that_lost_its_power_is_resumed_to_the_same_release() -> Result<()> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let wanted = number("VIBES_POWER_CUTS")?.unwrap_or(FEW) as usize;
    let seed = number("VIBES_CHAOS_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    println!("power cuts: VIBES_CHAOS_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let trial = Trial::prepare()?;
    let per_build = wanted.div_ceil(BUILDS).max(LEAST_PER_BUILD);
    let began = Instant::now();
    let (mut all, mut builds, mut last) = (Vec::new(), 0, None);
    while all.len() < wanted {
        let begin = Begin::ALL[builds % Begin::ALL.len()];
        if begin.resumes() && last.is_none() {
            builds += 1; // the build before was over before its first cut
            continue;
        }
        let disk = chance.choice(Disk::ALL).context("a disk")?;
        let number = per_build.min(wanted - all.len());
        let cuts = trial.build_and_cut(builds, (begin, disk), last.take(), number, &mut chance)?;
        builds += 1;
        let found = examine(&trial, &cuts)?;
        found
            .iter()
            .flat_map(|cut| &cut.problems)
            .for_each(|problem| println!("{problem}"));
        all.extend(found);
        last = trial.keep_one(cuts, &mut chance)?;
    }
    let seconds = began.elapsed().as_secs_f64() / all.len().max(1) as f64;
    println!("{}; {seconds:.1} s each", summary(&all, builds));
    let problems = all.iter().map(|cut| cut.problems.len()).sum::<usize>();
    let red = all.iter().filter(|cut| !cut.problems.is_empty()).count();
    tests::total("power cuts", all.len(), red);
    if problems > 0 {
        bail!("{problems} problems, printed above; kept: {}", trial.keep()?.display());
    }
    Ok(())
}

/// Examines cuts side by side.
fn examine(trial: &Trial, cuts: &[Cut]) -> Result<Vec<Examined>> {
    let (next, examined) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let work = || -> Result<()> {
            disk::own_mounts()?;
            while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = trial.examine(cut)?;
                examined.lock().expect("nobody panics with it").push(found);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("it does not panic"))
    })?;
    Ok(examined.into_inner().expect("nobody panics with it"))
}

/// What was tried and found, in a line.
fn summary(all: &[Examined], builds: usize) -> String {
    let count = |holds: &dyn Fn(&Examined) -> bool| all.iter().filter(|cut| holds(cut)).count();
    let begun: Vec<_> = Begin::ALL
        .iter()
        .map(|begin| format!("{} {begin}", count(&|cut| cut.begin == *begin)))
        .collect();
    let disks: Vec<_> = Disk::ALL
        .iter()
        .map(|disk| format!("{} {disk}", count(&|cut| cut.disk == *disk)))
        .collect();
    format!(
        "power cuts: {} in {builds} builds ({}; disks: {}), {} with a problem; {} outputs were finished before a cut, \
         {} encoded after it; tup began anew after {} cuts",
        all.len(),
        begun.join(", "),
        disks.join(", "),
        count(&|cut| !cut.problems.is_empty()),
        all.iter().map(|cut| cut.finished).sum::<usize>(),
        all.iter().map(|cut| cut.encoded).sum::<usize>(),
        count(&|cut| cut.anew),
    )
}
