//! Ends an attempt's instance and waits until its volumes are free.

use contract::job::Kind;
use contract::plan::Plan;
use contract::status::{Final, Status};
use contract::steps::{RetireWorkerInput, RetireWorkerOutput};
use contract::{objects, tags};

use crate::fault::{Fault, not_ready};
use crate::tagging::{Tags, held};
use crate::{Aws, instances, store, volumes};

/// One step towards a terminated instance and available volumes; `NotReady` until then.
///
/// Ending what is its own is always allowed, so there is no fence. A failed worker that is to be kept stays for clean-up
/// to end.
pub async fn handle(aws: &Aws, input: RetireWorkerInput) -> Result<RetireWorkerOutput, Fault> {
    let RetireWorkerInput { build, shard, attempt } = &input;
    let plan: Plan = store::read(aws, &objects::plan(build)).await?;
    let output = RetireWorkerOutput {
        next_attempt: attempt + 1,
        again: *attempt < plan.attempts,
    };
    if plan.input.keep_failed_worker_minutes > 0 {
        let status: Option<Status> = store::find(aws, &objects::status(build, *shard, *attempt)).await?;
        if status.and_then(|status| status.last) == Some(Final::Failed) {
            return Ok(RetireWorkerOutput { again: false, ..output });
        }
    }

    let of_shard = Tags::shard(aws, build, *shard);
    let of_attempt = of_shard.clone().with(tags::ATTEMPT, &attempt.to_string());
    let mut left = Vec::new();
    for instance in instances::find(aws, &of_attempt)
        .await?
        .iter()
        .filter(|instance| !instances::terminated(instance))
    {
        let id = instances::id(instance);
        if held(instance.tags()) {
            left.push(format!("{id} (held: remove its tag {})", tags::HOLD));
            continue;
        }
        instances::terminate(aws, instance).await?;
        left.push(id.to_owned());
    }
    if !left.is_empty() {
        return Err(not_ready(format!("not yet terminated: {}", left.join(", "))).into());
    }
    for kind in [Kind::Sources, Kind::Builds] {
        for volume in volumes::find(aws, &of_shard.clone().with(tags::ROLE, kind.as_str())).await? {
            volumes::freed(aws, &volume).await?;
        }
    }
    Ok(output)
}
