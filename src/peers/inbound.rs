//! The bound on connections that strangers make to us.

use std::collections::{BTreeMap, HashSet};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Inbound connections that are open, in the order of their arrival.
///
/// A connection counts as a stranger's until we know that its node has a channel with us, so a
/// connection in its handshake is a stranger's, too. At the bound the oldest stranger has to go:
/// whoever refuses newcomers instead can be locked out from its own channels by a flood. LDK has a
/// second bound behind this one: 250 peers without channels after the handshake.
#[derive(Default)]
pub(super) struct Inbound {
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, (SocketAddr, TcpStream)>,
}

impl Inbound {
    /// Adds a connection; `handle` is a second handle of its socket. Returns its number.
    pub fn add(&self, address: SocketAddr, handle: TcpStream) -> u64 {
        let mut connections = self.connections();
        let number = connections.next;
        connections.next += 1;
        connections.open.insert(number, (address, handle));
        number
    }

    /// The connection is closed.
    pub fn remove(&self, number: u64) {
        self.connections().open.remove(&number);
    }

    /// Makes room for one more connection if more than `bound` are open that are not in `known`.
    ///
    /// `known` are the addresses of peers with channels; it costs time and is asked for only then.
    pub fn make_room(&self, bound: usize, known: impl FnOnce() -> HashSet<SocketAddr>) {
        if self.connections().open.len() < bound {
            return;
        }
        let known = known();
        let connections = self.connections();
        let strangers = connections
            .open
            .values()
            .filter(|(address, _)| !known.contains(address));
        let excess = (strangers.clone().count() + 1).saturating_sub(bound);
        for (address, handle) in strangers.take(excess) {
            tracing::debug!(%address, "closing the oldest connection of a stranger: too many");
            // LDK notices, and the connection removes itself here. It fails if that has begun.
            let _ = handle.shutdown(Shutdown::Both);
        }
    }

    /// No code that holds this lock can panic halfway through a change.
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// Our end and the stranger's end of a connection.
    fn pair(listener: &TcpListener) -> (SocketAddr, TcpStream, TcpStream) {
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, address) = listener.accept().unwrap();
        (address, ours, theirs)
    }

    /// True if the other end has hung up, false if the connection still stands.
    fn is_closed(mut stream: &TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0]), Ok(0))
    }

    #[test]
    fn oldest_stranger_goes_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inbound = Inbound::default();
        let mut ends = Vec::new();
        for _ in 0..3 {
            let (address, ours, theirs) = pair(&listener);
            inbound.add(address, ours);
            ends.push((address, theirs));
        }
        let friend = ends[0].0;
        inbound.make_room(3, || HashSet::from([friend]));
        assert!(
            ends.iter().all(|(_, theirs)| !is_closed(theirs)),
            "there was room for strangers"
        );
        inbound.make_room(2, || HashSet::from([friend]));
        let closed: Vec<bool> = ends.iter().map(|(_, theirs)| is_closed(theirs)).collect();
        assert_eq!(closed, [false, true, false]);
    }

    #[test]
    fn closed_connection_makes_room_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inbound = Inbound::default();
        let (address, ours, theirs) = pair(&listener);
        let (second, other, other_end) = pair(&listener);
        let number = inbound.add(address, ours);
        inbound.add(second, other);
        inbound.remove(number);
        inbound.make_room(2, || panic!("nothing to decide below the bound"));
        assert!(is_closed(&theirs), "the handle was the last one");
        assert!(!is_closed(&other_end));
    }
}
