//! An instance's addresses: made from its id, and proven free by listening on them.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Running;

/// What a server may offer: SSH, HTTP, HTTPS, rsync.
const PORTS: [u16; 4] = [22, 80, 443, 873];

/// The port that must be free on the host: releases are pulled through it.
const RSYNC: u16 = 873;

/// How many addresses are tried. Random ids meet once in four million, equal ids of several twins always; when this many
/// addresses are taken, a daemon on the host has the port on every address.
const TRIES: u8 = 64;

/// Finds addresses for an instance and listens on the public one. A port that the host itself uses on every address (its
/// own SSH daemon, often) is left out with a warning; port 873 must be free.
pub(super) fn claim(id: &str) -> Result<(Running, Vec<TcpListener>)> {
    let mut last = None;
    for attempt in 0..TRIES {
        let addresses = addresses(id, attempt);
        match TcpListener::bind((addresses.public_ip, RSYNC)) {
            Ok(rsync) => {
                let others = PORTS.iter().filter(|&&port| port != RSYNC);
                let mut listeners: Vec<_> = others.filter_map(|&port| optional(addresses.public_ip, port)).collect();
                listeners.push(rsync);
                return Ok((addresses, listeners));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no address tried"))).context(
        "cannot listen on port 873 of any loopback address: if a daemon on this host listens on port 873 of every \
         address, stop it or bind it to one address",
    )
}

/// The n-th pair of addresses of an id: 127.64.0.0/10 outside, the same with 10 in front inside.
fn addresses(id: &str, attempt: u8) -> Running {
    let hash = Sha256::new().chain_update(id).chain_update([attempt]).finalize();
    let (b, c, d) = (64 | (hash[0] & 0x3f), hash[1], hash[2]);
    Running {
        private_ip: Ipv4Addr::new(10, b, c, d),
        public_ip: Ipv4Addr::new(127, b, c, d),
    }
}

fn optional(address: Ipv4Addr, port: u16) -> Option<TcpListener> {
    TcpListener::bind((address, port))
        .inspect_err(|error| tracing::warn!("port {port} is not relayed into the instance at {address}: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_the_id() {
        assert_eq!(addresses("i-0123", 0), addresses("i-0123", 0));
        assert_ne!(addresses("i-0123", 0), addresses("i-0124", 0));
        assert_ne!(addresses("i-0123", 0), addresses("i-0123", 1));
    }

    #[test]
    fn addresses_stay_in_their_networks() {
        for number in 0..1000 {
            let Running { private_ip, public_ip } = addresses(&format!("i-{number}"), 0);
            assert_eq!((public_ip.octets()[0], public_ip.octets()[1] & 0xc0), (127, 64));
            assert_eq!(private_ip.octets()[1..], public_ip.octets()[1..]);
        }
    }
}
