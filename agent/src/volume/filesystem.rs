//! ext4 on a device: make, repair, grow, prove clean, with the tools of e2fsprogs.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tracing::{info, warn};

use crate::process::run;

/// Volumes grow by whole GiB; less than this many bytes is what a filesystem cannot use at a device's end.
const LEAST_GROWTH: u64 = 1 << 20;

/// Makes a filesystem, unless the device holds one already (an earlier attempt made it). Anything else that is found
/// on the device is an error: a volume that is said to be blank must not be overwritten on suspicion.
pub async fn make_if_none(device: &Path) -> Result<()> {
    let device = &*device.to_string_lossy();
    // --probe looks at the device instead of a cache; 2 means that it found nothing.
    let found = run(
        "blkid",
        &["--probe", "--output", "value", "--match-tag", "TYPE", device],
        &[0, 2],
    )
    .await?;
    match (found.code, &*found.text) {
        (2, _) => {}
        (_, "ext4") => return Ok(()),
        (_, found) => bail!("{device} is said to be blank but holds `{found}`: it is left alone"),
    }
    info!("making a filesystem on {device}");
    // A new EBS volume reads as zeros, so zeroing the inode tables now or in the background would only cost time and
    // snapshot bytes. 256-byte inodes hold times finer than a second; nothing is reserved for root.
    let features = "lazy_itable_init=0,lazy_journal_init=0,assume_storage_prezeroed=1";
    run(
        "mkfs.ext4",
        &["-q", "-I", "256", "-m", "0", "-E", features, device],
        &[0],
    )
    .await?;
    Ok(())
}

/// Replays the journal and repairs what is damaged, as after a power cut; then grows the filesystem to its device. Growing needs a full check first, so it is only done when the device is larger.
pub async fn repair(device: &Path) -> Result<()> {
    let name = &*device.to_string_lossy();
    // 0: nothing to do; 1, 2: repaired; 4: something is left that it repairs only when told to.
    let answer = run("e2fsck", &["-p", name], &[0, 1, 2, 4, 5, 6, 7]).await?;
    info!("{}", answer.text);
    if answer.code & 4 != 0 {
        // What that loses is fetched or made again: the ledger and the stamps name what should be there.
        let answer = run("e2fsck", &["-f", "-y", name], &[0, 1, 2, 3]).await?;
        warn!("{name} was damaged, some of it may be lost: {}", answer.text);
    }
    let header = run("dumpe2fs", &["-h", name], &[0]).await?.text;
    let has = bytes(&header).with_context(|| format!("dumpe2fs says nothing of the size of {name}"))?;
    let may_have = File::open(device).and_then(|mut device| device.seek(SeekFrom::End(0)));
    let may_have = may_have.with_context(|| format!("asking for the size of {name}"))?;
    if may_have.saturating_sub(has) >= LEAST_GROWTH {
        info!("growing {name} from {has} to {may_have} bytes");
        run("e2fsck", &["-f", "-p", name], &[0, 1, 2]).await?;
        run("resize2fs", &[name], &[0]).await?;
    }
    Ok(())
}

/// An error unless the unmounted filesystem needs no repair and no journal replay.
pub async fn prove_clean(device: &Path) -> Result<()> {
    let header = run("dumpe2fs", &["-h", &*device.to_string_lossy()], &[0]).await?;
    let problem = unclean(&header.text);
    ensure!(
        problem.is_none(),
        "{} is not clean: {}",
        device.display(),
        problem.unwrap_or_default()
    );
    Ok(())
}

/// A field of what `dumpe2fs -h` prints.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Size of a filesystem.
fn bytes(header: &str) -> Option<u64> {
    let number = |name| field(header, name)?.parse::<u64>().ok();
    Some(number("Block count:")? * number("Block size:")?)
}

/// What `dumpe2fs -h` says against a clean filesystem.
fn unclean(header: &str) -> Option<String> {
    match (
        field(header, "Filesystem state:"),
        field(header, "Filesystem features:"),
    ) {
        (Some("clean"), Some(features)) if features.split(' ').any(|feature| feature == "needs_recovery") => {
            Some("its journal was not replayed".to_owned())
        }
        (Some("clean"), Some(_)) => None,
        (state, _) => Some(format!("its state is `{}`", state.unwrap_or("unknown"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_state_without_recovery_is_clean() {
        let header = |state: &str, features: &str| {
            format!(
                "Filesystem volume name:   <none>\nFilesystem features:      {features}\nFilesystem state:         {state}\n"
            )
        };
        assert_eq!(unclean(&header("clean", "has_journal extent")), None);
        assert!(
            unclean(&header("clean", "has_journal needs_recovery extent"))
                .unwrap()
                .contains("journal")
        );
        assert!(
            unclean(&header("clean with errors", "has_journal"))
                .unwrap()
                .contains("clean with errors")
        );
        assert!(unclean(&header("not clean", "has_journal")).is_some());
        assert!(unclean("").unwrap().contains("unknown"));
    }
}
