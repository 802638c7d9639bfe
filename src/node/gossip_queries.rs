//! Sends our gossip queries and replies to those of peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use tokio_util::sync::CancellationToken;

use crate::peers::PeerManager;
use crate::peers::custom_messages::{CustomMessage, CustomMessages};
use crate::routing::answers::Answers;
use crate::routing::asker::Asker;
use crate::routing::gossip_message::GossipMessage;

/// Rate limit for replies to all peers together. The public graph has about 35 MB.
const BYTES_PER_SECOND: u64 = 1_000_000;
/// Minimum pause between two chunks of replies.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// Ratio of pause to preceding work: each reply to `query_channel_range`, even an empty one, walks the
/// whole graph. So replies use at most a tenth of a core.
const PAUSE_PER_WORK: u32 = 9;
/// How often to check for peers that do not reply and for unknown peers that may be sent more.
const TICK: Duration = Duration::from_secs(1);

/// Both sides of gossip queries, and the means to send messages.
#[derive(Clone)]
pub(super) struct GossipQueries {
    pub(super) answers: Arc<Answers>,
    pub(super) asker: Arc<Asker>,
    pub(super) messages: Arc<CustomMessages>,
    pub(super) peers: Arc<PeerManager>,
}

impl GossipQueries {
    /// Runs until `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.answer() => {}
            () = self.ask() => {}
        }
    }

    async fn answer(&self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.answers.work() => {}
            }
            loop {
                let start = Instant::now();
                let Some((peer, messages)) = self.answers.next_chunk() else {
                    break;
                };
                let pause = pause(bytes(&messages), start.elapsed());
                self.send(peer, messages);
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn ask(&self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.asker.work() => {}
            }
            for (peer, query) in self.asker.queries() {
                let (kind, bytes) = (query.kind, query.bytes.len());
                tracing::debug!(%peer, kind, bytes, "sending gossip query");
                self.send(peer, vec![query]);
            }
        }
    }

    fn send(&self, peer: PublicKey, messages: Vec<GossipMessage>) {
        for GossipMessage { kind, bytes } in messages {
            let message = CustomMessage::of_protocol(kind, bytes);
            self.messages.send(peer, message);
        }
        self.peers.process_events();
    }
}

fn bytes(messages: &[GossipMessage]) -> usize {
    messages.iter().map(|message| message.bytes.len()).sum()
}

/// The pause after a chunk of `bytes` bytes that took `work` to create.
fn pause(bytes: usize, work: Duration) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let micros = bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND;
    let of_bytes = Duration::from_micros(micros);
    let of_work = work.saturating_mul(PAUSE_PER_WORK);
    of_bytes.max(of_work).max(MIN_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_rate_limited() {
        let fast = Duration::from_micros(1);
        assert_eq!(pause(0, fast), MIN_PAUSE);
        assert_eq!(pause(32_000, fast), Duration::from_millis(32));
        assert_eq!(pause(1_000_000, fast), Duration::from_secs(1));
    }

    #[test]
    fn replies_use_at_most_a_tenth_of_a_core() {
        let graph_walk = Duration::from_millis(50);
        assert_eq!(pause(0, graph_walk), Duration::from_millis(450));
        assert_eq!(pause(32_000, graph_walk), Duration::from_millis(450));
    }
}
