//! No fault loses anything or leaves anything behind: not by examples, but by enumeration. `make chaos` runs all of it,
//! `make test` a sample.

mod calls;
mod lane;
mod matrix;
mod moments;
mod power_cut;
mod storm;

use anyhow::Result;

use crate::lane::Lane;

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_in_every_way() -> Result<()> {
    let mut lane = Lane::start(false).await?;
    let cases = calls::cases(&mut lane).await?;
    matrix::run("calls x faults", lane, matrix::sampled(cases, 20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_serves_may_fail_in_every_way() -> Result<()> {
    let mut lane = Lane::start(true).await?;
    let cases = calls::cases(&mut lane)
        .await?
        .into_iter()
        .filter(|case| ["server", "vibes-serve"].contains(&case.row.as_str()));
    let cases = matrix::sampled(cases.collect(), 6);
    matrix::run("calls that serve x faults", lane, cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_may_be_stopped_in_every_state_and_its_worker_lost_at_every_step() -> Result<()> {
    let mut lane = Lane::start(false).await?;
    let cases = moments::cases(&mut lane).await?;
    let what = "states x stops, moments x time-outs, the worker's calls x accidents";
    matrix::run(what, lane, matrix::sampled(cases, 6)).await
}
