//! Cooperative and forced closes.

use lightning::ln::msgs::{ChannelMessageHandler, ErrorMessage};

use super::*;
use crate::channels::closed::{CloseInitiator, CloseType};
use crate::channels::closing_transaction::{ClosingKind, ClosingTransaction};
use crate::channels::list;
use crate::channels::pending::pending;
use crate::channels::test_node::{SAT_PER_KW, TestNode, open_between, two_nodes, two_nodes_at};

const COOPERATIVE: CloseRequest = cooperative(ClosingFee::Estimate(SAT_PER_KW));

const fn cooperative(fee: ClosingFee) -> CloseRequest {
    CloseRequest::Cooperative {
        fee,
        delivery: None,
    }
}

#[tokio::test]
async fn cooperative_close_reports_every_step() {
    let (alice, bob, chain, point) = two_nodes(400_000, 0).await;
    let mut closing = alice.closer.close(point, COOPERATIVE).await.unwrap();
    let CloseUpdate::Pending(txid) = closing.next().await.unwrap() else {
        panic!("nothing is mined yet");
    };
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    alice
        .until("alice has recorded it", || {
            !alice.store.closed.lock().unwrap().is_empty()
        })
        .await;
    let height = chain.mine(&[&alice, &bob]);
    assert_eq!(closing.confirmed().await.unwrap(), (txid, height));
    for (node, initiator) in [
        (&alice, CloseInitiator::Local),
        (&bob, CloseInitiator::Remote),
    ] {
        let record = node.store.closed.lock().unwrap()[0].clone();
        assert_eq!(record.close_type, CloseType::Cooperative);
        assert_eq!(record.close_initiator, initiator);
        assert_eq!(record.channel_point, point);
        assert!(record.scid.is_some(), "the SCID is missing");
        let told = node
            .store
            .closing
            .lock()
            .unwrap()
            .last()
            .copied()
            .unwrap()
            .1;
        assert_eq!(
            told,
            ClosingTransaction {
                txid,
                height: Some(height),
                kind: Some(ClosingKind::Cooperative),
            }
        );
    }
}

#[tokio::test]
async fn force_close_shows_time_locked_funds() {
    let (alice, bob, chain, point) = two_nodes(400_000, 100_000).await;
    let mut closing = alice
        .closer
        .close(point, CloseRequest::Force)
        .await
        .unwrap();
    let CloseUpdate::Pending(txid) = closing.next().await.unwrap() else {
        panic!("nothing is mined yet");
    };
    let look = || {
        let closed = alice.store.closed.lock().unwrap().clone();
        pending(&alice.manager, &alice.monitors, &alice.spends, &closed, &[])
    };
    let before = look();
    assert_eq!(
        (before.waiting_close.len(), before.force_closing.len()),
        (1, 0)
    );
    assert_eq!(before.waiting_close[0].closing.unwrap().txid, txid);
    let height = chain.mine(&[&alice, &bob]);
    assert_eq!(closing.confirmed().await.unwrap(), (txid, height));
    let after = look();
    assert_eq!(
        (after.waiting_close.len(), after.force_closing.len()),
        (0, 1)
    );
    let forced = &after.force_closing[0];
    // 300,000 sat are ours, minus 660 for anchors and the fee: 1124 weight units at 2.5 sat.
    assert_eq!(forced.limbo_sat, 300_000 - 660 - 2_810);
    assert_eq!(after.total_limbo_sat(), forced.limbo_sat);
    assert_eq!(forced.maturity_height, Some(height + 143));
    alice
        .until("alice has recorded it", || {
            !alice.store.closed.lock().unwrap().is_empty()
        })
        .await;
    let record = alice.store.closed.lock().unwrap()[0].clone();
    assert_eq!(record.close_type, CloseType::LocalForce);
    assert_eq!(record.local_balance_msat, 300_000_000);
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    assert_eq!(
        bob.store.closed.lock().unwrap()[0].close_type,
        CloseType::RemoteForce
    );
}

/// Eclair starts a force close with an error. LDK responds with our commitment, which may confirm.
#[tokio::test]
async fn our_commitment_confirmed_after_a_peer_error_is_a_local_force_close() {
    let (alice, bob, chain, point) = two_nodes(400_000, 100_000).await;
    let channel_id = bob.manager.list_channels()[0].channel_id;
    let error = ErrorMessage {
        channel_id,
        data: "closed by force".to_owned(),
    };
    bob.manager.handle_error(alice.id, &error);
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    let record = || bob.store.closed.lock().unwrap()[0].clone();
    assert_eq!(
        record().close_type,
        CloseType::RemoteForce,
        "before the commitment confirms"
    );
    bob.until("bob's commitment is broadcast", || {
        let closing = bob.spends.closing_transaction(&point);
        closing.is_some_and(|closing| closing.kind == Some(ClosingKind::OurCommitment))
    })
    .await;
    chain.mine(&[&bob]);
    let confirmed = record();
    assert_eq!(confirmed.close_type, CloseType::LocalForce);
    assert_eq!(confirmed.close_initiator, CloseInitiator::Remote);
    assert!(confirmed.closing.unwrap().height.is_some());
}

#[tokio::test]
async fn close_requires_a_known_channel_and_cooperative_close_an_online_peer() {
    let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
    let other = OutPoint::new(point.txid, 7);
    let unknown = alice.closer.close(other, COOPERATIVE).await.unwrap_err();
    assert_eq!(unknown.to_string(), format!("channel {other} not found"));
    alice.peers.disconnect_by_node_id(bob.id);
    let offline = alice.closer.close(point, COOPERATIVE).await.unwrap_err();
    assert!(matches!(offline, CloseError::PeerOffline), "{offline}");
}

