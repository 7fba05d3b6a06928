//! Tells how builds went and what there is now.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use contract::estimate::Estimate;
use contract::input::Market;
use contract::objects;
use contract::plan::Plan;
use contract::printable::printable;
use contract::report::{Failure, Refusal, Report};

use crate::cloud::Cloud;
use crate::follow::{Ended, How};
use crate::pull::Served;
use crate::stacks::Places;
use crate::{units, ways};

/// Names of a kind that are listed; the report has all of them.
const LISTED: usize = 10;

/// Says of each build what it made, removed and could not make.
pub(crate) async fn print_builds(cloud: &Cloud, places: &Places, builds: &[Ended]) -> Result<()> {
    for Ended { build, how } in builds {
        match how {
            How::UpToDate => println!("{build}: up to date"),
            How::Queued => println!("{build}: another build was running, which did it"),
            How::Failed { error, cause } => println!("{build}: failed: {error}: {}", lines(cause)),
            How::Built => print_reports(cloud, places, build).await?,
        }
        if let Some(used) = used(cloud, places, build).await? {
            println!("{build} used {used}");
        }
    }
    Ok(())
}

/// What a build used, in one line; none if it launched nothing, or has not ended.
pub(crate) async fn used(cloud: &Cloud, places: &Places, build: &str) -> Result<Option<String>> {
    let estimate: Option<Estimate> = cloud.json(&places.state_bucket, &objects::estimate(build)).await?;
    Ok(estimate.as_ref().map(in_words))
}

fn in_words(estimate: &Estimate) -> String {
    let markets = [(Market::Spot, "spot"), (Market::OnDemand, "on-demand")];
    let markets = markets.map(|(market, name)| (estimate.instance_seconds(market), name));
    let instances: String = markets
        .iter()
        .filter(|(seconds, _)| *seconds > 0)
        .map(|(seconds, name)| format!("{} of {name} instances, ", units::time(Duration::from_secs(*seconds))))
        .collect();
    format!(
        "{instances}{:.2} GB-hours of volumes, at most {} GB of snapshots",
        estimate.volume_gib_seconds() as f64 / 3600.0,
        estimate.snapshot_gib()
    )
}

async fn print_reports(cloud: &Cloud, places: &Places, build: &str) -> Result<()> {
    let plan: Option<Plan> = cloud.json(&places.state_bucket, &objects::plan(build)).await?;
    let mut shards = Vec::new();
    for shard in plan.context("a build without a plan")?.shards {
        let key = objects::report(build, shard.shard);
        let report: Option<Report> = cloud.json(&places.state_bucket, &key).await?;
        let report = report.with_context(|| format!("s3://{}/{key} is missing", places.state_bucket))?;
        shards.push(report);
    }
    let sum = Report::of_shards(shards);
    println!(
        "{build}: {} built, {} removed, {} failed",
        units::count(sum.built.len(), "file"),
        sum.removed.len(),
        sum.failed.len()
    );
    list("removed", sum.removed.iter().cloned());
    list("failed", sum.failed.iter().map(Failure::to_string));
    list("not taken", sum.refused.iter().map(Refusal::to_string));
    list("warning", sum.warnings.iter().cloned());
    Ok(())
}

/// Several lines, each as [`printable`] has it.
fn lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn list(what: &str, lines: impl ExactSizeIterator<Item = String>) {
    let more = lines.len().saturating_sub(LISTED);
    for line in lines.take(LISTED) {
        println!("  {what}: {}", printable(&line));
    }
    if more > 0 {
        println!("  {what}: and {more} more");
    }
}

/// Says what is where, and how to fetch it again.
pub(crate) fn print_served(served: &Served, out: &Path) -> Result<()> {
    println!(
        "{} is served at {} and lies in {}:",
        served.release,
        served.address,
        out.display()
    );
    for profile in &served.profiles {
        let (files, bytes) = size(&out.join(profile))?;
        println!(
            "  {profile:12} {:>12} {:>10}   {}",
            units::count(files, "file"),
            units::bytes(bytes),
            ways::url(served, profile)
        );
    }
    println!("To pull again, profile by profile (other ways: vibes status):");
    println!("  {}", ways::rsync(served, out));
    Ok(())
}

/// Says how long each step took.
pub(crate) fn print_times(times: &[(&str, Duration)]) {
    let sum = times.iter().map(|(_, time)| *time).sum();
    let steps: Vec<_> = times
        .iter()
        .map(|(step, time)| format!("{step} {}", units::time(*time)))
        .collect();
    println!("Time: {} ({})", units::time(sum), steps.join(", "));
}

/// Number of files and bytes below a directory.
fn size(dir: &Path) -> Result<(usize, u64)> {
    let mut sum = (0, 0);
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let (files, bytes) = if entry.file_type()?.is_dir() {
            size(&entry.path())?
        } else {
            (1, entry.metadata()?.len())
        };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    Ok(sum)
}
