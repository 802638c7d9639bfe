//! How many connections a listener holds at a time, and who has to go when others wait.
//!
//! A connection is a stranger's until it has shown a macaroon that we made. Strangers who stay silent, or
//! who hold a connection open without ever being let in, must not keep those out who may come in.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Who was sent away has so long to leave before the next one has to go for the same place.
const LEAVING: Duration = Duration::from_secs(1);

/// A fixed number of places.
#[derive(Debug)]
pub(super) struct Places {
    /// A stranger has as long for its handshake and its first call, even if others wait.
    grace: Duration,
    free: Arc<Semaphore>,
    strangers: Mutex<Strangers>,
}

/// Those who have not shown a macaroon, in the order in which they came.
#[derive(Debug, Default)]
struct Strangers {
    came: u64,
    here: BTreeMap<u64, Stranger>,
}

#[derive(Debug)]
struct Stranger {
    since: Instant,
    gone: CancellationToken,
}

impl Places {
    pub(super) fn new(count: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            grace,
            free: Arc::new(Semaphore::new(count)),
            strangers: Mutex::default(),
        })
    }

    /// A place for a stranger. If none is free, the stranger who came first gives its own up once it has had
    /// its time.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            let mut free = pin!(Arc::clone(&self.free).acquire_owned());
            let first = self.strangers().first();
            let permit = tokio::select! {
                biased;
                permit = &mut free => Ok(permit),
                () = self.has_had_its_time(first) => {
                    self.send_away(first);
                    timeout(LEAVING, free).await
                }
            };
            // Nobody closes the semaphore.
            if let Ok(Ok(permit)) = permit {
                return self.place(permit);
            }
        }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let gone = CancellationToken::new();
        let mut strangers = self.strangers();
        strangers.came += 1;
        let number = strangers.came;
        let stranger = Stranger {
            since: Instant::now(),
            gone: gone.clone(),
        };
        strangers.here.insert(number, stranger);
        Place {
            places: Arc::clone(self),
            number,
            gone,
            _permit: permit,
        }
    }

    async fn has_had_its_time(&self, first: Option<(u64, Instant)>) {
        match first {
            Some((_, since)) => sleep_until(since + self.grace).await,
            None => std::future::pending().await,
        }
    }

    fn send_away(&self, first: Option<(u64, Instant)>) {
        let stranger = first.and_then(|(number, _)| self.strangers().here.remove(&number));
        if let Some(stranger) = stranger {
            stranger.gone.cancel();
        }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        // Nothing under the lock can panic halfway.
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strangers {
    fn first(&self) -> Option<(u64, Instant)> {
        let (number, stranger) = self.here.first_key_value()?;
        Some((*number, stranger.since))
    }
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    gone: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Cancelled when the connection has to go.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// It has shown a macaroon: it may stay as long as it likes.
    pub(super) fn keep(&self) {
        self.places.strangers().here.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const A_MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn the_first_stranger_goes_when_another_waits_and_the_next_one_stays() {
        let places = Places::new(2, Duration::ZERO);
        let [first, second] = [places.take().await, places.take().await];
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        first.gone().cancelled().await;
        // It takes a moment to leave.
        tokio::task::yield_now().await;
        assert!(!second.gone().is_cancelled());
        drop(first);
        let third = waiting.await.unwrap();
        assert!(!third.gone().is_cancelled() && !second.gone().is_cancelled());
        drop(second);
        places.take().await;
    }

    #[tokio::test]
    async fn nobody_goes_while_there_is_room() {
        let places = Places::new(2, Duration::ZERO);
        let [first, second] = [places.take().await, places.take().await];
        assert!(!first.gone().is_cancelled() && !second.gone().is_cancelled());
    }

    #[tokio::test]
    async fn nobody_goes_before_its_time() {
        let places = Places::new(1, LONG);
        let first = places.take().await;
        assert!(timeout(A_MOMENT, places.take()).await.is_err());
        assert!(!first.gone().is_cancelled());
        drop(first);
        places.take().await;
    }

    #[tokio::test]
    async fn who_has_shown_a_macaroon_stays() {
        let places = Places::new(2, Duration::ZERO);
        let [first, second] = [places.take().await, places.take().await];
        first.keep();
        second.keep();
        assert!(timeout(A_MOMENT, places.take()).await.is_err());
        assert!(!first.gone().is_cancelled() && !second.gone().is_cancelled());
        drop(second);
        places.take().await;
    }
}
