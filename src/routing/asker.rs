//! Asks peers for the channels that the network graph lacks: [`Syncer`] with a graph and a clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::ReplyChannelRange;
use lightning::routing::gossip::ReadOnlyNetworkGraph;
use lightning::util::scid_utils::block_from_scid;
use tokio::sync::Notify;

use super::gossip_message::GossipMessage;
use super::syncer::{KnownChannels, Query, Syncer};
use crate::ldk::NetworkGraph;

/// A graph whose newest update is older than this misses updates that peers will not send again: we were
/// not connected.
const STALE_SECONDS: u64 = 6 * 3_600;

/// The height of our best block.
pub type Tip = dyn Fn() -> u32 + Send + Sync;

/// Asks peers for what the graph lacks.
pub struct Asker {
    graph: Arc<NetworkGraph>,
    tip: Box<Tip>,
    /// Whether what we know at the start is out of date.
    was_stale: bool,
    syncing: Mutex<Syncing>,
    work: Notify,
}

struct Syncing {
    syncer: Syncer,
    queries: Vec<(PublicKey, Query)>,
}

impl Asker {
    /// Asks for what `graph` lacks, up to the block `tip`.
    pub fn new(graph: Arc<NetworkGraph>, tip: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        let syncer = Syncer::new(graph.get_chain_hash(), Instant::now());
        let was_stale = is_stale(&graph.read_only(), unix_time());
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

    /// A peer that knows gossip queries is connected.
    pub fn connected(&self, peer: PublicKey) {
        self.syncing().syncer.connected(peer, Instant::now());
    }

    /// A peer is gone, and with it what it was to be asked.
    pub fn disconnected(&self, peer: &PublicKey) {
        let syncing = &mut *self.syncing();
        syncing.syncer.disconnected(peer);
        syncing.queries.retain(|(to, _)| to != peer);
    }

    /// Whether this channel was asked of this peer, whose answer has not ended.
    pub fn has_asked(&self, peer: &PublicKey, scid: u64) -> bool {
        self.syncing().syncer.has_asked(peer, scid)
    }

    /// A peer sent gossip: of this channel, if it announced one that was accepted or is being checked.
    pub fn heard(&self, peer: &PublicKey, announced: Option<u64>) {
        self.syncing().syncer.heard(peer, announced, Instant::now());
    }

    /// A peer lists channels.
    pub fn range_reply(&self, peer: PublicKey, reply: &ReplyChannelRange) {
        self.answered(peer, |syncer, ours, now| {
            syncer.range_reply(&peer, reply, ours, now)
        });
    }

    /// A peer has sent all that it was asked for.
    pub fn ids_end(&self, peer: PublicKey) {
        self.answered(peer, |syncer, ours, now| syncer.ids_end(&peer, ours, now));
    }

    /// What is to be sent now.
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

    /// Waits until an answer has made the next query due. Time may, too: [`Asker::queries`] is to be called
    /// once a second.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Asks the peers that are connected for their lists, without the wait for their own gossip.
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

    /// What the graph knows now. Holds a read lock on it.
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
        // Nothing between lock and unlock can panic halfway through a change.
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the graph knows, and which updates of that are asked for.
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

/// Which updates of known channels are asked for. Many channels never have both, so they are asked for
/// at the start only.
#[derive(Clone, Copy)]
enum Updates {
    None,
    Missing,
    All,
}

/// A channel above our tip cannot be checked; most likely there is no such channel.
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

/// Seconds since 1970. Without a clock nothing counts as old.
fn unix_time() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests;
