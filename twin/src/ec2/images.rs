//! Images: `ami-twin-...` is this machine, whatever follows; `ami-tree-...` an image of `make image`.

use time::OffsetDateTime;

use super::query::{Filtered, Query, Tags, passes};
use super::refusal::{Outcome, Refusal};
use super::state::{Image, new_id};
use super::{Ec2, Reply, stamp, tag_set};
use crate::ACCOUNT;
use crate::xml::{leaf, node, set};

/// The host's, in AWS's words.
pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x86_64"
};

impl Ec2 {
    /// AWS's refusal of an image that instances cannot start from.
    pub(super) fn check_image(&self, id: &str) -> Outcome<()> {
        if !id.starts_with("ami-") {
            return Err(Refusal::new(
                "InvalidAMIID.Malformed",
                format!("Invalid id: \"{id}\" (expecting \"ami-...\")"),
            ));
        }
        let absent = |why: String| {
            Refusal::new(
                "InvalidAMIID.NotFound",
                format!("The image id '[{id}]' does not exist: {why}"),
            )
        };
        if id.starts_with("ami-tree-") {
            return self
                .machines
                .check_image(id)
                .map_err(|error| absent(format!("{error:#}")));
        }
        match id.starts_with("ami-twin-") {
            true => Ok(()),
            false => Err(absent(
                "images of the twin are called ami-twin-... or ami-tree-...".to_owned(),
            )),
        }
    }

    /// Registers an image of snapshots, which is all that packer leaves. Instances cannot start from it here.
    pub(super) fn register_image(&self, query: Query<'_>) -> Outcome<Reply> {
        let name = query.need("Name")?;
        let device = |number| query.get(&format!("BlockDeviceMapping.{number}.Ebs.SnapshotId"));
        let snapshots: Vec<_> = query
            .numbers("BlockDeviceMapping")
            .into_iter()
            .filter_map(device)
            .collect();
        self.change(|state| {
            for snapshot in &snapshots {
                state.snapshot(snapshot)?;
            }
            let image = Image {
                id: new_id("ami-"),
                name: name.to_owned(),
                snapshots: snapshots.iter().map(|&id| id.to_owned()).collect(),
                created: OffsetDateTime::now_utc(),
                tags: query.tag_specification("image"),
            };
            let id = image.id.clone();
            state.images.insert(id.clone(), image);
            Ok(Reply {
                inner: leaf("imageId", &id),
                made: vec![id],
            })
        })
    }

    /// Forgets an image; its snapshots stay.
    pub(super) fn deregister_image(&self, query: Query<'_>) -> Outcome<Reply> {
        let id = query.need("ImageId")?;
        self.change(|state| {
            state.image(id)?;
            state.images.remove(id);
            Ok(Reply::done())
        })
    }

    /// The named images, or those that were registered: every name of an `ami-twin-...` exists, so they are not listed.
    pub(super) fn describe_images(&self, query: Query<'_>) -> Outcome<Reply> {
        let (ids, owners, filters) = (query.list("ImageId"), query.list("Owner"), query.filters());
        let ours = owners.is_empty() || owners.iter().any(|owner| matches!(*owner, "self" | ACCOUNT));
        self.look(|state| {
            let mut found = Vec::new();
            for id in &ids {
                found.push(match state.image(id) {
                    Ok(image) => image.clone(),
                    Err(_) => self.check_image(id).map(|()| Image::made_here(id))?,
                });
            }
            if ids.is_empty() && ours {
                found.extend(state.images.values().cloned());
            }
            let mut items = Vec::new();
            for image in found {
                if passes(&image, &filters)? {
                    items.push(image_xml(&image));
                }
            }
            Ok(Reply::of(set("imagesSet", items)))
        })
    }
}

impl Image {
    /// The image that a name stands for, which nobody has registered.
    fn made_here(id: &str) -> Image {
        Image {
            id: id.to_owned(),
            name: id.to_owned(),
            snapshots: Vec::new(),
            created: OffsetDateTime::UNIX_EPOCH,
            tags: Tags::new(),
        }
    }
}

impl Filtered for Image {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(match name {
            "image-id" => vec![self.id.clone()],
            "name" => vec![self.name.clone()],
            "architecture" => vec![ARCHITECTURE.to_owned()],
            _ => return None,
        })
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

fn image_xml(image: &Image) -> String {
    let devices = image
        .snapshots
        .iter()
        .map(|id| leaf("deviceName", "/dev/xvda") + &node("ebs", &leaf("snapshotId", id)));
    [
        leaf("imageId", &image.id),
        leaf("name", &image.name),
        leaf("imageState", "available"),
        leaf("imageOwnerId", ACCOUNT),
        leaf("creationDate", stamp(image.created)),
        leaf("isPublic", false),
        leaf("architecture", ARCHITECTURE),
        leaf("imageType", "machine"),
        leaf("rootDeviceType", "ebs"),
        leaf("rootDeviceName", "/dev/xvda"),
        leaf("virtualizationType", "hvm"),
        set("blockDeviceMapping", devices),
        tag_set(&image.tags),
    ]
    .concat()
}
