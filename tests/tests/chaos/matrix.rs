//! Cases, run in several lanes at once, and the table of what they came to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::lane::{End, Lane};
use crate::moments::Act;

/// More calls of one place than this are a loop that waits: whether there is another is chance.
pub(crate) const MOST_OF_ONE: u32 = 3;

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Where, for the table.
    pub(crate) row: String,
    /// How, for the table.
    pub(crate) column: String,
    /// For people.
    pub(crate) name: String,
    /// Rules for the twin.
    pub(crate) faults: Value,
    /// What happens besides.
    pub(crate) act: Option<Act>,
}

/// What chance is made of: `VIBES_CHAOS_SEED`, or the time.
pub(crate) fn seed() -> String {
    std::env::var("VIBES_CHAOS_SEED").unwrap_or_else(|_| {
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
        now.as_secs().to_string()
    })
}

/// How much of a matrix is run, by `VIBES_CHAOS_RUNS` (a number, or `all`) and [`seed`]; only the cases whose
/// name contains `VIBES_CHAOS_ONLY`, if that is set.
pub(crate) fn sampled(mut cases: Vec<Case>, usual: usize) -> Vec<Case> {
    let wish = |name: &str| std::env::var(name).ok();
    if let Some(only) = wish("VIBES_CHAOS_ONLY") {
        cases.retain(|case| case.name.contains(&only));
    }
    let all = cases.len();
    let seed = seed();
    cases.sort_by_key(|case| Sha256::digest(format!("{seed} {}", case.name)));
    match wish("VIBES_CHAOS_RUNS").as_deref() {
        Some("all") => {}
        Some(number) => cases.truncate(number.parse().expect("VIBES_CHAOS_RUNS is a number or `all`")),
        None => cases.truncate(usual),
    }
    println!("chaos: {} of {all} cases, VIBES_CHAOS_SEED={seed}", cases.len());
    cases
}

/// Runs the cases of a matrix in this lane and as many others as `VIBES_CHAOS_LANES` says (two if it does not); an error if
/// one is red.
pub(crate) async fn run(matrix: &str, first: Lane, cases: Vec<Case>) -> Result<()> {
    let lanes = std::env::var("VIBES_CHAOS_LANES").map_or(Ok(2), |number| number.parse())?;
    let all = cases.len();
    let (queue, results) = (Mutex::new(VecDeque::from(cases)), Mutex::new(Vec::new()));
    let serves = first.serves();
    let lane = async |mut lane: Option<Lane>| -> Result<()> {
        loop {
            let next = queue.lock().expect("no panic inside").pop_front();
            let Some(case) = next else { break };
            let mut ready = match lane.take() {
                Some(lane) => lane,
                None => Lane::start(serves).await?,
            };
            let begin = Instant::now();
            let end = ready.case(&case).await;
            let seconds = begin.elapsed().as_secs_f64();
            match &end {
                // What is left of this case must not be taken for the next one's.
                Err(error) => {
                    println!("chaos: RED {} ({seconds:.1} s): {error:#}", case.name);
                }
                Ok(end) => {
                    lane = Some(ready);
                    println!("chaos: {end:?} {} ({seconds:.1} s)", case.name);
                }
            }
            let mut results = results.lock().expect("no panic inside");
            results.push((case, end.ok()));
            if results.len() % 20 == 0 {
                println!("chaos: {} of {all}", results.len());
            }
        }
        lane.map_or(Ok(()), |lane| lane.world.done())
    };
    let others = (1..lanes).map(|_| lane(None));
    let all_lanes = std::iter::once(lane(Some(first))).chain(others);
    futures::future::try_join_all(all_lanes).await?;
    let results = results.into_inner()?;
    print!("{}", table(&results));
    let red = results.iter().filter(|(_, end)| end.is_none()).count();
    tests::total(matrix, all, red);
    ensure!(red == 0, "{red} of {all} cases are red");
    Ok(())
}

/// For each row and column, how many cases came to what.
fn table(results: &[(Case, Option<End>)]) -> String {
    let mut cells: BTreeMap<(&str, &str), [u32; 5]> = BTreeMap::new();
    for (case, end) in results {
        let at = match end {
            Some(End::Released) => 0,
            Some(End::Failed) => 1,
            Some(End::DeadLetter) => 2,
            Some(End::NotReached) => 3,
            None => 4,
        };
        cells.entry((&case.row, &case.column)).or_default()[at] += 1;
    }
    let mut text = String::from(
        "| where | what | released | failed by name | dead letter | not reached | red |\n|---|---|---|---|---|---|---|\n",
    );
    for ((row, column), [released, failed, dead, not, red]) in cells {
        text += &format!("| {row} | {column} | {released} | {failed} | {dead} | {not} | {red} |\n");
    }
    text
}
