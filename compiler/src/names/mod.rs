//! Rules about names: which may become files, how any name travels through tup, and what outputs are called.

mod acceptance;
mod encoding;
mod output;
mod portable;
mod stamp;

pub use acceptance::{refusals, special};
pub(crate) use encoding::{decode, encode};
pub(crate) use output::{Apart, Naming};
pub(crate) use stamp::{SUFFIX as STAMP_SUFFIX, stamp};

/// The longest file name in bytes that ext4 holds. In UTF-8 they are never more than the 255 units of UTF-16 that FAT holds.
pub(crate) const LONGEST_NAME: usize = 255;
