//! Closing transactions in the mempool, in blocks and in reorganized blocks.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Network, ScriptBuf, Sequence, TxIn, TxOut, Witness};

use super::test_data::{redeem_script, witness};
use super::*;
use crate::channels::closing_transaction::AgreedClose;
use crate::channels::test_node::Store;

const CHANNEL: ChannelId = ChannelId([3; 32]);
const KEY: u8 = 7;

fn channel_point() -> OutPoint {
    OutPoint::new(Txid::from_byte_array([9; 32]), 1)
}

/// Returns a transaction that spends the channel; `sat` makes it unique.
fn spend(sat: u64) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: channel_point(),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: witness(KEY),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: ScriptBuf::new(),
        }],
    }
}

fn watching() -> (FundingSpends, Arc<Store>) {
    let store = Arc::new(Store::default());
    let spends = FundingSpends::new(store.clone());
    spends.watch(CHANNEL, channel_point(), redeem_script(KEY).to_p2wsh());
    (spends, store)
}

fn connect(spends: &FundingSpends, transactions: &[Transaction], height: u32) {
    let header = bitcoin::constants::genesis_block(Network::Regtest).header;
    let transactions: Vec<_> = transactions.iter().enumerate().collect();
    spends.filtered_block_connected(&header, &transactions, height);
}

fn closing(transaction: &Transaction, height: Option<u32>) -> ClosingTransaction {
    ClosingTransaction {
        txid: transaction.compute_txid(),
        height,
        kind: Some(ClosingKind::Cooperative),
    }
}

#[test]
fn confirmed_transaction_takes_precedence_over_broadcast() {
    let (spends, store) = watching();
    let (ours, theirs) = (spend(1), spend(2));
    spends.broadcast(std::slice::from_ref(&ours));
    assert_eq!(
        spends.closing_transaction(&channel_point()),
        Some(closing(&ours, None))
    );
    connect(&spends, std::slice::from_ref(&theirs), 10);
    spends.broadcast(std::slice::from_ref(&ours));
    let confirmed = closing(&theirs, Some(10));
    assert_eq!(
        spends.closing_transaction(&channel_point()),
        Some(confirmed)
    );
    let told = store.closing.lock().unwrap().clone();
    assert_eq!(
        told,
        [(CHANNEL, closing(&ours, None)), (CHANNEL, confirmed)]
    );
}

/// Returns a transaction with the form of a commitment (BOLT 3).
fn commitment(sat: u64) -> Transaction {
    let mut commitment = spend(sat);
    commitment.lock_time = LockTime::from_consensus(0x2000_0001);
    commitment.input[0].sequence = Sequence(0x8000_0001);
    commitment
}

#[test]
fn confirmed_commitment_is_ours_if_we_broadcast_it() {
    let (ours, theirs) = (commitment(1), commitment(2));
    for (confirmed, kind) in [
        (&ours, ClosingKind::OurCommitment),
        (&theirs, ClosingKind::TheirCommitment),
        (&spend(3), ClosingKind::Cooperative),
    ] {
        let (spends, _store) = watching();
        spends.broadcast(std::slice::from_ref(&ours));
        let before = spends.closing_transaction(&channel_point()).unwrap();
        assert_eq!(before.kind, Some(ClosingKind::OurCommitment));
        connect(&spends, std::slice::from_ref(confirmed), 10);
        let closing = spends.closing_transaction(&channel_point()).unwrap();
        assert_eq!(closing.kind, Some(kind));
        // The node was down when the block arrived.
        let (restarted, _store) = watching();
        restarted.restore_commitment(&channel_point(), before);
        connect(&restarted, std::slice::from_ref(confirmed), 10);
        assert_eq!(
            restarted.closing_transaction(&channel_point()),
            Some(closing)
        );
    }
}

#[test]
fn reorganization_unconfirms_the_closing_transaction() {
    let (spends, _store) = watching();
    let transaction = spend(1);
    connect(&spends, std::slice::from_ref(&transaction), 10);
    let fork = BestBlock::new(bitcoin::BlockHash::all_zeros(), 9);
    spends.blocks_disconnected(fork);
    let unconfirmed = closing(&transaction, None);
    assert_eq!(
        spends.closing_transaction(&channel_point()),
        Some(unconfirmed)
    );
    connect(&spends, std::slice::from_ref(&transaction), 11);
    let again = closing(&transaction, Some(11));
    assert_eq!(spends.closing_transaction(&channel_point()), Some(again));
}

