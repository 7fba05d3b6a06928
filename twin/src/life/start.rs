//! Starting: checks, then a child that is the init of a new pid namespace, and waiting for its end.
//!
//! The foreground process does nothing but wait: the kernel kills the init when the foreground process dies, and
//! everything else when the init dies.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::ready::{Ready, is_up};
use super::{Options, requirements};

/// A twin is ready within 4 s on two busy cores; a machine that compiles meanwhile needs more.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Starts a twin: in the foreground until it ends, or detached until it is ready.
pub fn start(options: &Options) -> Result<()> {
    requirements::check(options)?;
    let options = options.resolved()?;
    if is_up(&options.state)? {
        ensure!(
            options.detach,
            "a twin is already up in {}: `vibes-twin stop` ends it",
            options.state.display()
        );
        let ready = await_ready(&options.state, &mut None)?;
        println!("{}", ready.endpoint);
        return Ok(());
    }
    if options.detach {
        detached(&options)
    } else {
        foreground(&options)
    }
}

fn foreground(options: &Options) -> Result<()> {
    // Blocked before there is a child, so that no signal is lost.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD]);
    signals.thread_block()?;
    if options.until_eof {
        std::thread::spawn(|| {
            // An input that cannot be read is one that has ended.
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
            kill(Pid::this(), Signal::SIGTERM)
        });
    }
    unshare(CloneFlags::CLONE_NEWPID).context("cannot make a pid namespace")?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("inside")
        .args(["--parent", &std::process::id().to_string()])
        .args(arguments(options))
        .stdin(Stdio::piped())
        // Ctrl-C reaches only this process, which then ends the twin gracefully.
        .process_group(0)
        .spawn()?;
    // Tells the init that its parent was alive after it had asked to die with it.
    child.stdin.take().context("no pipe")?.write_all(b"!")?;
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => {
                if let Some(status) = child.try_wait()? {
                    ensure!(status.success(), "the twin ended: {status}");
                    return Ok(());
                }
            }
            _ => kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?,
        }
    }
}

fn detached(options: &Options) -> Result<()> {
    let log_path = options.state.join("twin.log");
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let child = Command::new(std::env::current_exe()?)
        .arg("start")
        .args(arguments(options))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Not the terminal's: it outlives the shell that started it.
        .process_group(0)
        .spawn()?;
    let ready = await_ready(&options.state, &mut Some(child)).with_context(|| {
        let log = std::fs::read_to_string(&log_path).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        format!(
            "the twin did not start; the end of {}:\n{}",
            log_path.display(),
            tail.join("\n")
        )
    })?;
    println!("{}", ready.endpoint);
    Ok(())
}

/// Waits until the directory's twin is ready; `child` is the one that was started for it.
fn await_ready(state: &Path, child: &mut Option<Child>) -> Result<Ready> {
    let started = Instant::now();
    while started.elapsed() < READY_WITHIN {
        if let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            bail!("it ended: {status}");
        }
        if let Some(ready) = Ready::of(state)? {
            return Ok(ready);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if let Some(child) = child {
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
        child.wait()?;
    }
    bail!("it was not ready after {} s", READY_WITHIN.as_secs())
}

/// The options as arguments again, for the next process.
fn arguments(options: &Options) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = vec![
        "--state".into(),
        options.state.clone().into(),
        "--base".into(),
        options.base.clone().into(),
        "--port".into(),
        options.port.to_string().into(),
        "--wait-scale".into(),
        options.wait_scale.to_string().into(),
    ];
    for (name, path) in [
        ("--agent", &options.agent),
        ("--compile", &options.compile),
        ("--images", &options.images),
    ] {
        if let Some(path) = path {
            arguments.extend([name.into(), path.clone().into()]);
        }
    }
    for (name, value) in &options.agent_env {
        arguments.extend(["--agent-env".into(), format!("{name}={value}").into()]);
    }
    arguments
}
