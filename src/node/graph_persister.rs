//! Persists the network graph soon after it changes.
//!
//! LDK's event loop writes it only once an hour. A node killed before that would start with an empty graph
//! and find no routes until its peers have sent their gossip again; if the peers were killed as well, not
//! before the next block, when LDK announces our own channels again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::util::persist as names;
use lightning::util::ser::Writeable;
use tokio_util::sync::CancellationToken;

use crate::ldk::{KeyValueStore, NetworkGraph};

/// How often to check for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Minimum ratio of pause to write time: a small graph is written at the next poll, the mainnet graph
/// (about 20 MB, one second to write) every few minutes.
const PAUSE_PER_WRITE: u32 = 200;

/// Writes the graph when it has changed.
pub(super) struct GraphPersister {
    pub(super) graph: Arc<NetworkGraph>,
    pub(super) store: Arc<KeyValueStore>,
}

impl GraphPersister {
    /// Runs until `stop` is cancelled. LDK's event loop writes the graph once more when it ends.
    pub(super) async fn run(self, stop: CancellationToken) {
        let keeper = Arc::new(self);
        let mut written = keeper.fingerprint();
        let mut pause = POLL_INTERVAL;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let now = keeper.fingerprint();
            pause = POLL_INTERVAL;
            if now != written {
                written = now;
                let keeper = keeper.clone();
                let took = tokio::task::spawn_blocking(move || keeper.write()).await;
                pause = POLL_INTERVAL.max(took.unwrap_or_default() * PAUSE_PER_WRITE);
            }
        }
    }

    /// A value that changes whenever a channel, a node or a policy changes.
    fn fingerprint(&self) -> (usize, usize, u64) {
        let graph = self.graph.read_only();
        let policies = graph.channels().unordered_iter().flat_map(|(_, channel)| {
            [channel.one_to_two.as_ref(), channel.two_to_one.as_ref()]
                .into_iter()
                .flatten()
        });
        let updates = policies.fold(0u64, |sum, policy| {
            sum.wrapping_add(policy.last_update.into())
        });
        (graph.channels().len(), graph.nodes().len(), updates)
    }

    /// Writes the graph. Returns how long it took.
    fn write(&self) -> Duration {
        let start = Instant::now();
        let written = self.store.write(
            names::NETWORK_GRAPH_PERSISTENCE_PRIMARY_NAMESPACE,
            names::NETWORK_GRAPH_PERSISTENCE_SECONDARY_NAMESPACE,
            names::NETWORK_GRAPH_PERSISTENCE_KEY,
            self.graph.encode(),
        );
        if let Err(error) = written {
            tracing::warn!("cannot write the network graph: {error}");
        }
        start.elapsed()
    }
}
