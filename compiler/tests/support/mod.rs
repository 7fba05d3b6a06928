//! A collection, profiles and a builds folder of one test, and the real `vibes-compile` on them.

#![allow(dead_code, unreachable_pub, reason = "every test program uses another part of this")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use nix::unistd::geteuid;

/// Who has no rights: `nobody`.
const NOBODY: u32 = 65_534;

/// Everything a build needs; gone when dropped, kept and named when the test fails.
pub struct World {
    folder: Option<tempfile::TempDir>,
    root: PathBuf,
}

/// What a build said.
pub struct Built {
    /// The report, as JSON.
    pub report: serde_json::Value,
    /// The exit code was 0.
    pub success: bool,
}

impl Built {
    /// A list of strings of the report.
    pub fn list(&self, field: &str) -> Vec<String> {
        let list = self.report[field]
            .as_array()
            .unwrap_or_else(|| panic!("no {field} in {}", self.report));
        list.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }

    /// Sources that failed, with their reasons.
    pub fn failures(&self) -> BTreeMap<String, String> {
        let failed = self.report["failed"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        failed
            .iter()
            .map(|failure| (text(&failure["source"]), text(&failure["reason"])))
            .collect()
    }
}

impl World {
    /// An empty collection with a profile `home` (flac).
    pub fn new() -> World {
        let folder = tempfile::Builder::new()
            .prefix("vibes-compiler-test-")
            .tempdir()
            .unwrap();
        let root = folder.path().to_owned();
        let world = World {
            folder: Some(folder),
            root,
        };
        for folder in ["sources", "profiles"] {
            fs::create_dir(world.root.join(folder)).unwrap();
        }
        world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_FLAC_FLAGS=--best\n");
        world
    }

    /// A path in the collection.
    pub fn source(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join("sources").join(path)
    }

    /// A path of an output, beginning with its profile.
    pub fn output(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join("builds/out").join(path)
    }

    /// A folder of this world; the one of everything for the empty name.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The builds folder.
    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// Writes a file of the collection.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.source(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a profile.
    pub fn profile(&self, name: &str, text: &str) {
        fs::write(self.root.join(format!("profiles/{name}.config")), text).unwrap();
    }

    /// Removes a profile.
    pub fn remove_profile(&self, name: &str) {
        fs::remove_file(self.root.join(format!("profiles/{name}.config"))).unwrap();
    }

    /// The command of a build.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vibes-compile"));
        command.args(["build", "--json"]);
        for folder in ["sources", "profiles", "builds"] {
            command.arg(format!("--{folder}")).arg(self.root.join(folder));
        }
        command
    }

