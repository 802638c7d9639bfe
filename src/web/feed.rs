//! Live updates for open pages: server-sent events, serialized once for all of them.

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
use super::totals::{Donation, Totals};
use ampd_text::utc_text;

/// Events buffered for a page that reads slowly. A page further behind gets the full state instead.
const EVENT_QUEUE_LEN: usize = 32;
/// Time over which an event is spread when it is sent to all open pages, in milliseconds.
const SPREAD_MS: u64 = 250;
/// An SSE comment, which pages ignore. It keeps proxies from closing an idle connection.
pub(super) const KEEPALIVE: Bytes = Bytes::from_static(b":\n\n");

/// Sends events to all open pages.
#[derive(Debug)]
pub(super) struct Feed(broadcast::Sender<Bytes>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(EVENT_QUEUE_LEN))
    }
}

impl Feed {
    pub(super) fn send(&self, event: Bytes) {
        // Fails only if no page is open.
        let _ = self.0.send(event);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Bytes> {
        self.0.subscribe()
    }
}

/// Returns a page's event stream: `first`, then each live event after `delay`. A page that lags behind
/// gets the full state in place of the events that it missed.
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

/// Assigns delays to streams in turn, so that an event does not wake a thousand pages at the same moment
/// and delay the payments being processed then.
#[derive(Debug, Default)]
pub(super) struct Delays(AtomicU64);

impl Delays {
    pub(super) fn next(&self) -> Duration {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Duration::from_millis(number % SPREAD_MS)
    }
}

/// The totals shown on the page.
#[derive(Serialize)]
pub(super) struct Sum {
    pub(super) total: String,
    pub(super) count: u64,
    /// Share of the goal; `None` without a goal.
    pub(super) percent: Option<u64>,
}

impl Sum {
    pub(super) fn of(totals: &Totals, goal_sat: Option<u64>) -> Self {
        Self {
            total: sat_text(totals.total.amt_msat),
            count: totals.total.payments,
            percent: goal_sat.map(|goal| percent(totals.total.amt_msat, goal)),
        }
    }
}

/// A payment in the page's list.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) amount: String,
    /// RFC 3339, UTC.
    pub(super) time: String,
    pub(super) message: Option<String>,
}

impl Row {
    /// Returns the time to the minute, such as `2026-11-30 23:59 UTC`.
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

/// Returns the event for a new payment.
pub(super) fn payment(donation: &Donation, sum: Sum) -> String {
    let row = Row::from(donation);
    event("payment", &Payment { row, sum })
}

/// Returns the event with the full state.
pub(super) fn state(totals: &Totals, goal_sat: Option<u64>, version: &str) -> String {
    let state = State {
        sum: Sum::of(totals, goal_sat),
        recent: totals.recent.iter().map(Row::from).collect(),
        version,
    };
    event("state", &state)
}

/// Formats a server-sent event. Compact JSON has no line breaks, so one data line is enough.
fn event(name: &str, data: &impl Serialize) -> String {
    // Serializing numbers and strings cannot fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_break_the_event_format() {
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
    async fn a_lagging_page_gets_the_full_state() {
        let feed = Feed::default();
        let state = || Bytes::from_static(b"state");
        let mut stream = Box::pin(stream_of(state(), feed.subscribe(), Duration::ZERO, state));
        assert_eq!(stream.next().await.unwrap(), "state");
        for number in 0..EVENT_QUEUE_LEN + 1 {
            feed.send(number.to_string().into());
        }
        assert_eq!(stream.next().await.unwrap(), "state");
        assert_eq!(stream.next().await.unwrap(), "1");
        drop(feed);
        assert_eq!(stream.count().await, EVENT_QUEUE_LEN - 1);
    }
}
