//! An intermediate node loses its connection to the receiver for a while, so HTLCs over it fail temporarily.

use ampd::model::attempt::AttemptState;
use ampd::model::payment::{FailureReason, PaymentState};
use ampd::payments::{Method, PaymentView};
use lightning::types::payment::PaymentPreimage;
use tokio::sync::watch;

use crate::payer::payment;
use crate::paying_scene::*;
use crate::scene::addr;

const PREIMAGE: PaymentPreimage = PaymentPreimage([7; 32]);

/// Runs the network until this many attempts have failed.
fn run_until_failed(
    scene: &Scene,
    views: &mut watch::Receiver<PaymentView>,
    attempts: usize,
) -> PaymentView {
    scene.run_until(views, |view| {
        assert!(
            !view.is_final(),
            "payment ended: {:?}",
            view.record.failure_reason
        );
        in_state(view, AttemptState::Failed).len() >= attempts
    })
}

#[test]
fn set_is_completed_after_an_outage_of_its_last_route() {
    let scene = Scene::new(2);
    scene.announce_stale_route(0);
    scene.announce_routes([1]);
    let invoice = scene.receiver.add_amp_invoice(TWO_ROUTES_MSAT);
    let mut views = scene.start(scene.amp(TWO_ROUTES_MSAT, Some(addr(&invoice))));
    let held = scene.run_until_held(&mut views, 1);
    let before = in_state(&held, AttemptState::Failed).len();
    scene.disconnect_from_receiver(0);
    scene.update_routes([0]);
    // Attempts with the whole remainder and with ever smaller parts.
    run_until_failed(&scene, &mut views, before + 3);
    scene.reconnect_to_receiver(0);
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
}

#[test]
fn payment_with_no_shard_delivered_succeeds_after_an_outage() {
    let scene = Scene::new(1);
    scene.announce_routes([0]);
    scene.disconnect_from_receiver(0);
    let mut views = scene.start(scene.amp(ONE_ROUTE_MSAT, None));
    run_until_failed(&scene, &mut views, 3);
    scene.reconnect_to_receiver(0);
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
    let settled = in_state(&ended, AttemptState::Succeeded);
    assert_eq!(settled.len(), 1, "the whole amount in one shard again");
}

#[test]
fn single_part_payment_succeeds_after_an_outage() {
    let scene = Scene::new(1);
    scene.announce_routes([0]);
    scene.disconnect_from_receiver(0);
    let method = Method::Hash {
        payment_hash: PREIMAGE.into(),
        payment_addr: None,
        multi_part: false,
    };
    let mut keysend = payment(&scene.network, RECEIVER, ONE_ROUTE_MSAT, method);
    keysend.custom_records = [(5_482_373_484, PREIMAGE.0.to_vec())].into();
    let mut views = scene.start(keysend);
    run_until_failed(&scene, &mut views, 2);
    scene.reconnect_to_receiver(0);
    assert_succeeded(&scene.run_until(&mut views, PaymentView::is_final));
}

#[test]
fn retries_over_a_route_that_stays_down_are_limited() {
    let scene = Scene::new(1);
    scene.announce_routes([0]);
    scene.disconnect_from_receiver(0);
    let mut payment = scene.amp(ONE_ROUTE_MSAT, None);
    payment.limits.timeout_seconds = 5;
    let ended = scene.pay(payment);
    assert_eq!(ended.record.state, PaymentState::Failed);
    // The limit may cut off the last pause or the last attempt, depending on the machine's speed.
    let reason = ended.record.failure_reason;
    let expected = [FailureReason::NoRoute, FailureReason::Timeout];
    assert!(expected.contains(&reason), "{reason:?}");
    let tried = ended.attempts.len();
    // 1, 2 and 4 parts at first; then three times the whole amount and a smaller size. A slow machine may
    // reach the timeout among the first.
    assert!((3..=22).contains(&tried), "{tried}");
    assert!(scene.payer.outgoing().is_empty());
}
