//! What an image is made of: `/PREFIX/image/ROLE`, written by whoever makes the image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The versions on an image that can change a build's outputs; part of the fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Version of `vibes-compile`.
    pub compiler: String,
    /// Encoder program -> version.
    pub encoders: BTreeMap<String, String>,
    /// `x86_64` or `arm64`, as EC2 spells it.
    pub architecture: String,
}
