//! A twin of its own for a test, with a shell script as agent; gone at the end, whatever happens.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use twin::life::ready::Ready;
use twin::xml::Element;

/// Stays until it is told to stop.
pub(crate) const IDLE: &str = "trap 'echo stopping; exit 0' TERM; echo idle; while :; do sleep 0.05; done";

/// A running twin.
pub(crate) struct World {
    dir: Option<TempDir>,
    child: Option<Child>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) endpoint: String,
}

impl World {
    /// Starts a twin whose instances run this script.
    pub(crate) fn start(agent: &str) -> World {
        let dir = tempfile::Builder::new().prefix("vibes-twin-").tempdir().unwrap();
        let script = dir.path().join("agent");
        std::fs::write(&script, format!("#!/bin/sh\n{agent}\n")).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut world = World {
            dir: Some(dir),
            child: None,
            endpoint: String::new(),
        };
        world.up();
        world
    }

    /// Starts the twin again in the same directory.
    pub(crate) fn up(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"))
            .unwrap();
        let child = self
            .command("start")
            .arg("--until-eof")
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        self.child = Some(child);
        let ready = || Ready::of(&self.state()).unwrap().filter(|ready| ready.pid == pid);
        until("the twin is ready", || ready().is_some());
        self.endpoint = ready().unwrap().endpoint;
    }

    /// `vibes-twin start` for this directory, not run yet.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vibes-twin"));
        command.arg(verb).arg("--state").arg(self.state());
        if verb == "start" {
            let agent = self.path().join("agent");
            command
                .arg("--base")
                .arg(venv("ministack"))
                .arg("--agent")
                .arg(&agent)
                .arg("--compile")
                .arg(&agent);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Ends the twin gracefully.
    pub(crate) fn down(&mut self) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    /// Kills the foreground process; nothing of the twin survives that.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The foreground process.
    pub(crate) fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap()
    }

    /// One HTTP request on a connection of its own: status and body; an error is a cut connection.
    pub(crate) fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<(u16, String)> {
        let host = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        let (Some(status), Some((_, body))) = (status, answer.split_once("\r\n\r\n")) else {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        };
        Ok((status, body.to_owned()))
    }

