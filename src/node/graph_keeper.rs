//! Keeps the network graph on disk, not long behind the one in memory.
//!
//! LDK's loop writes it once an hour. A node that is killed before would start with an empty graph
//! and find no route until its peers have told it everything again; and if they were killed, too,
//! until the next block, with which LDK announces our own channels anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::util::persist as names;
use lightning::util::ser::Writeable;
use tokio_util::sync::CancellationToken;

use crate::ldk::{KeyValueStore, NetworkGraph};

/// How often to look for changes.
const LOOK: Duration = Duration::from_secs(2);
/// Writing may take this part of the time: a small graph is written at the next look, that of
/// mainnet (some 20 MB, a second to write) every few minutes.
const ONE_PART_IN: u32 = 200;

/// Writes the graph when it has changed.
pub(super) struct GraphKeeper {
    pub(super) graph: Arc<NetworkGraph>,
    pub(super) store: Arc<KeyValueStore>,
}

impl GraphKeeper {
    /// Until `stop`. LDK's loop writes it a last time after that.
    pub(super) async fn run(self, stop: CancellationToken) {
        let keeper = Arc::new(self);
        let mut written = keeper.fingerprint();
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let now = keeper.fingerprint();
            pause = LOOK;
            if now != written {
                written = now;
                let keeper = keeper.clone();
                let took = tokio::task::spawn_blocking(move || keeper.write()).await;
                pause = LOOK.max(took.unwrap_or_default() * ONE_PART_IN);
            }
        }
    }

    /// Changes whenever a channel, a node or a policy does.
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

    /// Returns how long it took.
    fn write(&self) -> Duration {
        let start = Instant::now();
        let written = self.store.write(
            names::NETWORK_GRAPH_PERSISTENCE_PRIMARY_NAMESPACE,
            names::NETWORK_GRAPH_PERSISTENCE_SECONDARY_NAMESPACE,
            names::NETWORK_GRAPH_PERSISTENCE_KEY,
            self.graph.encode(),
        );
        if let Err(error) = written {
            tracing::warn!("the network graph is not written: {error}");
        }
        start.elapsed()
    }
}
