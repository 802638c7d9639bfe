//! A node in the middle is cut off from the receiver for a while: what is sent over it fails
//! temporarily.

use ampd::payments::{Method, PaymentView};
use ampd::storage::payments::{AttemptState, FailureReason, PaymentState};
use lightning::types::payment::PaymentPreimage;
use tokio::sync::watch;

use crate::payer::payment;
use crate::paying_scene::*;
use crate::scene::addr;

const PREIMAGE: PaymentPreimage = PaymentPreimage([7; 32]);

/// Everything goes on until so many attempts have failed.
fn run_until_failed(
    scene: &Scene,
    views: &mut watch::Receiver<PaymentView>,
    attempts: usize,
) -> PaymentView {
    scene.run_until(views, |view| {
        assert!(
            !view.is_final(),
            "it ended: {:?}",
            view.record.failure_reason
        );
        in_state(view, AttemptState::Failed).len() >= attempts
    })
}

#[test]
fn a_set_is_completed_after_an_outage_of_its_only_way_that_is_left() {
    let scene = Scene::new(2);
    scene.open_stale_way(0);
    scene.open_ways([1]);
    let invoice = scene.receiver.add_amp_invoice(OVER_TWO_WAYS);
    let mut views = scene.start(scene.amp(OVER_TWO_WAYS, Some(addr(&invoice))));
    let held = scene.run_until_held(&mut views, 1);
    let before = in_state(&held, AttemptState::Failed).len();
    scene.disconnect_from_receiver(0);
    scene.open_ways_again([0]);
    // The whole rest, and smaller and smaller parts of it.
    run_until_failed(&scene, &mut views, before + 3);
    scene.reconnect_to_receiver(0);
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
}

#[test]
fn a_payment_of_which_nothing_arrived_is_made_after_an_outage() {
    let scene = Scene::new(1);
    scene.open_ways([0]);
    scene.disconnect_from_receiver(0);
    let mut views = scene.start(scene.amp(OVER_ONE_WAY, None));
    run_until_failed(&scene, &mut views, 3);
    scene.reconnect_to_receiver(0);
    let ended = scene.run_until(&mut views, PaymentView::is_final);
    assert_succeeded(&ended);
    let settled = in_state(&ended, AttemptState::Succeeded);
    assert_eq!(settled.len(), 1, "with all of the amount again");
}

#[test]
fn a_payment_in_one_part_is_made_after_an_outage() {
    let scene = Scene::new(1);
    scene.open_ways([0]);
    scene.disconnect_from_receiver(0);
    let method = Method::Hash {
        payment_hash: PREIMAGE.into(),
        payment_addr: None,
        multi_part: false,
    };
    let mut keysend = payment(&scene.network, RECEIVER, OVER_ONE_WAY, method);
    keysend.custom_records = [(5_482_373_484, PREIMAGE.0.to_vec())].into();
    let mut views = scene.start(keysend);
    run_until_failed(&scene, &mut views, 2);
    scene.reconnect_to_receiver(0);
    assert_succeeded(&scene.run_until(&mut views, PaymentView::is_final));
}

#[test]
fn a_way_that_stays_down_is_tried_within_the_time_limit_and_not_often() {
    let scene = Scene::new(1);
    scene.open_ways([0]);
    scene.disconnect_from_receiver(0);
    let mut payment = scene.amp(OVER_ONE_WAY, None);
    payment.limits.timeout_seconds = 5;
    let ended = scene.pay(payment);
    assert_eq!(ended.record.state, PaymentState::Failed);
    // Whether the last pause or the last attempt is cut off by the limit depends on the machine's speed.
    let reason = ended.record.failure_reason;
    let expected = [FailureReason::NoRoute, FailureReason::Timeout];
    assert!(expected.contains(&reason), "{reason:?}");
    let tried = ended.attempts.len();
    // 1, 2 and 4 parts at first; then three times all of it and a smaller size.
    assert!((8..=22).contains(&tried), "{tried}");
    assert!(scene.payer.outgoing().is_empty());
}
