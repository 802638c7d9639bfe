//! Payments by ampd's payments module over intermediate nodes, some of which fail HTLCs, to a receiver with
//! ampd's registry.

use std::collections::HashSet;

use ampd::invoices::{NewInvoice, Purpose};
use ampd::model::attempt::{AttemptRecord, AttemptState};
use ampd::model::htlc::HtlcState;
use ampd::model::invoice::InvoiceKind;
use ampd::model::payment::{FailureReason, PaymentState};
use ampd::payments::{Method, NewPayment, PaymentView};
use ldk_amp::PaymentAddr;
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lightning::types::routing::{RouteHint, RouteHintHop, RoutingFees};

use crate::payer::payment;
use crate::paying_scene::*;
use crate::scene::{addr, settled};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);

/// Returns the root share that the receiver computes from these shards.
fn root(shards: &[&AttemptRecord]) -> [u8; 32] {
    let mut root = [0; 32];
    for attempt in shards {
        let (share, _) = attempt.shard.as_ref().unwrap();
        root.iter_mut().zip(share.iter()).for_each(|(r, s)| *r ^= s);
    }
    root
}

#[test]
fn failed_shard_is_retried_as_a_new_child_of_the_same_root() {
    let scene = Scene::new(3);
    scene.announce_stale_route(0);
    scene.announce_routes([1, 2]);
    let invoice = scene.receiver.add_amp_invoice(TWO_ROUTES_MSAT);
    let mut views = scene.start(scene.amp(TWO_ROUTES_MSAT, Some(addr(&invoice))));
    let root_at_start = views.borrow().record.root.as_deref().copied();
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
    let failed = in_state(&ended, AttemptState::Failed);
    let succeeded = in_state(&ended, AttemptState::Succeeded);
    assert!(!failed.is_empty() && succeeded.len() >= 2);
    assert_eq!(Some(root(&succeeded)), root_at_start);
    let children = ended.attempts.iter().map(|a| a.shard.as_ref().unwrap().1);
    let children: HashSet<u32> = children.collect();
    let hashes: HashSet<_> = ended.attempts.iter().map(|a| a.payment_hash).collect();
    let all = ended.attempts.len();
    assert_eq!((children.len(), hashes.len()), (all, all));
    let stored = scene.receiver.stored_set(set_of(&ended));
    assert_eq!(stored, settled(TWO_ROUTES_MSAT, succeeded.len()));
}

#[test]
fn refusal_by_the_receiver_ends_the_payment_without_retry() {
    let scene = Scene::without_accept_amp(3);
    scene.announce_routes([0, 1, 2]);
    let ended = scene.pay(scene.amp(TWO_ROUTES_MSAT, None));
    assert_failed(&ended, FailureReason::IncorrectPaymentDetails);
    assert_eq!(in_state(&ended, AttemptState::Failed).len(), 2);
    let failures = ended.attempts.iter().map(|a| a.failure.clone().unwrap());
    assert!(failures.clone().all(|failure| failure.by_receiver));
    assert!(failures.map(|f| f.source_index).all(|source| source == 2));
}

#[test]
fn incomplete_payment_fails_after_its_time_limit() {
    let scene = Scene::new(2);
    scene.announce_stale_route(0);
    scene.announce_routes([1]);
    let invoice = scene.receiver.add_amp_invoice(TWO_ROUTES_MSAT);
    let mut payment = scene.amp(TWO_ROUTES_MSAT, Some(addr(&invoice)));
    payment.limits.timeout_seconds = 3;
    let mut views = scene.start(payment);
    let held = scene.run_until_held(&mut views, 1);
    let deadline = held.record.terms.deadline;
    let late = scene.run_until(&mut views, |_| now() > deadline);
    assert!(!late.is_final(), "a shard is in flight");
    scene.expire_sets();
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_failed(&ended, FailureReason::Timeout);
    assert!(scene.payer.outgoing().is_empty());
}

#[test]
fn set_that_timed_out_at_the_receiver_is_resent_within_the_time_limit() {
    let scene = Scene::new(3);
    scene.announce_stale_route(0);
    scene.announce_routes([1]);
    let invoice = scene.receiver.add_amp_invoice(TWO_ROUTES_MSAT);
    let mut views = scene.start(scene.amp(TWO_ROUTES_MSAT, Some(addr(&invoice))));
    scene.run_until_held(&mut views, 1);
    scene.expire_sets();
    scene.announce_routes([2]);
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
    let set = scene.receiver.htlcs(set_of(&ended));
    let count = |state| set.iter().filter(|htlc| htlc.state == state).count();
    let succeeded = in_state(&ended, AttemptState::Succeeded);
    assert_eq!(count(HtlcState::Settled), succeeded.len());
    assert!(count(HtlcState::Canceled) >= 1);
}

