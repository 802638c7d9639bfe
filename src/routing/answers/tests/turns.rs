//! The rate of answers is shared fairly between peers.

use super::*;

#[test]
fn peers_take_turns() {
    let node = Node::new();
    let channels: Vec<u64> = (0..100).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    let peers = [public(7), public(8), public(9)];
    for peer in peers {
        node.ask_ids(peer, REGTEST, &channels);
    }
    let mut turns = Vec::new();
    for _ in 0..2 {
        for peer in &peers {
            node.answers.drained(peer);
        }
        for _ in &peers {
            turns.push(node.answers.next_chunk().unwrap().0);
        }
    }
    let mut in_order = peers.to_vec();
    in_order.sort_unstable();
    assert_eq!(turns, [&in_order[..], &in_order[..]].concat());
}

#[test]
fn peers_with_channels_get_three_of_four_turns() {
    let node = Node::new();
    let channels: Vec<u64> = (0..500).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    let others = [public(8), public(9)];
    for peer in others.into_iter().chain([public(CHANNEL_PEER)]) {
        node.ask_ids(peer, REGTEST, &channels);
    }
    let mut turns = Vec::new();
    for _ in 0..8 {
        for peer in others.iter().chain([&public(CHANNEL_PEER)]) {
            node.answers.drained(peer);
        }
        turns.push(node.answers.next_chunk().unwrap().0);
    }
    let with_channel = public(CHANNEL_PEER);
    assert_eq!(turns[..3], [with_channel; 3]);
    assert_eq!(turns[4..7], [with_channel; 3]);
    assert!(others.contains(&turns[3]) && others.contains(&turns[7]));
    assert_ne!(turns[3], turns[7], "peers without channels take turns");
}

#[test]
fn exhausted_rate_delays_only_that_peer() {
    let node = Node::new();
    node.learn(scid(500, 0), [1, 2]);
    let (greedy, other) = (public(8), public(9));
    node.answers
        .without_channel
        .charge(greedy, RATE_WITHOUT_CHANNEL.burst);
    for peer in [greedy, other, public(CHANNEL_PEER)] {
        node.ask_ids(peer, REGTEST, &[scid(500, 0)]);
        node.answers.drained(&peer);
    }
    let mut answered = Vec::new();
    while let Some((peer, _)) = node.answers.next_chunk() {
        answered.push(peer);
    }
    assert_eq!(answered, [public(CHANNEL_PEER), other]);
    assert!(!node.answers.without_channel.has_one(&greedy));
}

#[test]
fn answers_to_peers_without_channels_are_charged_to_them() {
    let node = Node::new();
    let channels: Vec<u64> = (0..1_000).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn_bare(*channel, [1, 2]);
    }
    // An announcement has at least 430 bytes.
    let left = 150;
    let peer = public(9);
    node.answers
        .without_channel
        .charge(peer, RATE_WITHOUT_CHANNEL.burst - left);
    node.ask_ids(peer, REGTEST, &channels);
    let (mut bytes, start) = (0, std::time::Instant::now());
    loop {
        node.answers.drained(&peer);
        let Some((_, messages)) = node.answers.next_chunk() else {
            break;
        };
        bytes += messages.iter().map(|one| one.bytes.len()).sum::<usize>();
    }
    let allowed = usize::try_from(left).unwrap() * UNIT;
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let refilled = 50_000 * seconds;
    assert!(
        (allowed..allowed + CHUNK_BYTES + refilled).contains(&bytes),
        "{bytes}"
    );
}