    /// An EC2 call; `Ok` is the response document, `Err` status and error code.
    pub(crate) fn ec2(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Element, (u16, String)> {
        self.try_ec2(action, parameters).expect("an answer")
    }

    /// [`World::ec2`] whose answer may be lost.
    pub(crate) fn try_ec2(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> std::io::Result<Result<Element, (u16, String)>> {
        self.ec2_by("test", action, parameters)
    }

    /// [`World::try_ec2`] by the owner of an access key; signatures are not looked at.
    pub(crate) fn ec2_by(
        &self,
        access_key: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> std::io::Result<Result<Element, (u16, String)>> {
        let mut form = vec![("Action", action), ("Version", "2016-11-15")];
        form.extend_from_slice(parameters);
        let body = serde_urlencoded::to_string(form).unwrap();
        let authorization = root("ec2").replace("=test/", &format!("={access_key}/"));
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let (status, text) = self.http("POST", "/", &headers, body.as_bytes())?;
        let root = Element::parse(&text).unwrap();
        Ok(match status {
            200 => Ok(root),
            _ => Err((status, root.text_at("Errors/Error/Code").expect("an EC2 error"))),
        })
    }

    /// A request to the control API that succeeds.
    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> String {
        let (status, text) = self
            .http(method, &format!("/_twin/{path}"), &[], body.as_bytes())
            .unwrap();
        assert_eq!(status, 200, "{text}");
        text
    }

    /// The record's entries of one action.
    pub(crate) fn recorded(&self, action: &str) -> Vec<Value> {
        let lines = self.control("GET", "record", "");
        let entries = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.filter(|entry| entry["action"] == action).collect()
    }

    /// The command-line client, as `vibes-twin env` sets it up; what it prints as JSON.
    pub(crate) fn aws(&self, arguments: &[&str]) -> Value {
        let exports = self.command("env").output().unwrap().stdout;
        let script = String::from_utf8(exports).unwrap() + "exec \"$0\" \"$@\"";
        let output = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(venv("aws"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// What is at `path` in the only instance, volume or snapshot with this id.
    pub(crate) fn field(&self, id: &str, path: &str) -> Option<String> {
        let (action, parameter, set) = match id.split('-').next().unwrap() {
            "i" => (
                "DescribeInstances",
                "InstanceId.1",
                "reservationSet/item/instancesSet/item",
            ),
            "vol" => ("DescribeVolumes", "VolumeId.1", "volumeSet/item"),
            _ => ("DescribeSnapshots", "SnapshotId.1", "snapshotSet/item"),
        };
        self.ec2(action, &[(parameter, id)])
            .ok()?
            .text_at(&format!("{set}/{path}"))
    }

    /// Waits until [`World::field`] is `value`.
    pub(crate) fn until_field(&self, id: &str, path: &str, value: &str) {
        until(&format!("{path} of {id} is {value}"), || {
            self.field(id, path).as_deref() == Some(value)
        });
    }

    /// Waits until the instance has printed `text`; the result is all it printed.
    pub(crate) fn until_console(&self, id: &str, text: &str) -> String {
        let console = || self.control("GET", &format!("instances/{id}/console"), "");
        until(&format!("{id} prints {text}"), || console().contains(text));
        console()
    }

    /// Makes a running instance; the result is its id.
    pub(crate) fn instance(&self, parameters: &[(&str, &str)]) -> String {
        let mut all = vec![
            ("ImageId", "ami-twin-test"),
            ("InstanceType", "c7i.large"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
        ];
        all.extend_from_slice(parameters);
        let answer = self.ec2("RunInstances", &all).unwrap();
        let id = answer.text_at("instancesSet/item/instanceId").unwrap();
        assert_eq!(
            answer.text_at("instancesSet/item/instanceState/name").unwrap(),
            "pending"
        );
        self.until_field(&id, "instanceState/name", "running");
        id
    }

    /// Makes an available volume of 1 GiB; the result is its id.
    pub(crate) fn volume(&self, parameters: &[(&str, &str)]) -> String {
        let mut all = vec![("AvailabilityZone", "us-east-1a"), ("Size", "1")];
        all.extend_from_slice(parameters);
        let id = self.ec2("CreateVolume", &all).unwrap().text_at("volumeId").unwrap();
        self.until_field(&id, "status", "available");
        id
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let kept = self.dir.take().unwrap().keep();
            eprintln!("the twin's directory is kept: {}", kept.display());
        } else {
            assert_eq!(left_behind(self.path()), Vec::<String>::new());
        }
    }
}

/// Processes, mounts and loop devices that have to do with this directory.
pub(crate) fn left_behind(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let mut left = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name| std::fs::read(process.path().join(name)).unwrap_or_default();
        let told = [read("cmdline"), read("environ")].concat();
        if String::from_utf8_lossy(&told).contains(dir) {
            left.push(format!("process {}", process.file_name().to_string_lossy()));
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(dir))
            .map(|line| format!("mount {line}")),
    );
    for device in std::fs::read_dir("/sys/block").unwrap().flatten() {
        let file = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        if file.contains(dir) {
            left.push(format!("loop device {file}"));
        }
    }
    left
}

/// Waits up to 30 s.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program of the project's venv; `VIBES_VENV` names another one.
pub(crate) fn venv(program: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says what it tests");
    let own = Path::new(&package).join("../.venv");
    let venv = std::env::var_os("VIBES_VENV").map_or(own, PathBuf::from);
    let path = venv.join("bin").join(program);
    assert!(
        path.exists(),
        "{} is missing: `make setup` makes the venv",
        path.display()
    );
    path
}

/// The authorization header of the account's root.
pub(crate) fn root(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}
