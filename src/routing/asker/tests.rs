//! Gossip queries that we send.

use lightning::ln::msgs::QueryShortChannelIds;
use lightning::routing::utxo::UtxoLookup;
use lightning::util::ser::LengthReadable;

use super::super::test_gossip::{
    NETWORK, REGTEST, announcement_between, public, start, update_between,
};
use super::*;
use crate::logging::ldk::LdkLogger;

const SCID: u64 = 500 << 40;

fn graph() -> NetworkGraph {
    NetworkGraph::new(NETWORK, Arc::new(LdkLogger))
}

fn learn(graph: &NetworkGraph, sides: &[u8]) {
    let unchecked: Option<Arc<dyn UtxoLookup + Send + Sync>> = None;
    let message = announcement_between(SCID, [1, 2]);
    graph
        .update_channel_from_announcement(&message, &unchecked)
        .unwrap();
    for side in sides {
        let update = update_between(SCID, [1, 2], *side, 0);
        graph.update_channel(&update).unwrap();
    }
}

#[test]
fn lacking_channels_depend_on_the_graph_and_the_tip() {
    let graph = graph();
    let lacks = |tip, updates| is_lacking(&graph.read_only(), SCID, tip, updates);
    assert!(!lacks(499, Updates::All), "not mined yet");
    assert!(lacks(500, Updates::None));
    learn(&graph, &[0]);
    assert!(!lacks(500, Updates::None));
    assert!(lacks(500, Updates::Missing));
    learn_side(&graph, 1);
    assert!(!lacks(500, Updates::Missing));
    assert!(lacks(500, Updates::All));
}

fn learn_side(graph: &NetworkGraph, side: u8) {
    let update = update_between(SCID, [1, 2], side, 0);
    graph.update_channel(&update).unwrap();
}

#[test]
fn graph_is_stale_when_its_newest_update_is_old() {
    let graph = graph();
    let stale_at = |now: u64| is_stale(&graph.read_only(), now);
    let hour_ago = u64::from(start());
    assert!(!stale_at(hour_ago), "an empty graph is not stale");
    learn(&graph, &[0, 1]);
    assert!(!stale_at(hour_ago + STALE_SECONDS));
    assert!(stale_at(hour_ago + STALE_SECONDS + 1));
}

/// Returns an asker to which this peer has listed a missing channel and one above the tip.
fn asker_with_list(peer: PublicKey) -> Asker {
    let asker = Asker::new(Arc::new(graph()), || 600);
    asker.connected(peer);
    let started = asker.start_now();
    assert!(matches!(&started[..], [(to, Query::Range(_))] if *to == peer));
    let reply = ReplyChannelRange {
        chain_hash: REGTEST,
        first_blocknum: 0,
        number_of_blocks: u32::MAX,
        sync_complete: true,
        short_channel_ids: vec![SCID, 700 << 40],
    };
    asker.range_reply(peer, &reply);
    asker
}

#[test]
fn queries_channels_that_a_peer_lists() {
    let peer = public(9);
    let asker = asker_with_list(peer);
    assert!(asker.has_asked(&peer, SCID));
    assert!(!asker.has_asked(&public(8), SCID) && !asker.has_asked(&peer, SCID + 1));
    let queries = asker.queries();
    let [(to, message)] = &queries[..] else {
        panic!("{queries:?}");
    };
    let query = QueryShortChannelIds::read_from_fixed_length_buffer(&mut &message.bytes[..]);
    assert_eq!(*to, peer);
    assert_eq!(query.unwrap().short_channel_ids, [SCID]);
    assert_eq!(asker.queries(), [], "sent only once");
}

#[test]
fn no_query_for_a_disconnected_peer() {
    let peer = public(9);
    let asker = asker_with_list(peer);
    asker.disconnected(&peer);
    assert_eq!(asker.queries(), []);
}
