//! Whose turn it is to encode: as many tracks at once as there are processors, the longest of those that wait first.
//!
//! tup starts jobs in an order of its own. So it is told to start several times as many as there are processors; each asks
//! the build for its turn by a socket and keeps the connection for as long as it encodes. What remains for the end is
//! short, and while one job waits for the disk, another encodes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nix::unistd::User;

/// The socket's name in the builds folder.
const NAME: &str = "turns";

/// How many jobs tup starts for one that encodes: from these the longest is chosen.
pub(crate) const STARTED_PER_TURN: usize = 4;

/// Bytes by which a job asks: how long its track is, and its process id, which grows in tup's order.
const QUESTION: usize = 12;

/// Gives turns until it is dropped.
#[derive(Debug)]
pub(crate) struct Turns {
    folder: PathBuf,
    over: Arc<AtomicBool>,
}

impl Turns {
    /// Begins to give turns, so many at a time, to processes of this user.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn give(builds: &Path, number: usize, user: Option<&User>) -> Result<Turns> {
        Turns::give_of(Arc::new(Queue::new(number)), builds, user)
    }

    fn give_of(queue: Arc<Queue>, builds: &Path, user: Option<&User>) -> Result<Turns> {
        let making = || format!("making {}", builds.join(NAME).display());
        let path = builds.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(making),
            _ => {}
        }
        let listener = reach(builds, |path| UnixListener::bind(path)).with_context(making)?;
        if let Some(user) = user {
            chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).with_context(making)?;
        }
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // A job that vanishes, or a machine without another thread: the job goes on without a turn.
                let Ok(stream) = stream else { continue };
                let queue = Arc::clone(&queue);
                let _ = thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || queue.serve(stream));
            }
        });
        Ok(Turns {
            folder: builds.to_owned(),
            over,
        })
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that listens; whatever of this fails, no job is left to notice.
        let _ = reach(&self.folder, |path| UnixStream::connect(path));
        let _ = fs::remove_file(self.folder.join(NAME));
    }
}

/// A turn, for as long as it is kept. None where nobody gives turns.
#[derive(Debug)]
pub(crate) struct Turn {
    _stream: Option<UnixStream>,
}

/// Waits for the turn of a track of this length.
pub(crate) fn wait(builds: &Path, length: u64) -> Turn {
    let ask = |path: &Path| {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&std::process::id().to_be_bytes())?;
        stream.read_exact(&mut [0])?;
        Ok(stream)
    };
    Turn {
        // tup was started by hand, or the build has ended in this moment: nobody waits, so nobody is overtaken.
        _stream: reach(builds, ask).ok(),
    }
}

/// Does something with the socket's path, by its folder's descriptor: a socket's path holds at most 107 bytes.
fn reach<T>(builds: &Path, action: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(builds)?;
    action(&PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd())))
}

/// Jobs that wait: the longest first, then the first that tup started.
type Waiting = BTreeSet<(std::cmp::Reverse<u64>, u32)>;

#[derive(Debug)]
struct Queue {
    /// Free turns, and who waits for one.
    state: Mutex<(usize, Waiting)>,
    changed: Condvar,
}

impl Queue {
    fn new(free: usize) -> Queue {
        Queue {
            state: Mutex::new((free, Waiting::new())),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Waiting)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a job wait, go, and come to its end: when it closes its connection, at the latest when it dies.
    fn serve(&self, mut stream: UnixStream) {
        let mut question = [0; QUESTION];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let (length, process) = question.split_at(8);
        let length = u64::from_be_bytes(length.try_into().expect("8 bytes"));
        let who = (
            std::cmp::Reverse(length),
            u32::from_be_bytes(process.try_into().expect("4 bytes")),
        );
        {
            let mut state = self.lock();
            state.1.insert(who);
            while state.0 == 0 || state.1.first() != Some(&who) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.1.remove(&who);
            state.0 -= 1;
        }
        self.changed.notify_all();
        if stream.write_all(&[1]).is_ok() {
            // The end of the job, however it ends.
            let _ = stream.read(&mut [0]);
        }
        self.lock().0 += 1;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_longest_that_waits_is_next() {
        let root = tempfile::Builder::new().prefix(&"long".repeat(40)).tempdir().unwrap();
        let queue = Arc::new(Queue::new(1));
        let turns = Turns::give_of(Arc::clone(&queue), root.path(), None).unwrap();
        let first = wait(root.path(), 1);
        let (sender, order) = mpsc::channel();
        thread::scope(|scope| {
            for length in [20, 40, 30] {
                let (sender, root) = (sender.clone(), root.path());
                scope.spawn(move || {
                    let turn = wait(root, length);
                    sender.send(length).unwrap();
                    drop(turn);
                });
            }
            // All three ask while the first has its turn.
            let deadline = Instant::now() + Duration::from_secs(60);
            while queue.lock().1.len() < 3 {
                assert!(Instant::now() < deadline, "not all have asked");
                thread::sleep(Duration::from_millis(5));
            }
            assert!(order.try_recv().is_err(), "nobody goes before the first is done");
            drop(first);
        });
        assert_eq!(order.iter().take(3).collect::<Vec<_>>(), [40, 30, 20]);
        drop(turns);
        assert!(!root.path().join(NAME).exists());
        wait(root.path(), 1);
    }

    #[test]
    fn a_job_that_dies_gives_its_turn_away() {
        let root = tempfile::tempdir().unwrap();
        let _turns = Turns::give(root.path(), 1, None).unwrap();
        let asks = reach(root.path(), |path| UnixStream::connect(path)).unwrap();
        drop(asks);
        let mut waits = reach(root.path(), |path| UnixStream::connect(path)).unwrap();
        waits.write_all(&[0; QUESTION]).unwrap();
        drop(waits);
        wait(root.path(), 1);
    }
}
