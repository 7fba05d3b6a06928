//! Passes TCP connections on, from a listener on one side of a namespace to a port on the other.

use std::net::TcpStream as Blocking;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Accepts for ever and passes every connection on to what `connect` (which may block shortly) opens. A connection that
/// cannot be passed on is closed. Dropping the future closes the listener and every connection.
pub(super) async fn relay(listener: TcpListener, connect: impl Fn() -> Result<Blocking> + Clone + Send + 'static) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((outer, _)) => {
                    let connect = connect.clone();
                    connections.spawn(async move {
                        if let Err(error) = pass(outer, connect).await {
                            tracing::debug!("relay: {error:#}");
                        }
                    });
                }
                Err(error) => tracing::warn!("relay: cannot accept: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(mut outer: TcpStream, connect: impl FnOnce() -> Result<Blocking> + Send + 'static) -> Result<()> {
    let inner = tokio::task::spawn_blocking(connect).await??;
    inner.set_nonblocking(true)?;
    let mut inner = TcpStream::from_std(inner)?;
    outer.set_nodelay(true)?;
    inner.set_nodelay(true)?;
    copy_bidirectional(&mut outer, &mut inner).await?;
    Ok(())
}
