//! Where things lie on a builds volume, seen from outside and from inside a process that tup started.
//!
//! ```text
//! BUILDS/work/             the tup tree
//! BUILDS/work/collection/  the sources, read-only
//! BUILDS/work/apart        what portable names have to keep apart
//! BUILDS/work/build-NAME/  the variant of profile NAME: tup.config and the stamps
//! BUILDS/out/NAME/         the outputs of profile NAME
//! BUILDS/bin/              vibes-compile, as a link
//! BUILDS/loudness/         what was measured for ReplayGain, a file per folder
//! BUILDS/turns             a socket while a build runs: whose turn it is to encode
//! BUILDS/indexes/          what the last build found in out/, for a build that changes nothing
//! BUILDS/unended           there while a build runs, and after one that was cut off
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A builds volume.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    builds: PathBuf,
}

impl Layout {
    /// The layout below this folder; absolute, so that it means the same in every process.
    pub(crate) fn new(builds: &Path) -> Result<Layout> {
        let builds = std::path::absolute(builds).with_context(|| format!("finding where {} is", builds.display()))?;
        Ok(Layout { builds })
    }

    /// The root of the volume.
    pub(crate) fn builds(&self) -> &Path {
        &self.builds
    }

    /// The tup tree.
    pub(crate) fn work(&self) -> PathBuf {
        self.builds.join("work")
    }

    /// Where the sources appear.
    pub(crate) fn collection(&self) -> PathBuf {
        self.work().join("collection")
    }

    /// What portable names have to keep apart.
    pub(crate) fn apart(&self) -> PathBuf {
        self.work().join("apart")
    }

    /// The tup variant of a profile.
    pub(crate) fn variant(&self, profile: &str) -> PathBuf {
        self.work().join(format!("{VARIANT_PREFIX}{profile}"))
    }

    /// All outputs.
    pub(crate) fn out(&self) -> PathBuf {
        self.builds.join("out")
    }

    /// The outputs of a profile.
    pub(crate) fn outputs(&self, profile: &str) -> PathBuf {
        self.out().join(profile)
    }

    /// What is kept of measured albums.
    pub(crate) fn loudness(&self) -> PathBuf {
        self.builds.join("loudness")
    }

    /// What the last build found among the outputs, a file for each profile.
    pub(crate) fn indexes(&self) -> PathBuf {
        self.builds.join("indexes")
    }

    /// The mark of a build that has not ended.
    pub(crate) fn unended(&self) -> PathBuf {
        self.builds.join("unended")
    }

    /// The folder that holds the link to the program that tup runs.
    pub(crate) fn bin(&self) -> PathBuf {
        self.builds.join("bin")
    }
}

/// What the name of a variant's folder begins with.
pub(crate) const VARIANT_PREFIX: &str = "build-";

/// What the name of an unfinished output begins with; reconcile removes such files.
pub(crate) const UNFINISHED_PREFIX: &str = ".vibes-unfinished-";

/// The folder and profile for which tup started this process.
#[derive(Debug)]
pub(crate) struct Place {
    /// The builds volume.
    pub(crate) layout: Layout,
    /// The profile.
    pub(crate) profile: String,
    /// The folder's path below the collection; none for the tree's own root.
    pub(crate) folder: Option<PathBuf>,
}

impl Place {
    /// Reads the place from what tup gives to every process: the current folder
    /// `WORK/build-NAME/collection/FOLDER`, and `tup_vardict`, which is `WORK/.tup/vardict-build-NAME`.
    ///
    /// # Errors
    /// This process was not started by tup.
    pub(crate) fn of_this_process() -> Result<Place> {
        let vardict = std::env::var_os("tup_vardict")
            .context("tup_vardict is not set: only tup can start this; use vibes-compile build")?;
        let current = std::env::current_dir().context("reading the current folder")?;
        Place::new(vardict, &current)
    }

    fn new(vardict: OsString, current: &Path) -> Result<Place> {
        let vardict = PathBuf::from(vardict);
        let unexpected = || format!("unexpected place: {vardict:?}, {current:?}");
        let work = vardict.parent().and_then(Path::parent).with_context(unexpected)?;
        let profile = vardict
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("vardict-")?.strip_prefix(VARIANT_PREFIX))
            .with_context(unexpected)?;
        let builds = work.parent().with_context(unexpected)?;
        let layout = Layout {
            builds: builds.to_owned(),
        };
        let below = current.strip_prefix(layout.variant(profile)).with_context(unexpected)?;
        Ok(Place {
            folder: below.strip_prefix("collection").ok().map(Path::to_owned),
            profile: profile.to_owned(),
            layout,
        })
    }

    /// The collection as this process sees it: inside the variant, where tup notes what is read.
    pub(crate) fn collection(&self) -> PathBuf {
        self.layout.variant(&self.profile).join("collection")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_what_tup_gives() {
        let place = |current: &str| Place::new("/b/work/.tup/vardict-build-car".into(), Path::new(current));
        let folder = place("/b/work/build-car/collection/x/build-car/collection").unwrap();
        assert_eq!(folder.profile, "car");
        assert_eq!(folder.folder.as_deref(), Some(Path::new("x/build-car/collection")));
        assert_eq!(folder.collection(), Path::new("/b/work/build-car/collection"));
        assert_eq!(place("/b/work/build-car").unwrap().folder, None);
        assert!(place("/elsewhere").is_err());
    }
}