#[tokio::test]
async fn delivery_address_receives_our_balance() {
    let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
    let script = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(
        bitcoin::hashes::Hash::from_byte_array([5; 20]),
    ));
    let request = CloseRequest::Cooperative {
        fee: ClosingFee::Estimate(SAT_PER_KW),
        delivery: Some(script.clone()),
    };
    let mut closing = alice.closer.close(point, request).await.unwrap();
    closing.next().await.unwrap();
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    let paid = alice.broadcast_scripts();
    assert!(paid.contains(&script), "{paid:?}");
}

/// With two P2WPKH outputs, as LDK computes it.
const WEIGHT: u64 = 674;
const CAPACITY_SAT: u64 = 400_000;
/// Below, equal to and above the peer's estimate.
const ESTIMATES: [[u32; 2]; 3] = [[253, 9_000], [2_500, 2_500], [9_000, 253]];

fn exactly(sat_per_kw: u32) -> ClosingFee {
    ClosingFee::Exactly {
        sat_per_kw,
        day_sat_per_kw: SAT_PER_KW,
    }
}

fn fee_sat(sat_per_kw: u32) -> u64 {
    u64::from(sat_per_kw) * WEIGHT / 1_000
}

/// Returns the fee of the closing transaction if this node asks for the close.
async fn close_pays(closer: &TestNode, point: OutPoint, fee: ClosingFee) -> u64 {
    let request = cooperative(fee);
    let mut closing = closer.closer.close(point, request).await.unwrap();
    closing.next().await.unwrap();
    closer.fee_of_close(CAPACITY_SAT)
}

#[tokio::test]
async fn opener_pays_its_own_estimate_regardless_of_the_peers() {
    for estimates in ESTIMATES {
        let (alice, _bob, _chain, point) = two_nodes_at(estimates, CAPACITY_SAT, 100_000).await;
        let ours = estimates[0];
        let pays = close_pays(&alice, point, ClosingFee::Estimate(ours)).await;
        assert_eq!(pays, fee_sat(ours), "{estimates:?}");
    }
}

#[tokio::test]
async fn opener_pays_exactly_the_requested_rate() {
    for estimates in ESTIMATES {
        for asked in [253, 500, 2_500, 10_000, 50_000] {
            let (alice, _bob, _chain, point) = two_nodes_at(estimates, CAPACITY_SAT, 100_000).await;
            let pays = close_pays(&alice, point, exactly(asked)).await;
            assert_eq!(pays, fee_sat(asked), "{asked} at {estimates:?}");
        }
    }
}

/// The opener has requested no rate, and the peer's requested rate applies to its own funds only.
#[tokio::test]
async fn close_started_by_the_peer_costs_the_openers_estimate() {
    for estimates in ESTIMATES {
        for fee in [ClosingFee::Estimate(estimates[1]), exactly(50_000)] {
            let (_alice, bob, _chain, point) = two_nodes_at(estimates, CAPACITY_SAT, 100_000).await;
            let pays = close_pays(&bob, point, fee).await;
            assert_eq!(pays, fee_sat(estimates[0]), "{fee:?} at {estimates:?}");
        }
    }
}

#[tokio::test]
async fn refuses_unaffordable_fees_and_lowers_unaffordable_estimates() {
    // Nearly the whole balance is on Bob's side.
    let (alice, _bob, _chain, point) = two_nodes(CAPACITY_SAT, 390_000).await;
    let balance_sat = list::channels(&alice.manager)[0].local_balance_sat();
    let request = cooperative(exactly(50_000));
    let error = alice.closer.close(point, request).await.unwrap_err();
    assert!(matches!(error, CloseError::FeeTooHigh { .. }), "{error}");
    let pays = close_pays(&alice, point, ClosingFee::Estimate(50_000)).await;
    assert!(
        (balance_sat / 2..=balance_sat).contains(&pays),
        "{pays} of {balance_sat}"
    );
}

#[tokio::test]
async fn cooperative_close_fails_if_the_channel_is_force_closed() {
    let (alice, bob, _chain, point) = two_nodes(CAPACITY_SAT, 100_000).await;
    // Bob receives no more messages, so no closing transaction is signed.
    alice.peers.disconnect_by_node_id(bob.id);
    let spend = alice.spends.subscribe(&point).unwrap();
    let mut closing = Closing {
        spend,
        told: None,
        by_force: false,
    };
    alice
        .closer
        .close(point, CloseRequest::Force)
        .await
        .unwrap();
    let error = closing.next().await.unwrap_err();
    assert!(matches!(error, CloseError::Forced(_)), "{error}");
}

#[test]
fn recognizes_lnd_and_ampd_by_their_amp_bits() {
    let with = |bit: Option<usize>| {
        let mut features = InitFeatures::empty();
        features.set_basic_mpp_optional();
        if let Some(bit) = bit {
            features.set_optional_feature_bit(bit).unwrap();
        }
        supports_amp(&features)
    };
    assert!(with(Some(31)));
    assert!(!with(None) && !with(Some(29)) && !with(Some(33)));
    assert!(!supports_amp(&InitFeatures::empty()));
}

#[tokio::test]
async fn does_not_offer_fees_that_other_peers_may_refuse() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start_stock(2).await);
    let (_chain, point) = open_between(&alice, &bob, CAPACITY_SAT, 100_000).await;
    let request = cooperative(exactly(SAT_PER_KW - 1));
    let error = alice.closer.close(point, request).await.unwrap_err();
    assert!(matches!(error, CloseError::FeeTooLow { .. }), "{error}");
    let pays = close_pays(&alice, point, exactly(SAT_PER_KW)).await;
    assert_eq!(pays, fee_sat(SAT_PER_KW));
}