#[test]
fn payment_in_flight_resumes_after_a_restart_of_the_payer() {
    let mut scene = Scene::new(3);
    scene.announce_stale_route(0);
    scene.announce_routes([1]);
    let invoice = scene.receiver.add_amp_invoice(TWO_ROUTES_MSAT);
    let mut views = scene.start(scene.amp(TWO_ROUTES_MSAT, Some(addr(&invoice))));
    let held = scene.run_until_held(&mut views, 1);
    let first = scene.receiver.htlcs(set_of(&held))[0].payment_hash;
    scene.payer.restart();
    scene.announce_routes([2]);
    let mut views = scene.payer.track(&held.record.identifier);
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
    let succeeded = in_state(&ended, AttemptState::Succeeded);
    let root_at_start = held.record.root.as_deref().copied();
    assert_eq!(Some(root(&succeeded)), root_at_start);
    let hashes = succeeded.iter().map(|a| a.payment_hash);
    assert_eq!(
        hashes.filter(|hash| *hash == first).count(),
        1,
        "sent only once"
    );
    let stored = scene.receiver.stored_set(set_of(&ended));
    assert_eq!(stored, settled(TWO_ROUTES_MSAT, succeeded.len()));
}

#[test]
fn fee_limit_is_exact() {
    let scene = Scene::new(2);
    scene.announce_routes([0, 1]);
    let fee = u64::from(scene.routes[0].policy.fee_base_msat);
    assert!(fee > 0);
    for (amount_msat, fees_msat) in [(ONE_ROUTE_MSAT, fee), (TWO_ROUTES_MSAT / 2, fee)] {
        let limited = |fee_limit_msat| {
            let mut payment = scene.amp(amount_msat, None);
            payment.limits.fee_limit_msat = fee_limit_msat;
            payment
        };
        let ended = scene.pay(limited(fees_msat - 1));
        assert_failed(&ended, FailureReason::NoRoute);
        assert!(ended.attempts.is_empty(), "nothing was sent");
        let ended = scene.pay(limited(fees_msat));
        assert_succeeded(&ended);
        assert_eq!(ended.fee_msat(), fees_msat);
    }
}

#[test]
fn fee_limit_applies_to_all_shards_together() {
    let scene = Scene::new(2);
    scene.announce_routes([0, 1]);
    let fees_msat = 2 * u64::from(scene.routes[0].policy.fee_base_msat);
    let mut payment = scene.amp(TWO_ROUTES_MSAT, None);
    payment.limits.fee_limit_msat = fees_msat - 1;
    assert_failed(&scene.pay(payment.clone()), FailureReason::NoRoute);
    payment.limits.fee_limit_msat = fees_msat;
    let ended = scene.pay(payment);
    assert_succeeded(&ended);
    assert_eq!(ended.fee_msat(), fees_msat);
}

/// The minimum is the receiver's delta, three blocks of padding and the intermediate node's delta.
#[test]
fn cltv_limit_is_exact() {
    let scene = Scene::new(2);
    scene.announce_routes([0]);
    let delta = u32::from(scene.routes[0].policy.cltv_delta);
    let blocks = 80 + 3 + delta;
    let limited = |cltv_limit| {
        let mut payment = scene.amp(ONE_ROUTE_MSAT, None);
        payment.limits.cltv_limit = cltv_limit;
        payment
    };
    let ended = scene.pay(limited(blocks - 1));
    assert_failed(&ended, FailureReason::NoRoute);
    assert!(ended.attempts.is_empty(), "nothing was sent");
    let ended = scene.pay(limited(blocks));
    assert_succeeded(&ended);
    let [attempt] = &ended.attempts[..] else {
        panic!("expected one attempt")
    };
    let height = scene.network.height();
    let [first, last] = &attempt.route[..] else {
        panic!("expected two hops")
    };
    assert_eq!(first.expiry + first.cltv_delta, height + blocks);
    assert_eq!((first.expiry, last.expiry), (height + 83, height + 83));
    let [htlc] = &scene.receiver.htlcs(set_of(&ended))[..] else {
        panic!("expected one HTLC")
    };
    assert_eq!(htlc.expiry_height, height + 83, "equals the payer's route");
}

