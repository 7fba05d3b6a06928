//! Tags and client tokens: how things are named before they are made, and found afterwards.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use contract::job::Role;
use contract::tags;
use sha2::{Digest, Sha256};

use crate::Aws;

/// The tags of one thing, or the tags that several have in common.
#[derive(Debug, Clone)]
pub(crate) struct Tags(Vec<(&'static str, String)>);

impl Tags {
    /// Of everything of this installation.
    pub(crate) fn stack(aws: &Aws) -> Tags {
        Tags(vec![(tags::STACK, aws.settings.stack.clone())])
    }

    /// Of everything of a build.
    pub(crate) fn build(aws: &Aws, build: &str) -> Tags {
        Tags::stack(aws).with(tags::BUILD, build)
    }

    /// Of everything of a shard of a build.
    pub(crate) fn shard(aws: &Aws, build: &str, shard: u32) -> Tags {
        Tags::build(aws, build).with(tags::SHARD, &shard.to_string())
    }

    /// Of everything of the server.
    pub(crate) fn server(aws: &Aws) -> Tags {
        Tags::stack(aws).with(tags::ROLE, Role::Server.as_str())
    }

    /// These and one more.
    pub(crate) fn with(mut self, key: &'static str, value: &str) -> Tags {
        self.0.push((key, value.to_owned()));
        self
    }

    /// What finds the things that have all of these tags.
    pub(crate) fn filters(&self) -> Option<Vec<Filter>> {
        let filter = |(key, value): &(&str, String)| Filter::builder().name(format!("tag:{key}")).values(value).build();
        Some(self.0.iter().map(filter).collect())
    }

    /// What gives a new thing these tags, and a name for the console: all values in a row.
    pub(crate) fn specification(&self, resource: ResourceType) -> TagSpecification {
        let name = self
            .0
            .iter()
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let tags = self.0.iter().map(|(key, value)| tag(key, value));
        TagSpecification::builder()
            .resource_type(resource)
            .set_tags(Some(tags.chain([tag("Name", &name)]).collect()))
            .build()
    }
}

/// The value of a tag.
pub(crate) fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

/// A person wants to keep it.
pub(crate) fn held(tags: &[Tag]) -> bool {
    value(tags, tags::HOLD).is_some()
}

/// A client token: 64 hex digits that are the same for the same parts.
pub(crate) fn token(aws: &Aws, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in [aws.settings.stack.as_str()].iter().chain(parts) {
        // The length keeps ["ab", "c"] and ["a", "bc"] apart.
        hash.update(format!("{}:{part}", part.len()));
    }
    hex::encode(hash.finalize())
}
