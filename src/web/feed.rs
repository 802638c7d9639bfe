//! What open pages are told: server-sent events, rendered once for all of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::sleep;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::amounts::{percent, sat_text};
use super::till::{Donation, Till};
use ampd_text::utc_text;

/// Events that wait for a page that reads slowly; one that is further behind is told the state again.
const BACKLOG: usize = 32;
/// Open pages are told of an event one by one, all of them in so many milliseconds.
const SPREAD_MS: u64 = 250;
/// Proxies close what is silent; to the page it means nothing.
pub(super) const KEEPALIVE: Bytes = Bytes::from_static(b":\n\n");

/// Sends to all open pages.
#[derive(Debug)]
pub(super) struct Feed(broadcast::Sender<Bytes>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Feed {
    pub(super) fn tell(&self, event: Bytes) {
        // Nobody watching is fine.
        let _ = self.0.send(event);
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Bytes> {
        self.0.subscribe()
    }
}

/// First the state, then all that is told, each a moment (`delay`) later; the state again for one that is
/// too slow.
pub(super) fn stream_of(
    first: Bytes,
    live: broadcast::Receiver<Bytes>,
    delay: Duration,
    state: impl Fn() -> Bytes,
) -> impl Stream<Item = Bytes> {
    let live = BroadcastStream::new(live).map(move |event| match event {
        Ok(event) => event,
        Err(BroadcastStreamRecvError::Lagged(_)) => state(),
    });
    let live = live.then(move |event| async move {
        sleep(delay).await;
        event
    });
    stream::once(async { first }).chain(live)
}

/// Delays of streams, one after the other: a thousand pages that were told at the same moment would hold up
/// the payments of that moment.
#[derive(Debug, Default)]
pub(super) struct Delays(AtomicU64);

impl Delays {
    pub(super) fn next(&self) -> Duration {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Duration::from_millis(number % SPREAD_MS)
    }
}

/// What has come together.
#[derive(Serialize)]
pub(super) struct Sum {
    pub(super) total: String,
    pub(super) count: u64,
    /// Of the goal.
    pub(super) percent: Option<u64>,
}

impl Sum {
    pub(super) fn of(till: &Till, goal_sat: Option<u64>) -> Self {
        Self {
            total: sat_text(till.total.amt_msat),
            count: till.total.payments,
            percent: goal_sat.map(|goal| percent(till.total.amt_msat, goal)),
        }
    }
}

/// A payment for the page's list.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) amount: String,
    /// RFC 3339, UTC.
    pub(super) time: String,
    pub(super) message: Option<String>,
}

impl Row {
    /// The time for people: to the minute, UTC.
    pub(super) fn when(&self) -> String {
        let minute = self.time.get(..16).unwrap_or(&self.time);
        format!("{} UTC", minute.replace('T', " "))
    }
}

impl From<&Donation> for Row {
    fn from(donation: &Donation) -> Self {
        Self {
            id: donation.settle_index,
            amount: sat_text(donation.amt_msat),
            time: utc_text(donation.settled_at),
            message: donation.message.clone(),
        }
    }
}

#[derive(Serialize)]
struct Payment {
    #[serde(flatten)]
    row: Row,
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Serialize)]
struct State<'a> {
    #[serde(flatten)]
    sum: Sum,
    recent: Vec<Row>,
    version: &'a str,
}

/// Somebody has paid.
pub(super) fn payment(donation: &Donation, sum: Sum) -> String {
    let row = Row::from(donation);
    event("payment", &Payment { row, sum })
}

/// How everything stands.
pub(super) fn state(till: &Till, goal_sat: Option<u64>, version: &str) -> String {
    let state = State {
        sum: Sum::of(till, goal_sat),
        recent: till.recent.iter().map(Row::from).collect(),
        version,
    };
    event("state", &state)
}

/// JSON has no line breaks of its own, so it is one line of data.
fn event(name: &str, data: &impl Serialize) -> String {
    // Numbers and texts can always be written.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_said() {
        let donation = Donation {
            settle_index: 7,
            settled_at: 0,
            amt_msat: 1_500,
            message: Some("a\n\nevent: x\r\u{2028}\"<b>".into()),
        };
        let sum = Sum {
            total: "2 sat".into(),
            count: 1,
            percent: None,
        };
        let text = payment(&donation, sum);
        assert_eq!(
            text,
            "event: payment\ndata: {\"id\":7,\"amount\":\"1.5 sat\",\"time\":\"1970-01-01T00:00:00Z\",\
             \"message\":\"a\\n\\nevent: x\\r\u{2028}\\\"<b>\",\"total\":\"2 sat\",\"count\":1,\
             \"percent\":null}\n\n"
        );
    }

    #[tokio::test]
    async fn a_slow_page_is_told_the_state_again() {
        let feed = Feed::default();
        let state = || Bytes::from_static(b"state");
        let mut stream = Box::pin(stream_of(state(), feed.listen(), Duration::ZERO, state));
        assert_eq!(stream.next().await.unwrap(), "state");
        for number in 0..BACKLOG + 1 {
            feed.tell(number.to_string().into());
        }
        assert_eq!(stream.next().await.unwrap(), "state");
        assert_eq!(stream.next().await.unwrap(), "1");
        drop(feed);
        assert_eq!(stream.count().await, BACKLOG - 1);
    }
}
