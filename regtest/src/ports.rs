//! Free TCP ports for servers that cannot choose one themselves or must keep theirs.

use std::fs;
use std::net::TcpListener;

use anyhow::{Result, bail};

/// Start of the kernel's ephemeral port range if unknown: Linux's default.
const EPHEMERAL_START: u16 = 32_768;
/// Lower ports belong to well-known services.
const LOWEST: u16 = 12_000;

/// Returns an unused port of 127.0.0.1.
///
/// It is below the ephemeral range, from which the kernel takes local ports of outgoing connections.
/// Otherwise any connection could take a node's port while the node is down between two starts.
/// Another process may still take the port before it is used; retry with another port then.
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
    fn free_port_can_be_bound_and_is_not_ephemeral() {
        let port = free_port().unwrap();
        assert!(port < ephemeral_start());
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
