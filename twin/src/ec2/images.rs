//! Images: `ami-twin-...` is this machine, whatever follows; `ami-tree-...` an image of `make image`.

use super::Reply;
use super::query::Query;
use super::refusal::{Outcome, Refusal};
use crate::ACCOUNT;
use crate::xml::{leaf, set};

/// The host's, in AWS's words.
pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x86_64"
};

/// AWS's refusal of an image that does not exist.
pub(super) fn check(id: &str) -> Outcome<()> {
    if id.starts_with("ami-twin-") || id.starts_with("ami-tree-") {
        return Ok(());
    }
    if !id.starts_with("ami-") {
        return Err(Refusal::new(
            "InvalidAMIID.Malformed",
            format!("Invalid id: \"{id}\" (expecting \"ami-...\")"),
        ));
    }
    let message = format!("The image id '[{id}]' does not exist: images of the twin are called ami-twin-... or ami-tree-...");
    Err(Refusal::new("InvalidAMIID.NotFound", message))
}

/// The named images; without names there is nothing to list, because every name exists.
pub(super) fn describe_images(query: Query<'_>) -> Outcome<Reply> {
    let ids = query.list("ImageId");
    ids.iter().try_for_each(|id| check(id))?;
    let image = |id: &str| {
        [
            leaf("imageId", id),
            leaf("name", id),
            leaf("imageState", "available"),
            leaf("imageOwnerId", ACCOUNT),
            leaf("isPublic", false),
            leaf("architecture", ARCHITECTURE),
            leaf("imageType", "machine"),
            leaf("rootDeviceType", "ebs"),
            leaf("rootDeviceName", "/dev/xvda"),
            leaf("virtualizationType", "hvm"),
        ]
        .concat()
    };
    Ok(Reply::of(set("imagesSet", ids.into_iter().map(image))))
}
