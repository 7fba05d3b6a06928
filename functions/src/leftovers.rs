//! Things of builds that are over and that nothing names: marked at one sweep, ended at a later one.

use std::collections::HashMap;

use anyhow::{Context, Result};
use aws_sdk_ec2::types::{Instance, Snapshot, Tag, Volume};
use contract::plan::Plan;
use contract::steps::SweepOutput;
use contract::{objects, tags};

use crate::executions::{self, Execution};
use crate::fault::{Refusal, unless_absent};
use crate::tagging::{Tags, held};
use crate::{Aws, cleanup, instances, ownership, releases, snapshots, store, tagging, times, volumes};

/// A thing that may be left over.
#[derive(Debug)]
enum Thing {
    Instance(Box<Instance>),
    Volume(Box<Volume>),
    Snapshot(Box<Snapshot>),
}

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Leave,
    /// Nothing seems to need it: ended by a later sweep that finds the same.
    Mark,
    /// It was marked, but is needed.
    Unmark,
    /// Nothing has needed it for a while.
    End,
}

/// Looks at everything that carries a build's name. Serving sees to its own things.
///
/// # Errors
/// The first of those that it had; it has looked at all the rest.
pub(crate) async fn sweep(aws: &Aws, now: &str, output: &mut SweepOutput) -> Result<()> {
    let moment = times::seconds(now)?;
    let mut builds = Builds {
        owner: ownership::look(aws).await?.owner,
        found: HashMap::new(),
    };
    let named = releases::needed_snapshots(aws).await?;
    let mut whole = Ok(());
    for thing in things(aws).await? {
        let Some(build) = thing.tag(tags::BUILD) else { continue };
        let swept = async {
            let is_needed = named.contains(thing.id()) || builds.need(aws, build, &thing, moment).await?;
            let marked = thing.tag(tags::MARKED).map(times::seconds).transpose()?;
            let is_needed = is_needed || held(thing.tags());
            let id = thing.id().to_owned();
            match fate(is_needed, thing.made(), marked, moment, aws.settings.grace_seconds) {
                Fate::Leave => {}
                Fate::Mark => {
                    mark(aws, &id, now).await?;
                    output.marked.push(id);
                }
                Fate::Unmark => unmark(aws, &id).await?,
                Fate::End => {
                    if thing.end(aws).await? {
                        output.ended.push(id);
                    }
                }
            }
            Ok(())
        };
        whole = whole.and(swept.await);
    }
    whole
}

/// Two looks, some time apart, must agree before anything ends.
fn fate(is_needed: bool, made: i64, marked: Option<i64>, now: i64, grace_seconds: u32) -> Fate {
    let older = |moment: i64| now - moment >= i64::from(grace_seconds);
    match marked {
        Some(_) if is_needed => Fate::Unmark,
        Some(marked) if older(marked) => Fate::End,
        None if !is_needed && older(made) => Fate::Mark,
        _ => Fate::Leave,
    }
}

/// What is known of builds.
struct Builds {
    owner: Option<String>,
    found: HashMap<String, Execution>,
}

impl Builds {
    /// The build needs this thing of its own, or a person does who wants to look at a worker that has failed.
    async fn need(&mut self, aws: &Aws, build: &str, thing: &Thing, now: i64) -> Result<bool> {
        let is_owner = self.owner.as_deref() == Some(build);
        let works = match self.execution(aws, build).await? {
            Execution::Running => true,
            Execution::Absent => is_owner,
            // Its clean-up keeps what its volumes hold. Instances cost by the hour, also if clean-up never succeeds.
            Execution::Over(_) => is_owner && !matches!(thing, Thing::Instance(_)),
        };
        let Thing::Instance(instance) = thing else {
            return Ok(works);
        };
        if works {
            return Ok(true);
        }
        let plan: Option<Plan> = store::find(aws, &objects::plan(build)).await?;
        Ok(cleanup::kept_seconds(aws, plan.as_ref(), instance, now).await? > 0)
    }