    /// The command of a build by somebody who is not root, who may write to the builds folder alone.
    pub fn command_without_root(&self) -> Command {
        let root = self.folder("");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let program = root.join("vibes-compile");
        fs::copy(env!("CARGO_BIN_EXE_vibes-compile"), &program).unwrap();
        fs::create_dir_all(self.builds()).unwrap();
        // As root, the rights are given away; anybody else has none anyway.
        let (mut command, root) = if geteuid().is_root() {
            chown(self.builds(), Some(NOBODY), Some(NOBODY)).unwrap();
            let mut command = Command::new("unshare");
            // Everywhere but in some containers everybody may use the device. The folders above this one may be root's alone.
            let prepare = "mknod \"$0/fuse\" c 10 229; chmod 666 \"$0/fuse\"; mount --bind \"$0/fuse\" /dev/fuse; \
                mount --bind \"$0\" /mnt; exec \"$@\"";
            command.args(["--mount", "sh", "-ec", prepare]).arg(&root);
            let nobody = NOBODY.to_string();
            command.args(["setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
            command.arg("/mnt/vibes-compile");
            (command, PathBuf::from("/mnt"))
        } else {
            (Command::new(&program), root)
        };
        command.env("TMPDIR", "/tmp").arg("build");
        for name in ["sources", "profiles", "builds"] {
            command.arg(format!("--{name}")).arg(root.join(name));
        }
        command
    }

    /// Builds.
    pub fn build(&self) -> Built {
        Self::built(&mut self.command())
    }

    /// What the command of a build says.
    pub fn built(command: &mut Command) -> Built {
        let output = command.output().unwrap();
        let Ok(report) = serde_json::from_slice(&output.stdout) else {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        };
        Built {
            report,
            success: output.status.success(),
        }
    }

    /// Builds, and everything is well.
    pub fn build_well(&self) -> Built {
        let built = self.build();
        assert!(built.success, "{:#}", built.report);
        built
    }

    /// Builds and fails as a whole; returns what it said.
    pub fn refuse(&self) -> String {
        let output = self.command().output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// All outputs with content and time of change.
    pub fn outputs(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let mut outputs = BTreeMap::new();
        let root = self.output("");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                    let modified = fs::metadata(&path).unwrap().modified().unwrap();
                    outputs.insert(name, (fs::read(&path).unwrap(), modified));
                }
            }
        }
        outputs
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

/// A page of `docs/`, of the clone that the test is run in.
pub fn document(name: &str) -> String {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    fs::read_to_string(Path::new(&here).join("../docs").join(name)).unwrap()
}

/// Runs a program that has to succeed.
pub fn run(program: &str, arguments: &[&OsStr]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a program prints about a file.
pub fn says(program: &str, arguments: &[&str], path: &Path) -> String {
    let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    all.push(path.as_os_str());
    String::from_utf8(run(program, &all).stdout).unwrap()
}

/// The samples of a FLAC file: little-endian, interleaved.
pub fn decoded(path: &Path) -> Vec<u8> {
    let flags = [
        "--decode",
        "--stdout",
        "--silent",
        "--force-raw-format",
        "--endian=little",
        "--sign=signed",
    ];
    let mut arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
    arguments.push(path.as_os_str());
    run("flac", &arguments).stdout
}

/// PCM samples of a chirp: little-endian, interleaved.
pub fn samples(seed: u32, channels: u16, bits: u16, frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in 0..frames {
        for channel in 0..channels {
            let angle = f64::from(frame) * (0.02 + f64::from(seed) * 0.003 + f64::from(channel) * 0.001);
            let value = (angle.sin() * 0.6 * f64::from(1_u32 << (bits - 1))) as i32;
            bytes.extend(&value.to_le_bytes()[..usize::from(bits / 8)]);
        }
    }
    bytes
}

/// A WAVE file around samples.
pub fn wave(samples: &[u8], channels: u16, bits: u16, rate: u32) -> Vec<u8> {
    let block = channels * bits / 8;
    let length = samples.len() as u32;
    let mut wave = Vec::new();
    wave.extend(b"RIFF");
    wave.extend((36 + length).to_le_bytes());
    wave.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    wave.extend(channels.to_le_bytes());
    wave.extend(rate.to_le_bytes());
    wave.extend((rate * u32::from(block)).to_le_bytes());
    wave.extend(block.to_le_bytes());
    wave.extend(bits.to_le_bytes());
    wave.extend(b"data");
    wave.extend(length.to_le_bytes());
    wave.extend(samples);
    wave
}

/// A fifth of a second of stereo that no other seed has.
pub fn tone(seed: u32) -> Vec<u8> {
    wave(&samples(seed, 2, 16, 8820), 2, 16, 44_100)
}

/// A PNG of one colour; `size` bytes of text beside it make it as large as wanted.
pub fn png(seed: u8, size: usize) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(kind);
        png.extend(data);
        let sum = crc(&[kind.as_slice(), data].concat());
        png.extend(sum.to_be_bytes());
    };
    chunk(b"IHDR", b"\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0");
    chunk(
        b"tEXt",
        &[b"Comment\0".as_slice(), &vec![b'a' + seed % 26; size]].concat(),
    );
    // One pixel, stored without compression.
    chunk(b"IDAT", b"\x78\x01\x01\x04\0\xfb\xff\0\xff\0\0\x02\xfe\x01\0");
    chunk(b"IEND", b"");
    png
}

/// The CRC-32 of PNG. Source: <https://www.w3.org/TR/png/#D-CRCAppendix>.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}
