//! Tags of instances, volumes and snapshots. Those of networks and launch templates are the base's.

use super::query::{Filtered, Query, Tags, passes};
use super::refusal::{Outcome, Refusal};
use super::state::State;
use super::{Ec2, Reply};
use crate::call::Call;
use crate::xml::{leaf, maybe, set};

/// AWS's limit for one resource.
const MOST_TAGS: usize = 50;

/// A tag and what carries it, as DescribeTags lists them.
struct Tagging {
    resource: String,
    resource_type: &'static str,
    key: String,
    value: String,
    /// Only for `tag:` filters.
    one: Tags,
}

impl Ec2 {
    /// Whether a tagging call is about things of the base only.
    pub(super) fn is_tagging_elsewhere(&self, call: &Call) -> bool {
        let ids = Query(&call.parameters).list("ResourceId");
        matches!(call.action.as_str(), "CreateTags" | "DeleteTags") && !ids.is_empty() && !ids.into_iter().any(is_ours)
    }

    pub(super) fn create_tags(&self, query: Query<'_>) -> Outcome<Reply> {
        let new = query.tags("Tag");
        self.tagged(query, |tags| {
            tags.extend(new.clone());
            match tags.len() {
                0..=MOST_TAGS => Ok(()),
                _ => Err(Refusal::new("TagLimitExceeded", format!("More than {MOST_TAGS} tags"))),
            }
        })
    }

    pub(super) fn delete_tags(&self, query: Query<'_>) -> Outcome<Reply> {
        let named: Vec<(String, Option<String>)> = query
            .numbers("Tag")
            .into_iter()
            .filter_map(|number| {
                let key = query.get(&format!("Tag.{number}.Key"))?;
                Some((
                    key.to_owned(),
                    query.get(&format!("Tag.{number}.Value")).map(str::to_owned),
                ))
            })
            .collect();
        self.tagged(query, |tags| {
            tags.retain(|key, value| {
                // A given value must match; no tags at all means all.
                let hit = |(k, v): &(String, Option<String>)| k == key && v.as_ref().is_none_or(|v| v == value);
                !(named.is_empty() || named.iter().any(hit))
            });
            Ok(())
        })
    }

    fn tagged(&self, query: Query<'_>, change: impl Fn(&mut Tags) -> Outcome<()>) -> Outcome<Reply> {
        let ids = query.list("ResourceId");
        if ids.is_empty() {
            query.need("ResourceId")?;
        }
        self.change(|state| {
            // All or none.
            let mut changed = Vec::new();
            for id in &ids {
                let mut tags = tags_of(state, id)?.clone();
                change(&mut tags)?;
                changed.push(tags);
            }
            for (id, tags) in ids.iter().zip(changed) {
                *tags_of(state, id)? = tags;
            }
            Ok(())
        })?;
        Ok(Reply::done())
    }

    pub(super) fn describe_tags(&self, query: Query<'_>) -> Outcome<Reply> {
        let filters = query.filters();
        self.look(|state| {
            let mut found = Vec::new();
            for tagging in taggings(state) {
                if passes(&tagging, &filters)? {
                    found.push(tagging);
                }
            }
            let (page, token) = query.page(found, |tagging| format!("{} {}", tagging.resource, tagging.key))?;
            let items = page.iter().map(|tagging| {
                [
                    leaf("resourceId", &tagging.resource),
                    leaf("resourceType", tagging.resource_type),
                    leaf("key", &tagging.key),
                    leaf("value", &tagging.value),
                ]
                .concat()
            });
            Ok(Reply::of(set("tagSet", items) + &maybe("nextToken", token)))
        })
    }
}

fn is_ours(id: &str) -> bool {
    ["i-", "vol-", "snap-"].iter().any(|prefix| id.starts_with(prefix))
}

/// The tags of an instance, a volume, a snapshot or a registered image.
pub(super) fn tags_of<'a>(state: &'a mut State, id: &str) -> Outcome<&'a mut Tags> {
    match id.split('-').next() {
        Some("i") => Ok(&mut state.instance(id)?.tags),
        Some("vol") => Ok(&mut state.volume(id)?.tags),
        Some("snap") => Ok(&mut state.snapshot(id)?.tags),
        Some("ami") => Ok(&mut state.image(id)?.tags),
        _ => Err(Refusal::new(
            "InvalidID",
            format!("The ID '{id}' is not valid here together with others of the twin"),
        )),
    }
}

/// Everything tagged, sorted by resource and key.
fn taggings(state: &State) -> Vec<Tagging> {
    let instances = state.instances.values().map(|it| (&it.id, "instance", &it.tags));
    let volumes = state.volumes.values().map(|it| (&it.id, "volume", &it.tags));
    let snapshots = state.snapshots.values().map(|it| (&it.id, "snapshot", &it.tags));
    let tagged = instances.chain(snapshots).chain(volumes);
    tagged
        .flat_map(|(id, resource_type, tags)| {
            tags.iter().map(move |(key, value)| Tagging {
                resource: id.clone(),
                resource_type,
                key: key.clone(),
                value: value.clone(),
                one: Tags::from([(key.clone(), value.clone())]),
            })
        })
        .collect()
}

impl Filtered for Tagging {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(match name {
            "resource-id" => vec![self.resource.clone()],
            "resource-type" => vec![self.resource_type.to_owned()],
            "key" => vec![self.key.clone()],
            "value" => vec![self.value.clone()],
            _ => return None,
        })
    }

    fn tags(&self) -> &Tags {
        &self.one
    }
}