    async fn execution(&mut self, aws: &Aws, build: &str) -> Result<Execution> {
        if let Some(found) = self.found.get(build) {
            return Ok(*found);
        }
        let found = executions::look(aws, &aws.settings.pipeline_arn, build).await?;
        self.found.insert(build.to_owned(), found);
        Ok(found)
    }
}

async fn things(aws: &Aws) -> Result<Vec<Thing>> {
    let tags = Tags::stack(aws);
    let instances = instances::find(aws, &tags).await?;
    let instances = instances
        .into_iter()
        .filter(|instance| !instances::terminated(instance));
    let mut things: Vec<Thing> = instances.map(|instance| Thing::Instance(Box::new(instance))).collect();
    things.extend(
        volumes::find(aws, &tags)
            .await?
            .into_iter()
            .map(|volume| Thing::Volume(Box::new(volume))),
    );
    things.extend(
        snapshots::find(aws, &tags)
            .await?
            .into_iter()
            .map(|snapshot| Thing::Snapshot(Box::new(snapshot))),
    );
    Ok(things)
}

impl Thing {
    fn id(&self) -> &str {
        match self {
            Thing::Instance(instance) => instances::id(instance),
            Thing::Volume(volume) => volumes::id(volume),
            Thing::Snapshot(snapshot) => snapshots::id(snapshot),
        }
    }

    fn tags(&self) -> &[Tag] {
        match self {
            Thing::Instance(instance) => instance.tags(),
            Thing::Volume(volume) => volume.tags(),
            Thing::Snapshot(snapshot) => snapshot.tags(),
        }
    }

    fn tag(&self, key: &str) -> Option<&str> {
        tagging::value(self.tags(), key)
    }

    /// When it was made, seconds since 1970.
    fn made(&self) -> i64 {
        let moment = match self {
            Thing::Instance(instance) => instance.launch_time(),
            Thing::Volume(volume) => volume.create_time(),
            Thing::Snapshot(snapshot) => snapshot.start_time(),
        };
        moment.map_or(0, aws_smithy_types::DateTime::secs)
    }

    /// Ends it if that is possible now; a volume in use comes after its instance.
    async fn end(&self, aws: &Aws) -> Result<bool> {
        match self {
            Thing::Instance(instance) => instances::terminate(aws, instance).await?,
            Thing::Volume(volume) if !volumes::deletable(volume) => return Ok(false),
            Thing::Volume(volume) => volumes::delete(aws, volume).await?,
            Thing::Snapshot(snapshot) => snapshots::delete(aws, snapshot).await?,
        }
        Ok(true)
    }
}

async fn mark(aws: &Aws, id: &str, now: &str) -> Result<()> {
    let tag = Tag::builder().key(tags::MARKED).value(now).build();
    let request = aws.ec2.create_tags().resources(id).tags(tag).send().await;
    unless_absent(request.map_err(Refusal::from)).with_context(|| format!("marking {id}"))?;
    Ok(())
}

async fn unmark(aws: &Aws, id: &str) -> Result<()> {
    let tag = Tag::builder().key(tags::MARKED).build();
    let request = aws.ec2.delete_tags().resources(id).tags(tag).send().await;
    unless_absent(request.map_err(Refusal::from)).with_context(|| format!("unmarking {id}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_needs_is_marked_before_it_ends() {
        assert_eq!(fate(false, 0, None, 1000, 600), Fate::Mark);
        assert_eq!(fate(false, 0, Some(900), 1000, 600), Fate::Leave);
        assert_eq!(fate(false, 0, Some(400), 1000, 600), Fate::End);
    }

    #[test]
    fn what_is_young_is_left_alone() {
        assert_eq!(fate(false, 500, None, 1000, 600), Fate::Leave);
    }

    #[test]
    fn what_is_needed_again_loses_its_mark() {
        assert_eq!(fate(true, 0, Some(0), 1000, 600), Fate::Unmark);
        assert_eq!(fate(true, 0, None, 1000, 600), Fate::Leave);
    }
}
