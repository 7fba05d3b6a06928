//! What the end-to-end tests are written with: the sample collection, a world to build it in, and eyes for the result.
//!
//! Nothing here knows the inside of vibes: only its programs, the endpoint of the twin, and files.

mod operate;
pub mod project;
pub mod readback;
pub mod rights;
pub mod sample;
pub mod template;
pub mod tree;
pub mod world;
