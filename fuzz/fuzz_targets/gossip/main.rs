//! Gossip in any order: updates that come before their announcement, or while it is checked, are not lost,
//! whatever another peer sends in between.
//!
//! The input is a list of steps, each a byte and what it needs (`Step`). One peer is honest: it sends valid
//! updates of four channels. The other one sends what it likes.
#![no_main]

mod node;
mod signed;

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use lightning::ln::msgs::{
    BaseMessageHandler, ChannelAnnouncement, ChannelUpdate, Init, NodeAnnouncement,
    QueryChannelRange, QueryShortChannelIds, ReplyChannelRange, ReplyShortChannelIdsEnd,
    RoutingMessageHandler,
};
use lightning::util::ser::LengthReadable;

use node::Node;
use signed::{SECONDS, Side, announcement, honest, hostile, update};

const MAX_STEPS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let node = Node::new();
    let mut input = bytes;
    let mut sent = BTreeMap::new();
    for _ in 0..MAX_STEPS {
        let Some(kind) = byte(&mut input) else { break };
        step(&node, kind, &mut input, &mut sent);
    }
    while node.check_next(true) {}
    node.send_all();
    for (side, second) in sent {
        if let Some(known) = node.known(side) {
            assert!(
                known.is_some_and(|known| known >= second),
                "{side:?}: {known:?} < {second}"
            );
        }
    }
});

/// Does one step. `sent` has the last update that the honest peer sent for each side of a channel.
fn step(node: &Node, kind: u8, input: &mut &[u8], sent: &mut BTreeMap<Side, u8>) {
    let side = Side::of(kind);
    match kind >> 4 {
        0..4 => {
            let peer = if kind & 16 == 0 { honest() } else { hostile() };
            let message = announcement(side.channel);
            let _ = node.gossip.handle_channel_announcement(Some(peer), message);
        }
        4..8 => {
            let second = byte(input).unwrap_or_default() % SECONDS;
            let message = update(side, second);
            let _ = node.gossip.handle_channel_update(Some(honest()), message);
            sent.insert(side, second);
        }
        8..10 => {
            let second = byte(input).unwrap_or_default();
            let mut message = update(side, second % SECONDS).clone();
            // Forged, unless it is the same.
            message.contents.timestamp += u32::from(second / SECONDS);
            let _ = node.gossip.handle_channel_update(Some(hostile()), &message);
        }
        10..12 => {
            node.check_next(kind & 1 == 0);
        }
        12 => node.send_all(),
        13 => node.gossip.peer_disconnected(hostile()),
        _ => {
            let length = usize::from(byte(input).unwrap_or_default()) * 4;
            let (message, rest) = input.split_at(length.min(input.len()));
            *input = rest;
            handle(node, kind & 7, message);
        }
    }
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

/// Handles any bytes as a message of the hostile peer.
fn handle(node: &Node, kind: u8, bytes: &[u8]) {
    let (gossip, peer) = (&node.gossip, hostile());
    match kind {
        0 => with(bytes, |message: ChannelAnnouncement| {
            let _ = gossip.handle_channel_announcement(Some(peer), &message);
        }),
        1 => with(bytes, |message: ChannelUpdate| {
            let _ = gossip.handle_channel_update(Some(peer), &message);
        }),
        2 => with(bytes, |message: NodeAnnouncement| {
            let _ = gossip.handle_node_announcement(Some(peer), &message);
        }),
        3 => with(bytes, |message: ReplyChannelRange| {
            let _ = gossip.handle_reply_channel_range(peer, message);
        }),
        4 => with(bytes, |message: ReplyShortChannelIdsEnd| {
            let _ = gossip.handle_reply_short_channel_ids_end(peer, message);
        }),
        5 => with(bytes, |message: QueryChannelRange| {
            let _ = gossip.handle_query_channel_range(peer, message);
        }),
        6 => with(bytes, |message: QueryShortChannelIds| {
            let _ = gossip.handle_query_short_channel_ids(peer, message);
        }),
        _ => with(bytes, |message: Init| {
            let _ = gossip.peer_connected(peer, &message, true);
        }),
    }
}

fn with<M: LengthReadable>(mut bytes: &[u8], handle: impl FnOnce(M)) {
    if let Ok(message) = M::read_from_fixed_length_buffer(&mut bytes) {
        handle(message);
    }
}