#[test]
fn buried_closes_are_forgotten_and_open_channels_are_not() {
    let (spends, _store) = watching();
    connect(&spends, &[], 1_000_000);
    assert!(spends.subscribe(&channel_point()).is_some());
    connect(&spends, &[spend(1)], 1_000_001);
    connect(&spends, &[], 1_000_100);
    assert!(spends.subscribe(&channel_point()).is_some());
    connect(&spends, &[], 1_000_101);
    assert!(spends.subscribe(&channel_point()).is_none());
}

#[test]
fn agreed_close_is_rebroadcast_until_confirmed_and_stored_until_buried() {
    let (spends, store) = watching();
    let (agreed, theirs) = (spend(1), spend(2));
    spends.note_agreed(std::slice::from_ref(&agreed));
    assert_eq!(spends.unconfirmed_closes(), std::slice::from_ref(&agreed));
    assert!(spends.keeps_back(std::slice::from_ref(&theirs)));
    // The peer's transaction, such as a commitment: the agreed one is invalid unless a
    // reorganization removes it.
    connect(&spends, std::slice::from_ref(&theirs), 10);
    assert_eq!(spends.unconfirmed_closes(), []);
    let kept = || store.agreed.lock().unwrap().get(&CHANNEL).cloned();
    assert_eq!(kept().unwrap().confirmed, Some((theirs.compute_txid(), 10)));
    spends.blocks_disconnected(BestBlock::new(bitcoin::BlockHash::all_zeros(), 9));
    assert_eq!(spends.unconfirmed_closes(), [agreed]);
    assert_eq!(kept().unwrap().confirmed, None);
    connect(&spends, std::slice::from_ref(&theirs), 11);
    connect(&spends, &[], 110);
    assert!(kept().is_some());
    connect(&spends, &[], 111);
    assert_eq!(kept(), None, "buried");
}

/// A peer may name any output as its funding, including one of a commitment.
#[test]
fn claims_of_an_output_named_as_funding_are_not_closes_and_not_held_back() {
    let (spends, store) = watching();
    let claim = |sat: u64, witness: Witness| {
        let mut claim = spend(sat);
        claim.input[0].witness = witness;
        claim
    };
    let justice = Witness::from_slice(&[vec![1; 71], vec![1], vec![0x63; 77]]);
    let first = claim(1, justice.clone());
    spends.note_agreed(std::slice::from_ref(&first));
    assert_eq!(spends.unconfirmed_closes(), []);
    // The peer has both sides sign the close of its channel.
    let agreed = spend(2);
    spends.note_agreed(std::slice::from_ref(&agreed));
    assert_eq!(spends.unconfirmed_closes(), std::slice::from_ref(&agreed));
    let other_channel = claim(3, witness(KEY + 1));
    for claim in [&first, &claim(4, justice), &other_channel] {
        assert!(!spends.keeps_back(std::slice::from_ref(claim)));
        spends.broadcast(std::slice::from_ref(claim));
        connect(&spends, std::slice::from_ref(claim), 10);
    }
    assert_eq!(spends.unconfirmed_closes(), std::slice::from_ref(&agreed));
    assert!(store.closing.lock().unwrap().is_empty());

    // As after a restart, with a claim that an earlier version stored as a close.
    let close = |transaction: &Transaction| AgreedClose {
        channel_id: CHANNEL,
        transaction: transaction.clone(),
        forced: false,
        confirmed: None,
    };
    let restarted = FundingSpends::new(store.clone());
    restarted.restore([close(&first)]);
    assert_eq!(restarted.unconfirmed_closes(), []);
    assert!(
        store.agreed.lock().unwrap().is_empty(),
        "the stored close was not deleted"
    );
    restarted.restore([close(&agreed)]);
    assert_eq!(restarted.unconfirmed_closes(), [agreed]);
    assert!(!restarted.keeps_back(&[first]));
}

#[test]
fn current_channel_takes_precedence_over_an_earlier_one_with_the_same_output() {
    let spends = FundingSpends::new(Arc::new(Store::default()));
    spends.watch(CHANNEL, channel_point(), redeem_script(KEY + 1).to_p2wsh());
    assert_eq!(spends.spent_channel(&spend(1).input[0]), None);
    let script = redeem_script(KEY).to_p2wsh();
    spends.watch(CHANNEL, channel_point(), script);
    assert_eq!(spends.spent_channel(&spend(1).input[0]), Some(CHANNEL));
}