#[test]
fn shard_amounts_respect_maximum_and_minimum() {
    let scene = Scene::new(3);
    scene.announce_routes([0, 1, 2]);
    let mut payment = scene.amp(TWO_ROUTES_MSAT, None);
    payment.limits.max_shard_msat = 40_000_000;
    let ended = scene.pay(payment);
    assert_succeeded(&ended);
    let amounts = ended.attempts.iter().map(AttemptRecord::amount_msat);
    let amounts: Vec<u64> = amounts.collect();
    assert_eq!(amounts.iter().max(), Some(&40_000_000));
    assert!(amounts.len() >= 4 && amounts.iter().all(|amount| *amount >= 10_000_000));
}

#[test]
fn keysend_settles_in_one_part() {
    let scene = Scene::new(1);
    scene.announce_routes([0]);
    let method = Method::Hash {
        payment_hash: PREIMAGE.into(),
        payment_addr: None,
        multi_part: false,
    };
    let mut payment = payment(&scene.network, RECEIVER, ONE_ROUTE_MSAT, method);
    let records = [
        (5_482_373_484, PREIMAGE.0.to_vec()),
        (34_349_334, b"hello".to_vec()),
    ];
    payment.custom_records = records.clone().into();
    let ended = scene.pay(payment);
    assert_succeeded(&ended);
    assert_eq!(ended.record.preimage, Some(PREIMAGE));
    let hash: PaymentHash = PREIMAGE.into();
    assert_eq!(ended.record.identifier, hash.0);
    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(invoice.kind, InvoiceKind::Keysend);
    let [htlc] = &scene.receiver.htlcs_of_invoice(invoice.add_index)[..] else {
        panic!("expected one HTLC")
    };
    assert_eq!(htlc.custom_records, records.into());
}

#[test]
fn regular_invoice_is_paid_in_parts_with_its_hash() {
    let scene = Scene::new(2);
    scene.announce_routes([0, 1]);
    scene.receiver.add(NewInvoice {
        purpose: Purpose::Once {
            preimage: Some(PREIMAGE),
        },
        value_msat: TWO_ROUTES_MSAT,
        ..NewInvoice::default()
    });
    let hash: PaymentHash = PREIMAGE.into();
    // The registry here uses other keys than the test node, so take the secret from LDK.
    let receiver = scene.network.nodes[RECEIVER].node;
    let secret = receiver.create_inbound_payment_for_hash(hash, None, 7_200, None);
    let method = |multi_part| Method::Hash {
        payment_hash: hash,
        payment_addr: Some(PaymentAddr::from_bytes(secret.unwrap().0)),
        multi_part,
    };
    let to_receiver = |method| payment(&scene.network, RECEIVER, TWO_ROUTES_MSAT, method);
    let ended = scene.pay(to_receiver(method(false)));
    assert_failed(&ended, FailureReason::NoRoute);
    let ended = scene.pay(to_receiver(method(true)));
    assert_succeeded(&ended);
    assert_eq!(ended.attempts.len(), 2);
    assert!(ended.attempts.iter().all(|a| a.payment_hash == hash));
    assert_eq!(ended.record.preimage, Some(PREIMAGE));
}

/// LDK's router raises amounts below the last channel's minimum, and the fee limit would allow it here.
#[test]
fn no_payment_method_delivers_more_than_the_amount_to_meet_a_minimum() {
    let scene = Scene::new(3);
    scene.announce_routes([0, 1]);
    for route in [0, 1] {
        let Route { scid, policy, .. } = scene.routes[route];
        scene
            .payer
            .learn_policy_with_minimum(scid, policy, 2, 80_000_000);
    }
    let hash: PaymentHash = PREIMAGE.into();
    let by_hash = |multi_part: bool| Method::Hash {
        payment_hash: hash,
        payment_addr: multi_part.then(|| PaymentAddr::from_bytes([1; 32])),
        multi_part,
    };
    let amp = || Method::Amp { payment_addr: None };
    let with_fees = |amount_msat, method| {
        let mut payment = payment(&scene.network, RECEIVER, amount_msat, method);
        payment.limits.fee_limit_msat = amount_msat;
        payment
    };
    for (amount_msat, method) in [
        (TWO_ROUTES_MSAT, amp()),
        (TWO_ROUTES_MSAT, by_hash(true)),
        (ONE_ROUTE_MSAT, amp()),
        (ONE_ROUTE_MSAT, by_hash(true)),
        (ONE_ROUTE_MSAT, by_hash(false)),
    ] {
        let ended = scene.pay(with_fees(amount_msat, method));
        assert_failed(&ended, FailureReason::NoRoute);
        assert!(ended.attempts.is_empty(), "nothing was sent");
    }
    scene.announce_routes([2]);
    let ended = scene.pay(with_fees(TWO_ROUTES_MSAT, amp()));
    assert_succeeded(&ended);
    assert!(ended.fee_msat() < 10_000);
}

