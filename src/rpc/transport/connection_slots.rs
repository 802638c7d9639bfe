//! A limited number of connection slots per listener, with eviction.
//!
//! A connection is unauthenticated until a call on it carries a valid macaroon. When all slots are taken
//! and a new connection waits, the oldest unauthenticated one is evicted, so that idle clients without a
//! macaroon cannot lock out the others.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::sync::lock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long an evicted connection may linger before another is evicted for the same slot.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

/// A fixed number of connection slots.
#[derive(Debug)]
pub(in crate::rpc) struct ConnectionSlots {
    /// The time a connection has for its TLS handshake and first authenticated call before it can be evicted.
    grace: Duration,
    free: Arc<Semaphore>,
    unauthenticated: Mutex<Unauthenticated>,
}

/// Connections without an authenticated call, in the order of their arrival.
#[derive(Debug, Default)]
struct Unauthenticated {
    last_number: u64,
    connections: BTreeMap<u64, Evictable>,
}

#[derive(Debug)]
struct Evictable {
    since: Instant,
    evicted: CancellationToken,
}

impl ConnectionSlots {
    pub(in crate::rpc) fn new(count: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            grace,
            free: Arc::new(Semaphore::new(count)),
            unauthenticated: Mutex::default(),
        })
    }

    /// Takes a slot for a new connection. If none is free, evicts the oldest unauthenticated connection
    /// once its grace period has passed.
    pub(in crate::rpc) async fn take(self: &Arc<Self>) -> Slot {
        loop {
            let mut free = pin!(Arc::clone(&self.free).acquire_owned());
            let oldest = self.unauthenticated().oldest();
            let permit = tokio::select! {
                biased;
                permit = &mut free => Ok(permit),
                () = self.grace_passed(oldest) => {
                    self.evict(oldest);
                    timeout(EVICTION_TIMEOUT, free).await
                }
            };
            // The semaphore is never closed.
            if let Ok(Ok(permit)) = permit {
                return self.place(permit);
            }
        }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Slot {
        let evicted = CancellationToken::new();
        let mut unauthenticated = self.unauthenticated();
        unauthenticated.last_number += 1;
        let number = unauthenticated.last_number;
        let connection = Evictable {
            since: Instant::now(),
            evicted: evicted.clone(),
        };
        unauthenticated.connections.insert(number, connection);
        Slot {
            places: Arc::clone(self),
            number,
            evicted,
            _permit: permit,
        }
    }

    async fn grace_passed(&self, oldest: Option<(u64, Instant)>) {
        match oldest {
            Some((_, since)) => sleep_until(since + self.grace).await,
            None => std::future::pending().await,
        }
    }

    fn evict(&self, oldest: Option<(u64, Instant)>) {
        let connection =
            oldest.and_then(|(number, _)| self.unauthenticated().connections.remove(&number));
        if let Some(connection) = connection {
            connection.evicted.cancel();
        }
    }

    fn unauthenticated(&self) -> MutexGuard<'_, Unauthenticated> {
        lock(&self.unauthenticated)
    }
}

impl Unauthenticated {
    fn oldest(&self) -> Option<(u64, Instant)> {
        let (number, connection) = self.connections.first_key_value()?;
        Some((*number, connection.since))
    }
}

/// A connection's slot, freed on drop.
#[derive(Debug)]
pub(in crate::rpc) struct Slot {
    places: Arc<ConnectionSlots>,
    number: u64,
    evicted: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Returns a token that is cancelled when the connection is evicted.
    pub(in crate::rpc) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }

    /// Protects the connection from eviction, after its first authenticated call.
    pub(in crate::rpc) fn keep(&self) {
        self.places
            .unauthenticated()
            .connections
            .remove(&self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn oldest_unauthenticated_connection_is_evicted_for_a_waiting_one() {
        let places = ConnectionSlots::new(2, Duration::ZERO);
        let [first, second] = [places.take().await, places.take().await];
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        first.evicted().cancelled().await;
        // The evicted connection does not leave at once; no second one is evicted for it.
        tokio::task::yield_now().await;
        assert!(!second.evicted().is_cancelled());
        drop(first);
        let third = waiting.await.unwrap();
        assert!(!third.evicted().is_cancelled() && !second.evicted().is_cancelled());
        drop(second);
        places.take().await;
    }

    #[tokio::test]
    async fn no_eviction_while_slots_are_free() {
        let places = ConnectionSlots::new(2, Duration::ZERO);
        let [first, second] = [places.take().await, places.take().await];
        assert!(!first.evicted().is_cancelled() && !second.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn no_eviction_within_the_grace_period() {
        let places = ConnectionSlots::new(1, LONG);
        let first = places.take().await;
        assert!(timeout(SHORT, places.take()).await.is_err());
        assert!(!first.evicted().is_cancelled());
        drop(first);
        places.take().await;
    }

    #[tokio::test]
    async fn authenticated_connections_are_not_evicted() {
        let places = ConnectionSlots::new(2, Duration::ZERO);
        let [first, second] = [places.take().await, places.take().await];
        first.keep();
        second.keep();
        assert!(timeout(SHORT, places.take()).await.is_err());
        assert!(!first.evicted().is_cancelled() && !second.evicted().is_cancelled());
        drop(second);
        places.take().await;
    }
}
