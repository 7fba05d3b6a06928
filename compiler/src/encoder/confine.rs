//! What an encoder or decoder may use of the machine: it reads files that strangers may have made.
//!
//! Limits are set by `prlimit`, before the program begins. The rest is asked of the kernel by the thread that starts it,
//! which ends then: no new privileges, no capability, and (Landlock, where the kernel has it) one folder to write in, no
//! TCP and no signal to others.

use std::ffi::OsString;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::User;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set};

use super::watch;
use crate::header::Header;
use crate::tup::PATH;

/// Bytes of memory: of eight channels at 192 kHz, ffmpeg as the hungriest took 53 MiB on two processors.
pub(crate) const MEMORY: u64 = 2 << 30;
/// Open files.
const FILES: u64 = 256;
/// What Landlock knew in Linux 6.12; an older kernel keeps what it knows of it.
const KNOWN: ABI = ABI::V6;

/// Limits of one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Processor time.
    pub(super) seconds: u64,
    /// The largest file that it may write.
    pub(super) bytes: u64,
    /// Processes and threads of the user who runs it, all together; none where that user may have others.
    pub(super) processes: Option<u64>,
}

impl Limits {
    /// For who encodes nothing but a moment, or says its version.
    pub(super) const TRIAL: Limits = Limits {
        seconds: 60,
        bytes: 64 << 20,
        processes: None,
    };

    /// For a track of such a source, which has this many bytes: a quarter of an hour and ten times as long as it plays,
    /// counted in stereo of 48 kHz; and twice the size of its samples, were they of 32 bits.
    pub(super) fn of(header: &Header, size: u64) -> Limits {
        // Without a length in the header: nothing that we take is packed tighter than silence as FLAC.
        let samples = match header.frames {
            Some(frames) => frames.saturating_mul(u64::from(header.channels)),
            None => size.saturating_mul(1000),
        };
        let processors = thread::available_parallelism().map_or(1, |number| number.get() as u64);
        Limits {
            seconds: 15 * 60 + samples / (2 * 48_000) * 10,
            bytes: (64 << 20) + samples.saturating_mul(8),
            // All that are encoding measure an album, with a decoder for each processor that has as many threads.
            processes: Some(1024 + 32 * processors * processors),
        }
    }

    /// The arguments of `prlimit`.
    fn arguments(&self) -> Vec<String> {
        let limits = [
            ("cpu", Resource::Cpu, Some(self.seconds)),
            ("fsize", Resource::Fsize, Some(self.bytes)),
            ("data", Resource::Data, Some(MEMORY)),
            ("nofile", Resource::Nofile, Some(FILES)),
            ("core", Resource::Core, Some(0)),
            ("nproc", Resource::Nproc, self.processes),
        ];
        let limits = limits.into_iter().filter_map(|(name, resource, limit)| {
            // Nobody may go beyond what the administrator of the machine has set.
            let highest = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let limit = limit?.min(highest);
            // Out of time, a program is told so first, by a signal that says it.
            let last = if resource == Resource::Cpu {
                highest.min(limit + 5)
            } else {
                limit
            };
            Some(format!("--{name}={limit}:{last}"))
        });
        limits.chain(["--".to_owned()]).collect()
    }
}

/// A program to start.
#[derive(Debug)]
pub(super) struct Confined<'a> {
    /// Its binary, or the name to look for it on the path.
    pub(super) program: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a [OsString],
    /// The only folder that it writes in.
    pub(super) writes_in: Option<&'a Path>,
    /// Who runs it; none for the current user.
    pub(super) user: Option<&'a User>,
    /// Its limits.
    pub(super) limits: Limits,
}

impl Confined<'_> {
    /// Starts it; what it says on standard error can be read.
    pub(super) fn spawn(&self, input: Stdio, output: Stdio) -> io::Result<Child> {
        let mut command = Command::new("prlimit");
        command
            .args(self.limits.arguments())
            .arg(find(self.program)?)
            .args(self.arguments)
            // As below tup, so that trying flags tells what an encode will do: lame, for one, reads LAMEOPT.
            .env_clear()
            .env("PATH", PATH)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped());
        if !watch::adopts()? {
            command.process_group(0);
        }
        if let Some(user) = self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        // What the kernel is asked for holds for this thread and for what it starts.
        thread::scope(|scope| {
            let started = scope.spawn(|| {
                confine(self.writes_in)?;
                command.spawn()
            });
            started
                .join()
                .unwrap_or_else(|_| Err(Error::other("the thread that starts it broke")))
        })
    }
}

/// The binary that the system would start: `prlimit` says of a missing one only that it cannot be executed.
fn find(program: &str) -> io::Result<PathBuf> {
    // Joined to an absolute path, it is that path; a profile names no other with a slash.
    let mut candidates = PATH.split(':').map(|folder| Path::new(folder).join(program));
    let path = candidates.find(|path| path.is_file()).ok_or(ErrorKind::NotFound)?;
    match path.metadata()?.permissions().mode() & 0o111 {
        0 => Err(ErrorKind::PermissionDenied.into()),
        _ => Ok(path),
    }
}

/// What this kernel does not keep programs from; none if it knows Landlock.
pub(crate) fn missing() -> Option<&'static str> {
    // The thread is restricted, and ends.
    let restricted = thread::spawn(|| restrict(None).map(|status| status.ruleset)).join();
    let known = restricted.is_ok_and(|status| status.is_ok_and(|status| status != RulesetStatus::NotEnforced));
    (!known).then_some("the kernel has no Landlock: encoders may write wherever the user may who runs them")
}

/// Takes from this thread what no encoder needs.
fn confine(writes_in: Option<&Path>) -> io::Result<()> {
    set_no_new_privs()?;
    drop_capabilities()?;
    restrict(writes_in).map(drop).map_err(Error::other)
}

/// Who is root, or is called so in a user namespace, starts programs without any capability but that to use files of others.
fn drop_capabilities() -> io::Result<()> {
    if !capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for capability in CapabilitySet::all().difference(CapabilitySet::DAC_OVERRIDE).iter() {
        match remove_capability_from_bounding_set(capability) {
            // This kernel does not know it.
            Err(rustix::io::Errno::INVAL) => {}
            dropped => dropped?,
        }
    }
    Ok(())
}

fn restrict(writes_in: Option<&Path>) -> Result<RestrictionStatus, RulesetError> {
    let writing = AccessFs::from_write(KNOWN);
    Ruleset::default()
        .handle_access(writing)?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(writes_in, writing))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?
        .restrict_self()
}
