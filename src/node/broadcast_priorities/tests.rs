//! The order in which transactions are broadcast.

use std::time::Instant;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, Sequence, Txid, Witness};
use lightning::ln::types::ChannelId;

use super::*;
use crate::channels::funding_spends::test_data::{redeem_script, witness};
use crate::channels::test_node::TestNode;
use crate::channels::unfunded::{Found, NewPeer, Origin};

const UNFUNDED: u128 = 1;
const KEY: u8 = 5;
const SAT: u64 = 100_000;

fn named() -> OutPoint {
    OutPoint::new(Txid::from_byte_array([9; 32]), 0)
}

/// A transaction that spends the outpoint that the unknown peer named as its funding.
fn spend(witness: Witness) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: named(),
            witness,
            ..TxIn::default()
        }],
        output: Vec::new(),
    }
}

fn commitment(witness: Witness) -> Transaction {
    let mut commitment = spend(witness);
    commitment.lock_time = LockTime::from_consensus(0x2012_3456);
    commitment.input[0].sequence = Sequence(0x8012_3456);
    commitment
}

/// The priorities of a node to which an unknown peer has opened a channel with this funding.
async fn priorities(pushed: bool) -> (BroadcastPriorities, TestNode) {
    let node = TestNode::start(1).await;
    let priorities = BroadcastPriorities {
        monitors: node.monitors.clone(),
        unfunded: node.unfunded.clone(),
        spends: node.spends.clone(),
    };
    let new_peer = NewPeer {
        peer: node.id,
        origin: Origin::new(None),
        has_paid: false,
    };
    let now = Instant::now();
    let admitted = node.unfunded.admit(UNFUNDED, new_peer, pushed, now);
    admitted.unwrap();
    let channel = ChannelId([1; 32]);
    node.unfunded
        .pending(UNFUNDED, channel, named(), Some(SAT), now);
    (priorities, node)
}

#[tokio::test]
async fn closing_a_nonexistent_channel_is_not_broadcast() {
    let (priorities, _node) = priorities(false).await;
    assert_eq!(priorities.priority(&[commitment(witness(KEY))]), None);
    assert_eq!(
        priorities.priority(&[spend(witness(KEY))]),
        None,
        "cooperative close"
    );
}

/// A peer that names an output of a commitment as its funding must not delay our claims on that output.
#[tokio::test]
async fn claim_on_an_output_named_as_funding_is_urgent() {
    let (priorities, node) = priorities(false).await;
    let justice = spend(Witness::from_slice(&[vec![1; 71], vec![1], vec![0x63; 77]]));
    let claims = std::slice::from_ref(&justice);
    assert_eq!(priorities.priority(claims), Some(Priority::Urgent));
    node.unfunded.closed(UNFUNDED, false, Instant::now());
    assert_eq!(priorities.priority(claims), Some(Priority::Urgent));
    let script = redeem_script(KEY).to_p2wsh();
    node.spends.watch(ChannelId([1; 32]), named(), script);
    assert_eq!(
        priorities.priority(claims),
        Some(Priority::Urgent),
        "watched"
    );
    let closing = spend(witness(KEY));
    assert_eq!(priorities.priority(&[closing]), Some(Priority::Normal));
}

/// A peer can claim to have pushed money to us in a channel that does not exist.
#[tokio::test]
async fn close_with_a_pushed_balance_is_idle_until_the_funding_is_known() {
    let (priorities, node) = priorities(true).await;
    let script = redeem_script(KEY).to_p2wsh();
    node.spends.watch(ChannelId([1; 32]), named(), script);
    let ours = [commitment(witness(KEY))];
    assert_eq!(priorities.priority(&ours), Some(Priority::Idle));
    let now = Instant::now();
    node.unfunded.closed(UNFUNDED, true, now);
    assert_eq!(priorities.priority(&ours), Some(Priority::Idle));
    assert!(node.unfunded.looked(UNFUNDED, Found::Unconfirmed, now));
    assert_eq!(priorities.priority(&ours), Some(Priority::Urgent));
}
