//! Waiting until our channels can carry one more HTLC.
//!
//! A channel carries at most 483 HTLCs in each direction (BOLT 2), often fewer. lnd fails a payment that
//! finds no channel with space at once. Here it waits its turn, as long as HTLCs keep leaving our channels.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::sync::lock;

/// After this long a payment searches again in any case: the HTLCs that ended may have been forwards, or
/// of another channel.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// If no HTLC has left our channels for this long, those in flight are held, and nobody waits for them.
const PATIENCE: Duration = Duration::from_secs(2);

/// The payments that wait for space in our channels, in the order of their arrival.
#[derive(Default)]
pub(super) struct Slots {
    freed: Arc<Notify>,
    last_freed: Mutex<Option<Instant>>,
}

impl Slots {
    /// Returns a future that completes when an HTLC of ours has ended that no earlier waiter was woken for.
    /// Taken before a route search, it misses no HTLC that ends during the search.
    pub(super) fn next(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut freed = Box::pin(self.freed.clone().notified_owned());
        freed.as_mut().enable();
        async move {
            // The timeout is not an error: see `LONGEST_WAIT`.
            let _ = tokio::time::timeout(LONGEST_WAIT, freed).await;
        }
    }

    /// Returns whether it makes sense that a payment waits that has done so since this time.
    pub(super) fn are_moving(&self, waiting_since: Instant) -> bool {
        let last = lock(&self.last_freed).unwrap_or(waiting_since);
        last.max(waiting_since).elapsed() < PATIENCE
    }

    /// An HTLC has left its channel. Wakes the payment that has waited longest.
    pub(super) fn freed(&self) {
        *lock(&self.last_freed) = Some(Instant::now());
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn wakes_waiters_in_the_order_of_their_arrival() {
        let slots = Slots::default();
        let (first, mut second) = (Box::pin(slots.next()), Box::pin(slots.next()));
        slots.freed();
        assert!((&mut second).now_or_never().is_none());
        first.await;
        slots.freed();
        second.await;
    }

    #[tokio::test]
    async fn waiting_makes_sense_while_htlcs_leave_their_channels() {
        let (slots, now) = (Slots::default(), Instant::now());
        let long_ago = now.checked_sub(PATIENCE).unwrap();
        assert!(slots.are_moving(now));
        assert!(!slots.are_moving(long_ago));
        slots.freed();
        assert!(slots.are_moving(long_ago));
    }

    #[tokio::test]
    async fn passes_an_unused_slot_to_the_next_waiter() {
        let slots = Slots::default();
        let (unused, waiting) = (slots.next(), slots.next());
        slots.freed();
        drop(unused);
        assert_eq!(waiting.now_or_never(), Some(()));
    }
}
