//! Brings the server to what is wished for: a wish starts the serve machine, which steps until nothing is left to do.
//!
//! Serving belongs to no build. One serve execution converges at a time; it is named in `serve/desired.json`, and hands
//! back only if nobody wished for anything else meanwhile. The server's things carry `vibes:role=server` and no build.

mod access;
mod converge;
mod mounts;
mod server;
mod wish;

use contract::steps::{ServeInput, ServeOutput};

use crate::fault::Fault;
use crate::{Aws, ownership};

pub(crate) use wish::wake;

/// Notes a wish, takes one step towards it, or tells the server who may pull.
pub async fn handle(aws: &Aws, input: ServeInput) -> Result<ServeOutput, Fault> {
    if ownership::look(aws).await?.shut {
        return Ok(ServeOutput {
            converged: true,
            wait_seconds: 0,
            round: 0,
            step: "the stack is being deleted".to_owned(),
            address: None,
        });
    }
    match input {
        ServeInput::Request { up, until } => Ok(wish::request(aws, up, until).await?),
        ServeInput::Converge {
            execution,
            now,
            round,
            wish,
        } => {
            if round == 0 {
                wish::take(aws, &execution, wish).await?;
            }
            Ok(converge::converge(aws, &execution, &now, round).await?)
        }
        ServeInput::Access {} => Ok(ServeOutput {
            converged: true,
            wait_seconds: 0,
            round: 0,
            step: access::hand_on_change(aws).await?.to_owned(),
            address: None,
        }),
    }
}
