//! Constructors of the network graph, the scorer, the router and the gossip handler.
//!
//! Graph and scorer are caches: gossip is downloaded again and scores are learned again. So unreadable
//! stored data does not prevent startup.

use std::sync::{Arc, RwLock};

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use lightning::routing::gossip::P2PGossipSync;
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{
    ProbabilisticScorer, ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters,
};
use lightning::routing::utxo::UtxoLookup;
use lightning::util::ser::ReadableArgs;

use crate::ldk::{KeysManager, NetworkGraph, Router, Scorer};
use crate::logging::ldk::LdkLogger;

/// Checks that a channel announcement's funding output exists.
pub type Utxos = dyn UtxoLookup + Send + Sync;

/// LDK's gossip handler, which verifies peers' gossip and adds it to the graph.
pub type GossipSync = P2PGossipSync<Arc<NetworkGraph>, Arc<Utxos>, Arc<LdkLogger>>;

/// Returns the stored graph, or an empty one if there is none or it is unusable.
pub fn read_or_new_graph(
    bytes: Option<&[u8]>,
    network: Network,
    logger: Arc<LdkLogger>,
) -> NetworkGraph {
    let fresh = || NetworkGraph::new(network, Arc::clone(&logger));
    let Some(mut bytes) = bytes else {
        return fresh();
    };
    match NetworkGraph::read(&mut bytes, Arc::clone(&logger)) {
        Ok(graph) if graph.get_chain_hash() == ChainHash::using_genesis_block(network) => graph,
        Ok(_) => {
            tracing::warn!(%network, "stored graph is for another network; starting with an empty one");
            fresh()
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read the stored graph; starting with an empty one");
            fresh()
        }
    }
}

/// Returns the stored scorer, or one without scores if there is none or it is unreadable.
pub fn read_or_new_scorer(
    bytes: Option<&[u8]>,
    graph: &Arc<NetworkGraph>,
    logger: &Arc<LdkLogger>,
) -> Scorer {
    let decay = ProbabilisticScoringDecayParameters::default();
    let parts = || (decay, Arc::clone(graph), Arc::clone(logger));
    let fresh = || ProbabilisticScorer::new(decay, Arc::clone(graph), Arc::clone(logger));
    let scorer = match bytes {
        None => fresh(),
        Some(mut bytes) => ProbabilisticScorer::read(&mut bytes, parts()).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the stored channel scores; starting without scores");
            fresh()
        }),
    };
    RwLock::new(scorer)
}

/// Returns the router that LDK itself uses, for BOLT 12 and its own retries.
pub fn router(
    graph: &Arc<NetworkGraph>,
    scorer: &Arc<Scorer>,
    keys: &Arc<KeysManager>,
    logger: &Arc<LdkLogger>,
) -> Router {
    DefaultRouter::new(
        Arc::clone(graph),
        Arc::clone(logger),
        Arc::clone(keys),
        Arc::clone(scorer),
        ProbabilisticScoringFeeParameters::default(),
    )
}

/// Returns the gossip handler. Without `utxos` it accepts any signed announcement; only for tests.
pub fn gossip_sync(
    graph: &Arc<NetworkGraph>,
    utxos: Option<Arc<Utxos>>,
    logger: &Arc<LdkLogger>,
) -> GossipSync {
    P2PGossipSync::new(Arc::clone(graph), utxos, Arc::clone(logger))
}

#[cfg(test)]
mod tests {
    use lightning::util::ser::Writeable;

    use super::*;

    fn logger() -> Arc<LdkLogger> {
        Arc::new(LdkLogger)
    }

    fn regtest_graph(bytes: Option<&[u8]>) -> NetworkGraph {
        read_or_new_graph(bytes, Network::Regtest, logger())
    }

    #[test]
    fn stored_graph_is_read() {
        let graph = regtest_graph(None);
        graph.set_last_rapid_gossip_sync_timestamp(77);
        let read = regtest_graph(Some(&graph.encode()));
        assert_eq!(read.get_last_rapid_gossip_sync_timestamp(), Some(77));
    }

    #[test]
    fn unusable_graph_is_replaced_by_an_empty_one() {
        let graph = NetworkGraph::new(Network::Bitcoin, logger());
        graph.set_last_rapid_gossip_sync_timestamp(77);
        for bytes in [graph.encode(), vec![0xff; 100], Vec::new()] {
            let read = regtest_graph(Some(&bytes));
            assert_eq!(read.get_last_rapid_gossip_sync_timestamp(), None);
            let regtest = ChainHash::using_genesis_block(Network::Regtest);
            assert_eq!(read.get_chain_hash(), regtest);
        }
    }

    #[test]
    fn unusable_scores_are_replaced_by_an_empty_scorer() {
        let graph = Arc::new(regtest_graph(None));
        let fresh = read_or_new_scorer(None, &graph, &logger())
            .read()
            .unwrap()
            .encode();
        for bytes in [fresh.clone(), vec![0xff; 100], Vec::new()] {
            let scorer = read_or_new_scorer(Some(&bytes), &graph, &logger());
            assert_eq!(scorer.read().unwrap().encode(), fresh);
        }
    }
}
