//! Block devices by EBS volume id.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use crate::stop::Stop;

/// Pause between two looks for a device.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The name under which udev links the device of an EBS volume on a Nitro instance: the id without its dash.
fn link_name(volume: &str) -> String {
    format!("nvme-Amazon_Elastic_Block_Store_{}", volume.replace('-', ""))
}

/// The device of this volume; none while it is not attached. An error when what is there cannot be the volume.
pub fn find(devices: &Path, volume: &str) -> Result<Option<PathBuf>> {
    let link = devices.join(link_name(volume));
    let device = match fs::canonicalize(&link) {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("following {}", link.display())),
    };
    let about = fs::metadata(&device).with_context(|| format!("looking at {}", device.display()))?;
    ensure!(
        about.file_type().is_block_device(),
        "{} of {volume} is not a block device",
        device.display()
    );
    check_serial(&device, volume)?;
    Ok(Some(device))
}

/// NVMe devices carry the volume's id as serial number; where the kernel shows one it must be the right one, because
/// the device is about to be written to.
fn check_serial(device: &Path, volume: &str) -> Result<()> {
    let Some(name) = device.file_name() else {
        bail!("{} has no name", device.display())
    };
    let shown = Path::new("/sys/class/block").join(name).join("device/serial");
    match fs::read_to_string(&shown) {
        Ok(serial) => ensure!(
            serial.trim() == volume.replace('-', ""),
            "{} has serial number {}, which is not {volume}",
            device.display(),
            serial.trim()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", shown.display())),
    }
    Ok(())
}

/// The device of this volume: waits until it is attached.
pub async fn wait_for(devices: &Path, volume: &str, within: Duration, stop: &Stop) -> Result<PathBuf> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(device) = find(devices, volume)? {
            return Ok(device);
        }
        if Instant::now() >= deadline {
            bail!(
                "{volume} did not appear as {} within {} s: is it attached to this instance?",
                devices.join(link_name(volume)).display(),
                within.as_secs()
            );
        }
        stop.sleep(LOOK_AGAIN).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_by_its_id_and_must_be_a_block_device() {
        let devices = tempfile::tempdir().unwrap();
        assert_eq!(find(devices.path(), "vol-0abc").unwrap(), None);
        fs::write(devices.path().join("nvme-Amazon_Elastic_Block_Store_vol0abc"), "").unwrap();
        let error = find(devices.path(), "vol-0abc").unwrap_err();
        assert!(error.to_string().contains("not a block device"), "{error:#}");
    }

    #[tokio::test]
    async fn waiting_for_a_volume_is_bounded() {
        let devices = tempfile::tempdir().unwrap();
        let waited = wait_for(devices.path(), "vol-0abc", Duration::from_millis(1), &Stop::default()).await;
        assert!(waited.unwrap_err().to_string().contains("is it attached"));
    }
}
