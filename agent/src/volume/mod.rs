//! The volumes of an attempt: found by id, given a filesystem, mounted, and proven clean at the end.

pub mod device;
pub mod filesystem;
pub mod mounts;

use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::job::{Kind, VolumeJob};
use tracing::info;

use crate::settings::Settings;
use crate::stop::Stop;
use mounts::{Access, Mounts};

/// All volumes of an attempt that are mounted.
#[derive(Debug, Default)]
pub struct Volumes {
    devices: Vec<PathBuf>,
    mounts: Mounts,
}

impl Volumes {
    /// Waits for the volume's device, makes or repairs its filesystem, grows that to its device and mounts it writable.
    /// Returns the folder that it is mounted at: `ROOT/KIND`.
    pub async fn open(&mut self, kind: Kind, job: &VolumeJob, settings: &Settings, stop: &Stop) -> Result<PathBuf> {
        let device = device::wait_for(&settings.devices, &job.volume, settings.attach_within, stop).await?;
        info!("{} volume {} is {}", kind.as_str(), job.volume, device.display());
        if job.blank {
            filesystem::make_if_none(&device).await?;
        }
        filesystem::repair(&device).await?;
        let root = settings.root.join(kind.as_str());
        self.devices.push(device.clone());
        self.mounts.volume(&device, &root, Access::Write)?;
        Ok(root)
    }

    /// Lets nobody change a mounted volume any more.
    pub fn make_read_only(&self, root: &Path) -> Result<()> {
        self.mounts.make_read_only(root)
    }

    /// Shows a folder a second time, read-only.
    pub fn show(&mut self, from: &Path, at: &Path) -> Result<()> {
        self.mounts.bind(from, at)
    }

    /// Unmounts everything and proves that each volume is clean. Returns whether there was a volume at all; all
    /// volumes are tried before the first error is returned.
    pub async fn close(&mut self) -> Result<bool> {
        let mut first = self.mounts.unmount_all().await;
        for device in &self.devices {
            first = first.and(filesystem::prove_clean(device).await);
        }
        first.map(|()| !self.devices.is_empty())
    }
}
