//! Queries peers for channels missing from the network graph: a [`Syncer`] with a graph and a clock.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::ReplyChannelRange;
use lightning::routing::gossip::ReadOnlyNetworkGraph;
use lightning::util::scid_utils::block_from_scid;
use tokio::sync::Notify;

use super::gossip_message::GossipMessage;
use super::syncer::{KnownChannels, Query, Syncer};
use crate::clock::unix_seconds;
use crate::ldk::NetworkGraph;
use crate::sync::lock;

/// If the graph's newest update is older than this, we were offline and lack updates that peers will not
/// send again.
const STALE_SECONDS: u64 = 6 * 3_600;

/// Returns the height of our best block.
pub type Tip = dyn Fn() -> u32 + Send + Sync;

/// Queries peers for channels and updates that the graph lacks.
pub struct Asker {
    graph: Arc<NetworkGraph>,
    tip: Box<Tip>,
    /// Whether the graph was out of date at startup.
    was_stale: bool,
    syncing: Mutex<Syncing>,
    work: Notify,
}

struct Syncing {
    syncer: Syncer,
    queries: Vec<(PublicKey, Query)>,
}

impl Asker {
    /// Creates an asker for `graph`. `tip` returns the height of the best block; channels above it are not
    /// queried.
    pub fn new(graph: Arc<NetworkGraph>, tip: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        let syncer = Syncer::new(graph.get_chain_hash(), Instant::now());
        let was_stale = is_stale(&graph.read_only(), unix_seconds());
        Self {
            was_stale,
            graph,
            tip: Box::new(tip),
            syncing: Mutex::new(Syncing {
                syncer,
                queries: Vec::new(),
            }),
            work: Notify::new(),
        }
    }

    /// Handles the connection of a peer that supports gossip queries.
    pub fn connected(&self, peer: PublicKey) {
        self.syncing().syncer.connected(peer, Instant::now());
    }

    /// Drops a disconnected peer and the queries for it.
    pub fn disconnected(&self, peer: &PublicKey) {
        let syncing = &mut *self.syncing();
        syncing.syncer.disconnected(peer);
        syncing.queries.retain(|(to, _)| to != peer);
    }

    /// Returns whether a pending query to this peer includes this channel.
    pub fn has_asked(&self, peer: &PublicKey, scid: u64) -> bool {
        self.syncing().syncer.has_asked(peer, scid)
    }

    /// Handles gossip from a peer. `announced` is the channel that it announced, if the announcement was
    /// accepted or is being checked.
    pub fn gossip_received(&self, peer: &PublicKey, announced: Option<u64>) {
        self.syncing()
            .syncer
            .gossip_received(peer, announced, Instant::now());
    }

    /// Handles a reply_channel_range.
    pub fn range_reply(&self, peer: PublicKey, reply: &ReplyChannelRange) {
        self.answered(peer, |syncer, ours, now| {
            syncer.range_reply(&peer, reply, ours, now)
        });
    }

    /// Handles a reply_short_channel_ids_end.
    pub fn ids_end(&self, peer: PublicKey) {
        self.answered(peer, |syncer, ours, now| syncer.ids_end(&peer, ours, now));
    }

    /// Returns the queries to send now.
    pub fn queries(&self) -> Vec<(PublicKey, GossipMessage)> {
        let syncing = &mut *self.syncing();
        let mut queries = std::mem::take(&mut syncing.queries);
        let ours = self.ours(&syncing.syncer);
        queries.extend(syncing.syncer.poll(&ours, Instant::now()));
        let messages = queries.iter();
        messages
            .map(|(peer, query)| (*peer, query.message()))
            .collect()
    }

    /// Waits until an answer makes the next query due. Queries also become due over time, so call
    /// [`Asker::queries`] once a second.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Queries the connected peers' ranges without first waiting for their gossip to end.
    #[cfg(test)]
    pub(super) fn start_now(&self) -> Vec<(PublicKey, Query)> {
        let syncing = &mut *self.syncing();
        let ours = self.ours(&syncing.syncer);
        let later = Instant::now() + std::time::Duration::from_secs(10);
        syncing.syncer.poll(&ours, later)
    }

    fn answered(
        &self,
        peer: PublicKey,
        answer: impl FnOnce(&mut Syncer, &Ours<'_>, Instant) -> Option<Query>,
    ) {
        let syncing = &mut *self.syncing();
        let ours = self.ours(&syncing.syncer);
        if let Some(query) = answer(&mut syncing.syncer, &ours, Instant::now()) {
            syncing.queries.push((peer, query));
            self.work.notify_one();
        }
    }

    /// Returns the current view of the graph, which holds a read lock on it.
    fn ours(&self, syncer: &Syncer) -> Ours<'_> {
        let updates = match (syncer.completed(), self.was_stale) {
            (0, true) => Updates::All,
            (0, false) => Updates::Missing,
            _ => Updates::None,
        };
        Ours {
            tip: (self.tip)(),
            graph: self.graph.read_only(),
            updates,
        }
    }

    fn syncing(&self) -> MutexGuard<'_, Syncing> {
        lock(&self.syncing)
    }
}

/// The graph, and which updates of its channels to query.
struct Ours<'a> {
    graph: ReadOnlyNetworkGraph<'a>,
    tip: u32,
    updates: Updates,
}

impl KnownChannels for Ours<'_> {
    fn lacks(&self, scid: u64) -> bool {
        is_lacking(&self.graph, scid, self.tip, self.updates)
    }

    fn knows(&self, scid: u64) -> bool {
        self.graph.channel(scid).is_some()
    }

    fn count(&self) -> usize {
        self.graph.channels().len()
    }
}

/// The updates of known channels to query. Many channels never get both updates, so they are queried only
/// after startup.
#[derive(Clone, Copy)]
enum Updates {
    None,
    Missing,
    All,
}

/// Returns whether to query a channel. A channel above our tip cannot be checked and most likely does not
/// exist.
fn is_lacking(graph: &ReadOnlyNetworkGraph<'_>, scid: u64, tip: u32, updates: Updates) -> bool {
    if block_from_scid(scid) > tip {
        return false;
    }
    let Some(channel) = graph.channel(scid) else {
        return true;
    };
    match updates {
        Updates::None => false,
        Updates::Missing => channel.one_to_two.is_none() || channel.two_to_one.is_none(),
        Updates::All => true,
    }
}

fn is_stale(graph: &ReadOnlyNetworkGraph<'_>, now: u64) -> bool {
    let channels = graph.channels().unordered_iter();
    let ends = channels.flat_map(|(_, channel)| [&channel.one_to_two, &channel.two_to_one]);
    let updates = ends.flatten().map(|end| u64::from(end.last_update));
    updates
        .max()
        .is_some_and(|newest| now.saturating_sub(newest) > STALE_SECONDS)
}

#[cfg(test)]
mod tests;
