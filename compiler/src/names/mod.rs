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
