//! Checks announced channels against bitcoind's set of unspent outputs.

use std::sync::Arc;

use bitcoin::{BlockHash, OutPoint};
use lightning::routing::gossip::P2PGossipSync;
use lightning_block_sync::gossip::{TokioSpawner, UtxoSource};
use lightning_block_sync::{AsyncBlockSourceResult, BlockData, BlockHeaderData, BlockSource};
use tokio::sync::Semaphore;

use crate::ldk::{NetworkGraph, PeerManager};
use crate::logger::LdkLogger;

use super::bitcoind::{Bitcoind, ChainInfo};

/// Block fetches and look-ups that gossip may have under way at once. bitcoind serves RPC with 16
/// threads and by default queues 64 calls; the node's own calls must not wait behind gossip.
const PARALLEL_LOOKUPS: usize = 6;

/// LDK's checker of announced channels, over our bitcoind.
pub type GossipVerifier = lightning_block_sync::gossip::GossipVerifier<
    TokioSpawner,
    Arc<ThrottledBitcoind>,
    Arc<LdkLogger>,
>;

/// The gossip handler of this node, with or without the check.
pub type GossipSync = P2PGossipSync<Arc<NetworkGraph>, Arc<GossipVerifier>, Arc<LdkLogger>>;

/// Makes `gossip` check every announced channel against `bitcoind`.
///
/// Needs a tokio runtime when messages come in. A pruned bitcoind lacks the blocks of old
/// channels, and a look-up that fails counts as "no such output": every old channel would be
/// refused. There the check is left out, with a warning; a forged announcement then costs us at
/// most a failed payment attempt.
///
/// The verifier, the gossip handler and the peer manager hold each other: when the node stops, call
/// [`stop_verifying`], or none of them is ever freed.
pub fn verify(
    gossip: &Arc<GossipSync>,
    peers: Arc<PeerManager>,
    bitcoind: Arc<Bitcoind>,
    info: &ChainInfo,
) {
    if info.pruned {
        tracing::warn!("bitcoind is pruned: announced channels are not checked against the chain");
        return;
    }
    let source = Arc::new(ThrottledBitcoind::new(bitcoind));
    let verifier = GossipVerifier::new(source, TokioSpawner, Arc::clone(gossip), peers);
    gossip.add_utxo_lookup(Some(Arc::new(verifier)));
}

/// Breaks the ring of references that [`verify`] made.
pub fn stop_verifying(gossip: &GossipSync) {
    gossip.add_utxo_lookup(None);
}

/// A [`Bitcoind`] that serves a few calls at a time; the rest wait in line.
pub struct ThrottledBitcoind {
    bitcoind: Arc<Bitcoind>,
    permits: Semaphore,
}

impl ThrottledBitcoind {
    fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            permits: Semaphore::new(PARALLEL_LOOKUPS),
        }
    }
}

/// Waits for a permit, then makes the same call of the inner client.
macro_rules! throttled {
    ($self:ident, $call:expr) => {
        Box::pin(async move {
            // The semaphore is never closed; without a permit the call would just not be throttled.
            let _permit = $self.permits.acquire().await;
            $call.await
        })
    };
}

impl BlockSource for ThrottledBitcoind {
    fn get_header<'a>(
        &'a self,
        hash: &'a BlockHash,
        height: Option<u32>,
    ) -> AsyncBlockSourceResult<'a, BlockHeaderData> {
        throttled!(self, self.bitcoind.get_header(hash, height))
    }

    fn get_block<'a>(&'a self, hash: &'a BlockHash) -> AsyncBlockSourceResult<'a, BlockData> {
        throttled!(self, self.bitcoind.get_block(hash))
    }

    fn get_best_block(&self) -> AsyncBlockSourceResult<'_, (BlockHash, Option<u32>)> {
        throttled!(self, self.bitcoind.get_best_block())
    }
}

impl UtxoSource for ThrottledBitcoind {
    fn get_block_hash_by_height<'a>(
        &'a self,
        height: u32,
    ) -> AsyncBlockSourceResult<'a, BlockHash> {
        throttled!(self, self.bitcoind.get_block_hash_by_height(height))
    }

    fn is_output_unspent<'a>(&'a self, outpoint: OutPoint) -> AsyncBlockSourceResult<'a, bool> {
        throttled!(self, self.bitcoind.is_output_unspent(outpoint))
    }
}
