//! Listing channels.

use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use super::*;
use crate::channels::test_node::{TestNode, two_nodes};
use crate::routing::RouteQuery;

/// A payment held by its receiver.
struct Held {
    hash: PaymentHash,
    preimage: PaymentPreimage,
}

/// Sends a payment over the only channel to `to`, which neither settles nor fails it.
async fn hold(from: &TestNode, to: &TestNode, amount_msat: u64) -> Held {
    let (hash, secret) = to.manager.create_inbound_payment(None, 3600, None).unwrap();
    let preimage = to.manager.get_payment_preimage(hash, secret).unwrap();
    let onion = RecipientOnionFields::secret_only(secret);
    let query = RouteQuery::new(to.id, amount_msat, 0);
    let parameters = query.parameters(&onion, false, 1).unwrap();
    let usable = from.manager.list_usable_channels();
    let in_flight = from.manager.compute_inflight_htlcs();
    let route = from
        .finder
        .find(&query, &parameters, &usable, &in_flight)
        .unwrap();
    from.manager
        .send_payment_with_route(route, hash, onion, PaymentId(hash.0))
        .unwrap();
    to.event(|event| match event {
        Event::PaymentClaimable { payment_hash, .. } if payment_hash == hash => Some(()),
        _ => None,
    })
    .await;
    Held { hash, preimage }
}

/// Settles or fails a held payment, and waits until both sides have removed its HTLC.
async fn resolve(from: &TestNode, to: &TestNode, held: &Held, settle: bool) {
    if settle {
        to.manager.claim_funds(held.preimage);
    } else {
        to.manager.fail_htlc_backwards(&held.hash);
    }
    for node in [from, to] {
        node.until("the HTLC is removed", || {
            only(node)
                .pending_htlcs
                .iter()
                .all(|htlc| htlc.payment_hash != held.hash)
                && only(node).balance.unsettled_msat == only(node).pending_msat()
        })
        .await;
    }
}

impl Channel {
    fn pending_msat(&self) -> u64 {
        self.pending_htlcs.iter().map(|htlc| htlc.amount_msat).sum()
    }
}

fn only(node: &TestNode) -> Channel {
    let mut channels = channels(&node.manager);
    assert_eq!(channels.len(), 1);
    channels.remove(0)
}

/// Asserts that both sides report the same balances in msat.
fn assert_balances(alice: &TestNode, bob: &TestNode, of_alice: u64, of_bob: u64, unsettled: u64) {
    let expected = ChannelBalance {
        local_msat: of_alice,
        remote_msat: of_bob,
        unsettled_msat: unsettled,
        exact: true,
    };
    assert_eq!(only(alice).balance, expected);
    let mirrored = ChannelBalance {
        local_msat: of_bob,
        remote_msat: of_alice,
        ..expected
    };
    assert_eq!(only(bob).balance, mirrored);
}

#[tokio::test]
async fn both_sides_agree_on_balances_with_and_without_pending_htlcs() {
    let (alice, bob, _chain, _point) = two_nodes(400_000, 50_000).await;
    assert_balances(&alice, &bob, 350_000_000, 50_000_000, 0);
    // One above dust, one below, one in the other direction; none is a whole number of sat.
    let first = hold(&alice, &bob, 12_345_678).await;
    let second = hold(&alice, &bob, 1_001).await;
    let back = hold(&bob, &alice, 7_654_321).await;
    let alices = 350_000_000 - 12_345_678 - 1_001;
    let bobs = 50_000_000 - 7_654_321;
    assert_balances(&alice, &bob, alices, bobs, 12_345_678 + 1_001 + 7_654_321);
    let directions: Vec<bool> = only(&alice)
        .pending_htlcs
        .iter()
        .map(|h| h.incoming)
        .collect();
    assert_eq!(directions, [true, false, false]);
    resolve(&alice, &bob, &first, true).await;
    resolve(&alice, &bob, &second, false).await;
    resolve(&bob, &alice, &back, true).await;
    let settled = 350_000_000 - 12_345_678 + 7_654_321;
    assert_balances(&alice, &bob, settled, 400_000_000 - settled, 0);
}

#[tokio::test]
async fn balance_below_the_reserve_is_exact() {
    // Bob has nothing, then less than his reserve of 4,000 sat: LDK's capacity is 0 for both.
    let (alice, bob, _chain, _point) = two_nodes(400_000, 0).await;
    assert_balances(&alice, &bob, 400_000_000, 0, 0);
    let held = hold(&alice, &bob, 1_234_567).await;
    assert_balances(&alice, &bob, 398_765_433, 0, 1_234_567);
    resolve(&alice, &bob, &held, true).await;
    assert_balances(&alice, &bob, 398_765_433, 1_234_567, 0);
}

#[tokio::test]
async fn balances_in_sat_add_up_to_the_capacity() {
    let (alice, bob, _chain, _point) = two_nodes(400_000, 50_000).await;
    let held = hold(&alice, &bob, 20_000_000).await;
    for node in [&alice, &bob] {
        let channel = only(node);
        // 2.5 sat per weight unit: an anchor commitment weighs 1124 units and an HTLC 172.
        assert_eq!(
            (channel.commit_weight, channel.commit_fee_sat),
            (1124 + 172, 3_240)
        );
        let parts = channel.local_balance_sat() + channel.remote_balance_sat();
        let rest = channel.commit_fee_sat + balance::ANCHORS_SAT;
        assert_eq!(parts + rest + channel.pending_msat() / 1000, 400_000);
    }
    assert_eq!(only(&bob).local_balance_sat(), 50_000);
    assert_eq!(only(&alice).local_balance_sat(), 330_000 - 3_240 - 660);
    resolve(&alice, &bob, &held, true).await;
}

#[tokio::test]
async fn channel_has_all_fields_of_lnd() {
    let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
    let channel = only(&alice);
    assert_eq!(channel.peer, bob.id);
    assert_eq!(channel.channel_point, Some(point));
    assert_eq!(channel.scid, Some(1 << 40));
    assert_eq!(channel.commitment_type, CommitmentType::Anchors);
    assert_eq!(
        (channel.local_csv_delay, channel.remote_csv_delay),
        (144, 144)
    );
    assert_eq!(
        (channel.local_reserve_sat, channel.remote_reserve_sat),
        (4_000, 4_000)
    );
    assert_eq!(
        (channel.confirmations, channel.confirmations_required),
        (1, Some(1))
    );
    assert_eq!((channel.base_fee_msat, channel.fee_rate_ppm), (1000, 1));
    assert_eq!(channel.cltv_delta_blocks, 80);
    // The limit in flight for both: the capacity minus both reserves.
    assert_eq!(channel.remote_max_in_flight_msat, 392_000_000);
    assert!(channel.active && channel.initiator && channel.private);
}
