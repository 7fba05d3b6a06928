//! Brings the server to what is wished for: a wish starts the serve machine, which steps until nothing is left to do.
//!
//! Serving belongs to no build. One serve execution converges at a time; it is named in `serve/desired.json`, and hands
//! back only if nobody wished for anything else meanwhile. The server's things carry `vibes:role=server` and no build.

mod converge;
mod mounts;
mod server;
mod wish;

use contract::steps::{ServeInput, ServeOutput};

use crate::Aws;
use crate::fault::Fault;

pub(crate) use wish::wake;

/// Notes a wish, or takes one step towards it.
pub async fn handle(aws: &Aws, input: ServeInput) -> Result<ServeOutput, Fault> {
    match input {
        ServeInput::Request { now: _, up, until } => Ok(wish::request(aws, up, until).await?),
        ServeInput::Converge { execution, now, round } => Ok(converge::converge(aws, &execution, &now, round).await?),
    }
}
