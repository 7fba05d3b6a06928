//! Loop devices that clear themselves with their last user, however that user ends.
//!
//! `losetup` sets a device up first and lets it clear itself in a second call; a twin killed between the two would leave
//! the device behind for ever. The kernel can do both in one call, for which no crate has a safe function.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::command::run;

/// How often another program may take the free device before we do.
const TRIES: u32 = 64;

/// How often a device is looked at until it has cleared itself.
const PAUSE: Duration = Duration::from_millis(5);

/// A loop device that exists while this, a mount of it or an open file of it exists.
pub struct LoopDevice {
    file: File,
    number: u32,
}

impl LoopDevice {
    /// Puts the file on a free device.
    pub fn attach(backing: &Path) -> Result<Self> {
        let content = open(backing)?;
        let control = open(Path::new("/dev/loop-control"))?;
        for _ in 0..TRIES {
            let number = kernel::free_number(&control).context("the kernel has no free loop device")?;
            let file = open(Path::new(&format!("/dev/loop{number}")))?;
            match kernel::configure(&file, &content) {
                Ok(()) => return Ok(Self { file, number }),
                Err(Errno::EBUSY) => {} // taken by another program in between
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot put {} on a loop device", backing.display()));
                }
            }
        }
        bail!("other programs took {TRIES} free loop devices before us")
    }

    /// The N of `/dev/loopN`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether a filesystem on it is mounted, in any namespace, or a program has claimed it alone, as mkfs does.
    pub(super) fn busy(&self) -> Result<bool> {
        let path = format!("/dev/loop{}", self.number);
        match OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_EXCL.bits())
            .open(&path)
        {
            Ok(_) => Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => Ok(true),
            Err(error) => Err(error).with_context(|| format!("cannot open {path}")),
        }
    }

    /// Takes over the new size of the file.
    pub(super) fn resized(&self) -> Result<()> {
        kernel::set_capacity(&self.file).with_context(|| format!("cannot resize /dev/loop{}", self.number))
    }
}

/// Waits until no loop device has this file; false if one still has it after `patience`.
pub(super) fn cleared(backing: &Path, patience: Duration) -> Result<bool> {
    let start = Instant::now();
    let query = ["--noheadings", "--output", "NAME", "--associated"].map(AsRef::as_ref);
    loop {
        if run("losetup", query.into_iter().chain([backing.as_os_str()]))?
            .trim()
            .is_empty()
        {
            return Ok(true);
        }
        if start.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// The three calls of `linux/loop.h`, typed.
#[allow(
    unsafe_code,
    reason = "ioctl has no safe form; each call passes an open file and a struct of the kernel's layout"
)]
mod kernel {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use nix::Result;

    /// `LO_FLAGS_AUTOCLEAR`.
    const AUTOCLEAR: u32 = 4;

    /// `struct loop_config`, and `struct loop_info64` within it.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct LoopConfig {
        fd: u32,
        block_size: u32,
        device_to_crypt_type: [u64; 5],
        number_to_key_size: [u32; 3],
        flags: u32,
        names_and_key: [u8; 160],
        init: [u64; 2],
        reserved: [u64; 8],
    }

    /// Size of the struct that the kernel copies.
    #[cfg(test)]
    pub(super) const CONFIG_BYTES: usize = size_of::<LoopConfig>();

    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
    nix::ioctl_none_bad!(loop_set_capacity, 0x4C07);

    /// The number of a device that is free now; makes one if all are taken.
    pub(super) fn free_number(control: &File) -> Result<u32> {
        // SAFETY: takes no pointer.
        let number = unsafe { loop_ctl_get_free(control.as_raw_fd()) }?;
        Ok(number.unsigned_abs())
    }

    /// Puts `content` on `device` and lets it clear itself, in one step.
    pub(super) fn configure(device: &File, content: &File) -> Result<()> {
        let config = LoopConfig {
            fd: content.as_raw_fd().unsigned_abs(),
            block_size: 0,
            device_to_crypt_type: [0; 5],
            number_to_key_size: [0; 3],
            flags: AUTOCLEAR,
            names_and_key: [0; 160],
            init: [0; 2],
            reserved: [0; 8],
        };
        // SAFETY: the kernel reads one loop_config, which lives until the call returns.
        unsafe { loop_configure(device.as_raw_fd(), &config) }?;
        Ok(())
    }

    /// Reads the size of the content again.
    pub(super) fn set_capacity(device: &File) -> Result<()> {
        // SAFETY: takes no pointer.
        unsafe { loop_set_capacity(device.as_raw_fd()) }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_reads_a_loop_config_of_304_bytes() {
        assert_eq!(super::kernel::CONFIG_BYTES, 304);
    }
}
