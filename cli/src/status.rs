//! Says what is built, served and going on.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use contract::objects;
use contract::release::Release;

use crate::cloud::Cloud;
use crate::{follow, pull, stacks, summary, units, ways};

/// Prints it.
pub(crate) async fn print(cloud: &Cloud) -> Result<()> {
    let places = stacks::places(cloud).await?;
    println!("sources:  s3://{}", places.sources_bucket);
    println!("state:    s3://{}", places.state_bucket);
    let control = follow::control(cloud, &places).await?;
    let more = if control.pending {
        ", another build is wished for"
    } else {
        ""
    };
    println!("building: {}{more}", control.owner.as_deref().unwrap_or("nothing"));
    let Some(name) = follow::release(cloud).await? else {
        println!("release:  none yet");
        return Ok(());
    };
    let release: Option<Release> = cloud.json(&places.state_bucket, &objects::release(&name)).await?;
    match release {
        None => println!("release:  {name}, but its description is missing"),
        Some(release) => {
            let failed = units::count(release.failed.len(), "track");
            println!(
                "release:  {name} of {}, {failed} failed: {}",
                release.published,
                release.profiles.join(", ")
            );
        }
    }
    if let Some(used) = summary::used(cloud, &places, &name).await? {
        println!("used:     {used}");
    }
    match pull::served(cloud, &places, Duration::ZERO).await {
        Ok(served) => {
            println!(
                "served:   {} at {}: {}",
                served.release,
                served.address,
                served.profiles.join(", ")
            );
            for way in ways::list(&served, Path::new("")) {
                println!("  {way}");
            }
        }
        Err(reason) => println!("served:   {reason:#}"),
    }
    Ok(())
}
