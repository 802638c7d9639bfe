//! Limits on inbound connections from peers without channels.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;
use tokio_util::sync::CancellationToken;

/// The maximum number of inbound connections from peers without channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum in total.
    pub unknown_peers: usize,
    /// The maximum from one IPv4 address or one /48 IPv6 network, the largest that a customer gets.
    /// All connections through a Tor daemon or another proxy count as one address.
    pub per_address: usize,
}

/// Open inbound connections, in the order of their arrival.
///
/// A connection counts as unknown until its node is known to have a channel with us, so this
/// includes connections in the handshake. At a limit the oldest unknown connection is closed. If
/// new connections were refused instead, a flood could lock out our channel peers. LDK has a second
/// limit: 250 peers without channels after the handshake.
#[derive(Default)]
pub(super) struct Inbound {
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, (SocketAddr, CancellationToken)>,
    per_address: HashMap<IpAddr, usize>,
}

impl Inbound {
    /// Adds a connection, which `close` closes. Returns its number.
    pub(super) fn add(&self, address: SocketAddr, close: CancellationToken) -> u64 {
        let mut connections = self.connections();
        let number = connections.next;
        connections.next += 1;
        connections.open.insert(number, (address, close));
        *connections.per_address.entry(origin(&address)).or_default() += 1;
        number
    }

    /// Removes a closed connection.
    pub(super) fn remove(&self, number: u64) {
        let mut connections = self.connections();
        let Some((address, _)) = connections.open.remove(&number) else {
            return;
        };
        let origin = origin(&address);
        if let Some(count) = connections.per_address.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                connections.per_address.remove(&origin);
            }
        }
    }

    /// Closes connections if needed so that one more from `address` is within the limits.
    /// Connections from the addresses in `known` are not closed.
    ///
    /// `known` returns the addresses of channel peers; it is slow and called only at a limit.
    pub(super) fn make_room(
        &self,
        address: SocketAddr,
        bounds: Bounds,
        known: impl FnOnce() -> HashSet<SocketAddr>,
    ) {
        let from = origin(&address);
        {
            let connections = self.connections();
            let from_there = connections.per_address.get(&from).copied();
            if connections.open.len() < bounds.unknown_peers
                && from_there.unwrap_or_default() < bounds.per_address
            {
                return;
            }
        }
        let known = known();
        let connections = self.connections();
        connections.close_oldest(bounds.per_address, |other| {
            origin(other) == from && !known.contains(other)
        });
        connections.close_oldest(bounds.unknown_peers, |other| !known.contains(other));
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }
}

impl Connections {
    /// Closes the oldest of these connections until fewer than `bound` are open.
    fn close_oldest(&self, bound: usize, of_them: impl Fn(&SocketAddr) -> bool) {
        let open = self.open.values();
        let them = open.filter(|(address, close)| !close.is_cancelled() && of_them(address));
        let excess = (them.clone().count() + 1).saturating_sub(bound);
        for (address, close) in them.take(excess) {
            tracing::debug!(
                %address,
                "too many inbound connections: closing the oldest one from a peer without a channel"
            );
            // It is removed once it has ended.
            close.cancel();
        }
    }
}

/// Returns the origin of a connection: an IPv4 address or a /48 IPv6 network.
fn origin(address: &SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(ip) => {
            let network = ip.to_bits() & (u128::MAX << 80);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: usize = 1_000;

    fn unknown_peers(unknown_peers: usize) -> Bounds {
        Bounds {
            unknown_peers,
            per_address: NO_LIMIT,
        }
    }

    fn per_address(per_address: usize) -> Bounds {
        Bounds {
            unknown_peers: NO_LIMIT,
            per_address,
        }
    }

    fn open(inbound: &Inbound, addresses: &[&str]) -> Vec<(SocketAddr, CancellationToken)> {
        let open = |address: &&str| {
            let (address, close) = (address.parse().unwrap(), CancellationToken::new());
            inbound.add(address, close.clone());
            (address, close)
        };
        addresses.iter().map(open).collect()
    }

    fn closed(connections: &[(SocketAddr, CancellationToken)]) -> Vec<bool> {
        let closed = connections.iter().map(|(_, close)| close.is_cancelled());
        closed.collect()
    }

    #[test]
    fn closes_the_oldest_unknown_connection_first() {
        let inbound = Inbound::default();
        let connections = open(&inbound, &["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        let (friend, new) = (connections[0].0, "10.0.0.4:1".parse().unwrap());
        inbound.make_room(new, unknown_peers(3), || HashSet::from([friend]));
        assert_eq!(
            closed(&connections),
            [false; 3],
            "closed a connection below the limit"
        );
        inbound.make_room(new, unknown_peers(2), || HashSet::from([friend]));
        assert_eq!(closed(&connections), [false, true, false]);
    }

    #[test]
    fn connections_per_address_are_limited() {
        let inbound = Inbound::default();
        let theirs = ["10.0.0.1:1", "[::ffff:10.0.0.1]:2", "10.0.0.1:3"];
        let theirs = open(&inbound, &theirs);
        let other = open(&inbound, &["10.0.0.2:1"]);
        let friend = theirs[0].0;
        let from = |address: &str| {
            let address = address.parse().unwrap();
            inbound.make_room(address, per_address(2), || HashSet::from([friend]));
        };
        from("10.0.0.2:2");
        assert_eq!(closed(&theirs), [false; 3]);
        from("10.0.0.1:4");
        assert_eq!(closed(&theirs), [false, true, false]);
        assert_eq!(closed(&other), [false]);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let inbound = Inbound::default();
        let theirs = ["[2001:db8::1]:1", "[2001:db8:0:7:ffff::2]:1"];
        let theirs = open(&inbound, &theirs);
        let new = "[2001:db8::3]:1".parse().unwrap();
        inbound.make_room(new, per_address(2), HashSet::new);
        assert_eq!(closed(&theirs), [true, false]);
    }

    #[test]
    fn closed_connections_do_not_count() {
        let inbound = Inbound::default();
        let number = inbound.add("10.0.0.1:1".parse().unwrap(), CancellationToken::new());
        open(&inbound, &["10.0.0.1:2"]);
        inbound.remove(number);
        let bounds = Bounds {
            unknown_peers: 2,
            per_address: 2,
        };
        let new = "10.0.0.1:3".parse().unwrap();
        inbound.make_room(new, bounds, || {
            panic!("known addresses requested below the limits")
        });
    }
}
