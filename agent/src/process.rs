//! Running other programs: the only place that does.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tracing::{info, warn};

/// Time that a daemon has to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code, one of those allowed.
    pub code: i32,
    /// Its standard output.
    pub text: String,
}

/// Runs a program to its end. Any exit code that is not `allowed` is an error that carries all the program said.
pub async fn run<S: AsRef<OsStr>>(program: &str, args: &[S], allowed: &[i32]) -> Result<Answer> {
    tell(program, args, "", allowed).await
}

/// The same for a program that reads `input`: for secrets, which everybody sees in arguments.
pub async fn tell<S: AsRef<OsStr>>(program: &str, args: &[S], input: &str, allowed: &[i32]) -> Result<Answer> {
    let shown = args
        .iter()
        .map(|arg| arg.as_ref().to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why by its exit code.
        stdin.write_all(input.as_bytes()).await.ok();
    }
    let output = child
        .wait_with_output()
        .await
        .with_context(|| format!("waiting for {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.code() {
        Some(code) if allowed.contains(&code) => Ok(Answer { code, text }),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`{program} {shown}` ended with {}: {} {text}",
                output.status,
                said.trim()
            )
        }
    }
}

/// A program that runs beside the agent; what it says goes to the journal. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    child: Child,
}

impl Daemon {
    /// Starts it: a program and its arguments, and the name under which it is spoken of.
    pub fn start<S: AsRef<OsStr>>(name: &'static str, words: &[S]) -> Result<Self> {
        let (program, args) = words.split_first().context("no program to start")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        if let Some(stdout) = child.stdout.take() {
            note_lines(name, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            note_lines(name, stderr);
        }
        Ok(Self { name, child })
    }

    /// How it ended; none while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking for {}", self.name))
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .await
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) -> Result<()> {
        match self.child.id() {
            Some(id) => send(Pid::from_raw(id as i32), Signal::SIGTERM),
            None => Ok(()),
        }
    }

    /// Ends it and waits until it is gone.
    pub async fn end(mut self) -> Result<()> {
        self.ask_to_end()?;
        if tokio::time::timeout(END_WITHIN, self.child.wait()).await.is_err() {
            warn!("{} did not end when asked to", self.name);
            self.child
                .kill()
                .await
                .with_context(|| format!("ending {}", self.name))?;
        }
        Ok(())
    }
}

fn note_lines(name: &'static str, from: impl AsyncRead + Unpin + Send + 'static) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            info!("{name}: {line}");
        }
    });
}

/// Ends a process now. One that is gone already is fine.
pub fn end_now(process: Pid) -> Result<()> {
    send(process, Signal::SIGKILL)
}

fn send(process: Pid, signal: Signal) -> Result<()> {
    match kill(process, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("ending process {process}")),
    }
}

/// Processes that use something in `dir`: as their root or working directory, or as an open file.
pub fn using(dir: &Path) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("listing processes")? {
        let entry = entry.context("listing processes")?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The process may have ended since it was listed; then it uses nothing.
        let open = std::fs::read_dir(entry.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut links = [entry.path().join("root"), entry.path().join("cwd")]
            .into_iter()
            .chain(open.map(|file| file.path()));
        if links.any(|link| std::fs::read_link(link).is_ok_and(|leads_to| leads_to.starts_with(dir))) {
            found.push(Pid::from_raw(id));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exit_code_that_is_not_allowed_carries_what_was_said() {
        let answer = run("sh", &["-c", "echo out; exit 3"], &[0, 3]).await.unwrap();
        assert_eq!(
            answer,
            Answer {
                code: 3,
                text: "out".to_owned()
            }
        );
        let error = run("sh", &["-c", "echo no such luck >&2; exit 3"], &[0])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no such luck"), "{error:#}");
        let error = run("no-such-program", &["x"], &[0]).await.unwrap_err();
        assert!(
            format!("{error:#}").contains("cannot start no-such-program"),
            "{error:#}"
        );
    }

    #[tokio::test]
    async fn a_program_reads_what_it_is_told() {
        let answer = tell("cat", &[] as &[&str], "a secret", &[0]).await.unwrap();
        assert_eq!(answer.text, "a secret");
    }

    #[test]
    fn a_folder_is_used_by_who_has_a_file_of_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let this = Pid::this();
        assert!(!using(folder.path()).unwrap().contains(&this));
        let _open = std::fs::File::create(folder.path().join("file")).unwrap();
        assert!(using(folder.path()).unwrap().contains(&this));
    }
}
