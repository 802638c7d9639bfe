//! Public channels are announced regardless of the order in which their messages arrive.

use lightning::ln::functional_test_utils::{
    confirm_transaction_at, connect_blocks, create_chan_between_nodes_with_value_init,
};
use lightning::ln::msgs::{
    AnnouncementSignatures, BaseMessageHandler, ChannelMessageHandler, ChannelReady,
    MessageSendEvent,
};

use crate::network::Network;

const US: usize = 0;
const PEER: usize = 1;
/// The number of confirmations at which a channel is announced (BOLT 7).
const SIX: u32 = 6;

/// The messages that the peer of our new channel sends at six confirmations.
struct FromPeer {
    ready: ChannelReady,
    signatures: AnnouncementSignatures,
}

/// Opens a channel with `our_depth` confirmations for us and six for the peer. The peer has received our
/// `channel_ready`; we have received nothing from the peer.
fn opened(network: &Network, our_depth: u32) -> FromPeer {
    let nodes = &network.nodes;
    let funding = create_chan_between_nodes_with_value_init(&nodes[US], &nodes[PEER], 100_000, 0);
    let height = network.height() + 1;
    for (node, depth) in [(US, our_depth), (PEER, SIX)] {
        confirm_transaction_at(&nodes[node], &funding, height);
        connect_blocks(&nodes[node], depth - 1);
    }
    let ours = network.handlers[US].get_and_clear_pending_msg_events();
    let our_ready = ours.iter().find_map(|event| match event {
        MessageSendEvent::SendChannelReady { msg, .. } => Some(msg),
        _ => None,
    });
    network.handlers[PEER].handle_channel_ready(network.id(US), our_ready.unwrap());
    let (mut ready, mut signatures) = (None, None);
    for event in network.handlers[PEER].get_and_clear_pending_msg_events() {
        match event {
            MessageSendEvent::SendChannelReady { msg, .. } => ready = Some(msg),
            MessageSendEvent::SendAnnouncementSignatures { msg, .. } => signatures = Some(msg),
            _ => {}
        }
    }
    FromPeer {
        ready: ready.unwrap(),
        signatures: signatures.unwrap(),
    }
}

/// Returns whether we announce the channel now.
fn announces(network: &Network) -> bool {
    // Signatures released while messages are collected only affect the next collection.
    let mut events = network.handlers[US].get_and_clear_pending_msg_events();
    events.extend(network.handlers[US].get_and_clear_pending_msg_events());
    let is_announcement = |event| {
        matches!(
            event,
            &MessageSendEvent::BroadcastChannelAnnouncement { .. }
        )
    };
    events.iter().any(is_announcement)
}

/// Drains all events and messages: LDK's test nodes panic on drop if any are left.
fn end(network: &Network) {
    for node in &network.nodes {
        node.node.get_and_clear_pending_events();
        node.node.get_and_clear_pending_msg_events();
    }
}

impl FromPeer {
    fn send_ready(&self, network: &Network) {
        network.handlers[US].handle_channel_ready(network.id(PEER), &self.ready);
    }

    fn send_signatures(&self, network: &Network) {
        let peer = network.id(PEER);
        network.handlers[US].handle_announcement_signatures(peer, &self.signatures);
    }
}

#[test]
fn signatures_just_before_channel_ready_announce_the_channel() {
    let network = Network::new(2);
    let peer = opened(&network, SIX);
    // Core Lightning's order.
    peer.send_signatures(&network);
    assert!(!announces(&network), "the channel is not usable yet");
    peer.send_ready(&network);
    assert!(announces(&network), "the channel is not announced");
    end(&network);
}

#[test]
fn signatures_after_channel_ready_announce_the_channel() {
    let network = Network::new(2);
    let peer = opened(&network, SIX);
    peer.send_ready(&network);
    assert!(!announces(&network), "the peer has not signed yet");
    peer.send_signatures(&network);
    assert!(announces(&network));
    end(&network);
}

/// The peer has already seen a block that we have not.
#[test]
fn signatures_before_our_sixth_block_announce_the_channel_with_it() {
    for before_ready in [true, false] {
        let network = Network::with_minimum_depth(2, 3);
        let peer = opened(&network, SIX - 1);
        if before_ready {
            peer.send_signatures(&network);
            peer.send_ready(&network);
        } else {
            peer.send_ready(&network);
            peer.send_signatures(&network);
        }
        assert!(!announces(&network), "five confirmations");
        connect_blocks(&network.nodes[US], 1);
        assert!(announces(&network), "before channel_ready: {before_ready}");
        end(&network);
    }
}

#[test]
fn deferred_signatures_are_dropped_on_disconnect() {
    let network = Network::new(2);
    let peer = opened(&network, SIX);
    peer.send_signatures(&network);
    network.disconnect(US, PEER);
    network.reconnect(US, PEER);
    peer.send_ready(&network);
    assert!(!announces(&network), "the peer must send them again");
    peer.send_signatures(&network);
    assert!(announces(&network));
    end(&network);
}

/// LDK would close the channel, although this can happen in a reorg.
#[test]
fn signatures_for_another_short_channel_id_do_not_close_the_channel() {
    let network = Network::new(2);
    let peer = opened(&network, SIX);
    peer.send_ready(&network);
    let mut other = peer.signatures.clone();
    other.short_channel_id += 1;
    std::mem::swap(&mut other.node_signature, &mut other.bitcoin_signature);
    network.handlers[US].handle_announcement_signatures(network.id(PEER), &other);
    assert!(!announces(&network));
    assert_eq!(network.nodes[US].node.list_usable_channels().len(), 1);
    peer.send_signatures(&network);
    assert!(announces(&network));
    end(&network);
}
