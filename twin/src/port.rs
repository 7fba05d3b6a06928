//! Ports on 127.0.0.1 that stay the same across restarts if they can, so that what was printed or stored before (queue
//! URLs, an exported environment) stays true.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};

/// Listens on `port`; 0 takes the one that `memory` remembers if it is free, else any. Remembers it.
pub fn listen(port: u16, memory: &Path) -> Result<TcpListener> {
    let at = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let last = || std::fs::read_to_string(memory).ok()?.trim().parse().ok();
    let listener = match port {
        0 => at(last().unwrap_or(0)).or_else(|_| at(0))?,
        port => at(port).with_context(|| format!("port {port} is taken: choose another by --port"))?,
    };
    std::fs::write(memory, listener.local_addr()?.port().to_string())
        .with_context(|| format!("cannot write {}", memory.display()))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_port_is_taken_again_unless_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("port");
        let first = listen(0, &memory).unwrap();
        let port = first.local_addr().unwrap().port();
        let other = listen(0, &memory).unwrap();
        assert_ne!(other.local_addr().unwrap().port(), port);
        assert!(listen(port, &memory).unwrap_err().to_string().contains("--port"));
        let last = other.local_addr().unwrap().port();
        drop(other);
        assert_eq!(listen(0, &memory).unwrap().local_addr().unwrap().port(), last);
    }
}
