//! What an output was made from, kept on the output itself, so that nothing is encoded that is there already.
//!
//! tup runs a job again when the ctime of what it reads has changed, whatever is in it, and after it was killed every job of
//! that run (measured with 0.7.11). A job whose output is there, made from the same samples, tags and pictures by the
//! same encoder, then only writes its stamp.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use lofty::picture::Picture;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::command::Job;
use crate::encode;
use crate::tags::Tags;

/// Name of the extended attribute.
const ATTRIBUTE: &str = "user.vibes.made-from";
/// Its length in bytes: a SHA-256 and a size.
const LENGTH: usize = 32 + 8;

/// A digest over everything that decides an output's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MadeFrom([u8; 32]);

impl MadeFrom {
    /// Of a job that reads this source and writes these tags and pictures.
    pub(crate) fn new(job: &Job, source: &Path, tags: &Tags, pictures: &[Picture]) -> Result<MadeFrom> {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        for argument in job.of_encoder() {
            add(argument.as_bytes());
        }
        let (size, sha256) = encode::digest(source)?;
        add(format!("{size} {sha256}").as_bytes());
        for (name, values) in tags.iter() {
            add(format!("{name}={}", values.len()).as_bytes());
            for value in values {
                add(value.as_bytes());
            }
        }
        for picture in pictures {
            add(&[picture.pic_type().as_u8()]);
            add(picture.mime_type().map_or("", |kind| kind.as_str()).as_bytes());
            add(picture.description().unwrap_or_default().as_bytes());
            add(picture.data());
        }
        Ok(MadeFrom(digest.finalize().into()))
    }

    /// Whether this output is there, whole, and was made from the same.
    pub(crate) fn is_of(&self, output: &Path) -> bool {
        let mut found = [0; LENGTH];
        let noted = getxattr(output, ATTRIBUTE, &mut found) == Ok(LENGTH);
        noted && self.attribute(output).is_ok_and(|attribute| attribute == found)
    }

    /// Notes it on a finished output. A file system that keeps no attributes only loses the short cut.
    pub(crate) fn note_on(&self, output: &Path) -> Result<()> {
        let noting = || format!("noting what {} was made from", output.display());
        let attribute = self.attribute(output).with_context(noting)?;
        match setxattr(output, ATTRIBUTE, &attribute, XattrFlags::empty()) {
            Err(Errno::NOTSUP) => Ok(()),
            result => result.map_err(io::Error::from).with_context(noting),
        }
    }

    /// The digest, and the output's size: who cuts a file leaves its attributes.
    fn attribute(&self, output: &Path) -> io::Result<[u8; LENGTH]> {
        let mut attribute = [0; LENGTH];
        attribute[..32].copy_from_slice(&self.0);
        attribute[32..].copy_from_slice(&fs::metadata(output)?.size().to_be_bytes());
        Ok(attribute)
    }
}
