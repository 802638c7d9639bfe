//! Sends our gossip queries, and the answers to those of peers.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio_util::sync::CancellationToken;

use crate::ldk::PeerManager;
use crate::peers::custom::{CustomMessage, CustomMessages};
use crate::routing::answers::Answers;
use crate::routing::asker::Asker;
use crate::routing::gossip_message::GossipMessage;

/// Answers of this node, to all peers together. The public graph has some 35 MB.
const BYTES_PER_SECOND: u64 = 1_000_000;
/// The shortest pause between two parts of answers: also an empty one costs a look at the whole graph.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Peers that do not answer are noticed after this time.
const TICK: Duration = Duration::from_secs(1);

/// Both sides of gossip queries, and the way to the peers.
#[derive(Clone)]
pub(super) struct GossipQueries {
    pub(super) answers: Arc<Answers>,
    pub(super) asker: Arc<Asker>,
    pub(super) messages: Arc<CustomMessages>,
    pub(super) peers: Arc<PeerManager>,
}

impl GossipQueries {
    /// Until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.answer() => {}
            () = self.ask() => {}
        }
    }

    async fn answer(&self) {
        loop {
            self.answers.work().await;
            while let Some((peer, messages)) = self.answers.next_chunk() {
                let bytes: usize = messages.iter().map(|message| message.bytes.len()).sum();
                self.send(peer, messages);
                tokio::time::sleep(pause(bytes)).await;
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
                tracing::debug!(%peer, kind, bytes, "a gossip query goes out");
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

fn pause(bytes: usize) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let micros = bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND;
    Duration::from_micros(micros).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_take_as_long_as_their_rate_says() {
        assert_eq!(pause(0), SHORTEST_PAUSE);
        assert_eq!(pause(32_000), Duration::from_millis(32));
        assert_eq!(pause(1_000_000), Duration::from_secs(1));
    }
}
