//! Block devices: files on loop devices that vanish with their last user, linked under volume ids.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// A volume that is attached until this is dropped.
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Its device.
    pub device: PathBuf,
    image: PathBuf,
    _open: File,
}

/// Runs a program that must succeed, and returns what it said.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Volume {
    /// Makes a blank volume in `folder` and attaches it: its device appears in `folder/by-id`.
    pub fn attach(folder: &Path, id: &str, mebibytes: u64) -> Self {
        let image = folder.join(id);
        File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        let device = run("losetup", &["--find", "--show", image.to_str().unwrap()]);
        // Detaching a device that is open only marks it: the kernel detaches it when nobody uses it any more.
        let open = OpenOptions::new().read(true).open(&device).unwrap();
        run("losetup", &["--detach", &device]);
        let by_id = by_id(folder);
        fs::create_dir_all(&by_id).unwrap();
        let name = format!("nvme-Amazon_Elastic_Block_Store_{}", id.replace('-', ""));
        symlink(&device, by_id.join(name)).unwrap();
        Self {
            id: id.to_owned(),
            device: device.into(),
            image,
            _open: open,
        }
    }

    /// Makes the volume larger while it is attached.
    pub fn grow(&self, mebibytes: u64) {
        OpenOptions::new()
            .write(true)
            .open(&self.image)
            .unwrap()
            .set_len(mebibytes << 20)
            .unwrap();
        run("losetup", &["--set-capacity", self.device.to_str().unwrap()]);
    }
}

/// Where the devices of volumes attached in `folder` appear.
pub fn by_id(folder: &Path) -> PathBuf {
    folder.join("by-id")
}

/// Gives this thread, and what it starts, mounts of its own, and an empty folder in memory that everybody may look
/// into. All of it vanishes with the last of them, also when the test is killed.
pub fn private_place() -> PathBuf {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).expect("real mounts need root");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(none, "/mnt", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    PathBuf::from("/mnt")
}
