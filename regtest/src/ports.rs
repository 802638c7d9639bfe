//! Free TCP ports for servers that cannot choose one themselves, or must keep theirs.

use std::fs;
use std::net::TcpListener;

use anyhow::{Result, bail};

/// Where the kernel's ephemeral ports begin if it does not say so: Linux's default.
const EPHEMERAL_START: u16 = 32_768;
/// Ports below belong to well-known services.
const LOWEST: u16 = 12_000;

/// A port of 127.0.0.1 that nobody uses now.
///
/// It lies below the range from which the kernel takes the local ports of outgoing connections.
/// Else a connection of anybody could take the port of a node while that node is down between
/// two starts. Somebody may still take the port before it is used: whoever asks starts its server
/// again with another port then.
pub fn free_port() -> Result<u16> {
    let range = LOWEST..ephemeral_start();
    for _ in 0..1_000 {
        let port = fastrand::u16(range.clone());
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "no free port between {} and {} on 127.0.0.1",
        range.start,
        range.end
    )
}

fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|start| *start > LOWEST + 1_000)
        .unwrap_or(EPHEMERAL_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound_and_is_not_ephemeral() {
        let port = free_port().unwrap();
        assert!(port < ephemeral_start());
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
