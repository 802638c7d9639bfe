//! A node's gossip handler, whose chain checks end when the target says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ampd::ldk::NetworkGraph;
use ampd::logging::ldk::LdkLogger;
use ampd::routing::answers::Answers;
use ampd::routing::asker::Asker;
use ampd::routing::gossip_handler::GossipHandler;
use bitcoin::constants::ChainHash;
use bitcoin::{Amount, Network, TxOut};
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::ln::msgs::BaseMessageHandler;
use lightning::routing::gossip::P2PGossipSync;
use lightning::routing::utxo::{UtxoFuture, UtxoLookup, UtxoLookupError, UtxoResult};

use crate::signed::{FUNDING_KEYS, OWN, Side, hostile, node_id, public, short_channel_id, start};

/// Chunks of answers that are read at a time; there is no end to what one may ask for.
const MAX_CHUNKS: usize = 8;

pub type Inner = P2PGossipSync<Arc<NetworkGraph>, Arc<SlowChain>, Arc<LdkLogger>>;

/// Checks that have not ended.
#[derive(Default)]
pub struct SlowChain(Mutex<VecDeque<UtxoFuture>>);

impl UtxoLookup for SlowChain {
    fn get_utxo(&self, _chain_hash: &ChainHash, _short_channel_id: u64) -> UtxoResult {
        let check = UtxoFuture::new();
        self.0.lock().unwrap().push_back(check.clone());
        UtxoResult::Async(check)
    }
}

pub struct Node {
    pub gossip: GossipHandler<Inner>,
    chain: Arc<SlowChain>,
    graph: Arc<NetworkGraph>,
    inner: Arc<Inner>,
    answers: Arc<Answers>,
    asker: Arc<Asker>,
}

impl Node {
    pub fn new() -> Self {
        let logger = Arc::new(LdkLogger);
        let chain = Arc::new(SlowChain::default());
        let graph = Arc::new(NetworkGraph::new(Network::Regtest, logger.clone()));
        let inner = Arc::new(P2PGossipSync::new(
            graph.clone(),
            Some(chain.clone()),
            logger,
        ));
        let answers = Arc::new(Answers::new(graph.clone(), |_| false));
        let asker = Arc::new(Asker::new(graph.clone(), || u32::MAX));
        let gossip = GossipHandler::new(
            inner.clone(),
            graph.clone(),
            node_id(OWN),
            answers.clone(),
            asker.clone(),
        );
        Self {
            gossip,
            chain,
            graph,
            inner,
            answers,
            asker,
        }
    }

    /// Ends the oldest check: the chain has the funding output, or not. Returns false if there is none.
    pub fn check_next(&self, is_found: bool) -> bool {
        let Some(check) = self.chain.0.lock().unwrap().pop_front() else {
            return false;
        };
        let [one, two] = FUNDING_KEYS.map(public);
        let output = TxOut {
            value: Amount::from_sat(1_000_000),
            script_pubkey: make_funding_redeemscript(&one, &two).to_p2wsh(),
        };
        let result = is_found.then_some(output).ok_or(UtxoLookupError::UnknownTx);
        check.resolve(&self.graph, &*self.inner, result);
        true
    }

    /// Takes everything that is to be sent to peers.
    pub fn send_all(&self) {
        drop(self.gossip.get_and_clear_pending_msg_events());
        drop(self.asker.queries());
        for _ in 0..MAX_CHUNKS {
            self.answers.drained(&hostile());
            if self.answers.next_chunk().is_none() {
                break;
            }
        }
    }

    /// Returns the second of the latest update that the graph has for this side, if it has the channel.
    pub fn known(&self, side: Side) -> Option<Option<u8>> {
        let graph = self.graph.read_only();
        let channel = graph.channel(short_channel_id(side.channel))?;
        let info = match side.side {
            0 => &channel.one_to_two,
            _ => &channel.two_to_one,
        };
        let second = |timestamp: u32| u8::try_from(timestamp - start()).expect("one of ours");
        Some(info.as_ref().map(|info| second(info.last_update)))
    }
}
