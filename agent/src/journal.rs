//! The journal: what the agent did, for people; to standard error and, kept in memory, to the state bucket.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Longest journal in bytes; older lines go first. It is uploaded whole with every status.
const LIMIT: usize = 1 << 20;

/// Lines written so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    bytes: VecDeque<u8>,
    /// Bytes ever written: tells whether there is something new.
    written: u64,
}

impl Journal {
    /// Sends everything that this process traces to standard error and into a new journal. `RUST_LOG` filters.
    pub fn start() -> Result<Self, tracing_subscriber::util::TryInitError> {
        let journal = Self::default();
        let wished = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
        let filter: Targets = wished.unwrap_or_else(|| Targets::new().with_default(Level::INFO));
        tracing_subscriber::registry()
            .with(filter)
            .with(fmt::layer().with_ansi(false).with_target(false).with_writer(io::stderr))
            .with(
                fmt::layer()
                    .with_ansi(false)
                    .with_target(false)
                    .with_writer(journal.clone()),
            )
            .try_init()?;
        Ok(journal)
    }

    /// The text, and a number that grows when the text does.
    pub fn text(&self) -> (String, u64) {
        let lines = self.lines();
        let bytes: Vec<u8> = lines.bytes.iter().copied().collect();
        (String::from_utf8_lossy(&bytes).into_owned(), lines.written)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Journal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut lines = self.lines();
        lines.bytes.extend(text);
        lines.written += text.len() as u64;
        if lines.bytes.len() > LIMIT {
            let excess = lines.bytes.len() - LIMIT;
            let rest_of_line = lines
                .bytes
                .range(excess..)
                .position(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            lines.bytes.drain(..excess + rest_of_line);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Journal;

    fn make_writer(&'a self) -> Journal {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_long_journal_loses_whole_lines_from_its_start() {
        let mut journal = Journal::default();
        writeln!(journal, "first").unwrap();
        let line = "x".repeat(1023);
        for _ in 0..1024 {
            writeln!(journal, "{line}").unwrap();
        }
        let (text, written) = journal.text();
        assert!(text.starts_with('x') && text.ends_with('\n') && text.len() <= LIMIT);
        assert_eq!(text.len() % 1024, 0, "only whole lines remain");
        assert_eq!(written, 6 + 1024 * 1024);
    }
}