#[test]
fn every_shard_carries_the_custom_records() {
    let scene = Scene::new(2);
    scene.announce_routes([0, 1]);
    let mut payment = scene.amp(TWO_ROUTES_MSAT, None);
    payment.custom_records = [(34_349_334, b"hello".to_vec())].into();
    let records = payment.custom_records.clone();
    let ended = scene.pay(payment);
    assert_succeeded(&ended);
    let htlcs = scene.receiver.htlcs(set_of(&ended));
    assert_eq!(htlcs.len(), 2);
    assert!(htlcs.iter().all(|htlc| htlc.custom_records == records));
}

#[test]
fn requested_first_and_last_hops_are_used() {
    let scene = Scene::new(3);
    scene.announce_routes([0, 1, 2]);
    let id = |node: usize| scene.network.nodes[node].node.get_our_node_id();
    for route in &scene.routes {
        let channels = scene.network.nodes[PAYER].node.list_channels();
        let to_middle = channels
            .iter()
            .find(|channel| channel.counterparty.node_id == id(route.middle));
        let mut by_first = scene.amp(ONE_ROUTE_MSAT / 5, None);
        by_first.limits.outgoing_channels = vec![to_middle.unwrap().short_channel_id.unwrap()];
        let mut by_last = scene.amp(ONE_ROUTE_MSAT / 5, None);
        by_last.limits.last_hop = Some(id(route.middle));
        for payment in [by_first, by_last] {
            let ended = scene.pay(payment);
            assert_succeeded(&ended);
            assert_eq!(ended.attempts[0].route[1].scid, route.scid);
        }
    }
}

#[test]
fn route_hints_are_used_for_payments_to_a_public_key() {
    let scene = Scene::new(1);
    let payment = scene.amp(ONE_ROUTE_MSAT, None);
    assert_failed(&scene.pay(payment.clone()), FailureReason::NoRoute);
    let Route {
        middle,
        scid,
        policy,
    } = scene.routes[0];
    let hint = RouteHint(vec![RouteHintHop {
        src_node_id: scene.network.nodes[middle].node.get_our_node_id(),
        short_channel_id: scid,
        fees: RoutingFees {
            base_msat: policy.fee_base_msat,
            proportional_millionths: 0,
        },
        cltv_expiry_delta: policy.cltv_delta,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    }]);
    let ended = scene.pay(NewPayment {
        route_hints: vec![hint],
        ..payment
    });
    assert_succeeded(&ended);
}

#[test]
fn amount_above_the_balance_fails_at_once() {
    let scene = Scene::new(1);
    scene.announce_routes([0]);
    let ended = scene.pay(scene.amp(CHANNEL_SAT * 1000, None));
    assert_failed(&ended, FailureReason::InsufficientBalance);
    assert!(ended.attempts.is_empty());
}

#[test]
fn failed_amounts_are_retried_in_smaller_parts() {
    let scene = Scene::with_low_capacity_routes(2);
    scene.announce_routes([0, 1]);
    let amount = 70_000_000;
    let ended = scene.pay(scene.amp(amount, None));
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    let sizes = |state| {
        let attempts = in_state(&ended, state).into_iter();
        attempts.map(AttemptRecord::amount_msat).collect::<Vec<_>>()
    };
    assert_eq!(
        sizes(AttemptState::Failed)[..2],
        [amount, amount],
        "over each route"
    );
    let settled = sizes(AttemptState::Succeeded);
    assert!(settled.len() > 1 && settled.iter().all(|part| *part < amount));
    assert_eq!(settled.iter().sum::<u64>(), amount);
}

#[test]
fn rejected_self_payment_sends_nothing() {
    let scene = Scene::new(1);
    scene.announce_routes([0]);
    let mut to_itself = payment(
        &scene.network,
        PAYER,
        ONE_ROUTE_MSAT,
        Method::Amp { payment_addr: None },
    );
    let refused = |payment: &NewPayment| scene.payer.start(payment.clone()).err().unwrap();
    let text = refused(&to_itself).to_string();
    assert_eq!(text, "self-payments not allowed");
    to_itself.allow_self_payment = true;
    let text = refused(&to_itself).to_string();
    assert!(text.contains("not supported"), "{text}");
    assert!(scene.payer.outgoing().is_empty());
}
