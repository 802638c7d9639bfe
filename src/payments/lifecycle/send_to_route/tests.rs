//! Tests of the state machine of `SendToRoute` payments.

use ldk_amp::PaymentAddr;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use proptest::prelude::*;

use super::*;
use crate::model::attempt::{AttemptFailure, HopRecord};
use crate::model::payment::PaymentState;

const TOTAL_MSAT: u64 = 100;

fn terms() -> PaymentTerms {
    PaymentTerms {
        amount_msat: TOTAL_MSAT,
        payment_addr: Some(PaymentAddr::from_bytes([1; 32])),
        by_route: true,
        ..PaymentTerms::default()
    }
}

fn payment() -> Lifecycle {
    Lifecycle::send_to_route(PaymentRecord {
        payment_index: 1,
        identifier: [7; 32],
        created_at_ns: 0,
        state: PaymentState::InFlight,
        failure_reason: FailureReason::None,
        preimage: None,
        root: None,
        terms: terms(),
    })
}

fn attempt(attempt_id: u64, amount_msat: u64) -> AttemptRecord {
    AttemptRecord {
        attempt_id,
        payment_index: 1,
        payment_hash: PaymentHash([attempt_id as u8; 32]),
        shard: None,
        state: AttemptState::InFlight,
        attempt_time_ns: 0,
        resolve_time_ns: None,
        preimage: None,
        route: vec![HopRecord {
            amt_to_forward_msat: amount_msat,
            ..HopRecord::default()
        }],
        failure: None,
    }
}

fn failure(by_receiver: bool) -> Option<AttemptFailure> {
    Some(AttemptFailure {
        by_receiver,
        timed_out: false,
        invalid_payload: false,
        source_index: 1,
        height: 0,
    })
}

fn failed(reason: FailureReason) -> Step {
    Step::End(Ending::Failed(reason))
}

fn refusal(lifecycle: &Lifecycle, terms: &PaymentTerms, amount_msat: u64) -> String {
    lifecycle.takes(terms, amount_msat).unwrap_err().to_string()
}

#[test]
fn waits_for_attempts_and_never_searches_routes() {
    let mut lifecycle = payment();
    assert_eq!(lifecycle.step(u64::MAX), Step::Wait);
    lifecycle.add_given(attempt(1, 60), false);
    assert_eq!(lifecycle.step(u64::MAX), Step::Wait);
}

#[test]
fn succeeds_once_one_attempt_settled_and_none_is_in_flight() {
    let mut lifecycle = payment();
    lifecycle.add_given(attempt(1, 60), false);
    lifecycle.add_given(attempt(2, 40), false);
    lifecycle.settled(1, PaymentPreimage([1; 32]), 0);
    assert_eq!(lifecycle.step(0), Step::Wait);
    lifecycle.failed(2, failure(true), 0);
    assert_eq!(lifecycle.step(0), Step::End(Ending::Succeeded));
}

#[test]
fn forgiving_attempts_only_fail_on_receiver_errors() {
    for (forgiving, by_receiver, step) in [
        (false, false, failed(FailureReason::Error)),
        (true, false, Step::Wait),
        (false, true, failed(FailureReason::IncorrectPaymentDetails)),
        (true, true, failed(FailureReason::IncorrectPaymentDetails)),
    ] {
        let mut lifecycle = payment();
        lifecycle.add_given(attempt(1, 100), forgiving);
        lifecycle.failed(1, failure(by_receiver), 0);
        assert_eq!(lifecycle.step(0), step, "{forgiving} {by_receiver}");
    }
}

#[test]
fn mismatch_errors_match_lnd() {
    let mut lifecycle = payment();
    lifecycle.add_given(attempt(1, 60), true);
    assert!(lifecycle.takes(&terms(), 40).is_ok());
    assert_eq!(
        refusal(&lifecycle, &terms(), 41),
        "attempted value exceeds payment amount"
    );
    let other_total = PaymentTerms {
        amount_msat: TOTAL_MSAT + 1,
        ..terms()
    };
    assert_eq!(
        refusal(&lifecycle, &other_total, 40),
        "mp payment total amount mismatch"
    );
    let other_address = PaymentTerms {
        payment_addr: Some(PaymentAddr::from_bytes([2; 32])),
        ..terms()
    };
    assert_eq!(
        refusal(&lifecycle, &other_address, 40),
        "payment address mismatch"
    );
    let whole = PaymentTerms {
        payment_addr: None,
        ..terms()
    };
    assert_eq!(refusal(&lifecycle, &whole, 40), "payment has MPP attempts");
    lifecycle.settled(1, PaymentPreimage([1; 32]), 0);
    assert_eq!(refusal(&lifecycle, &terms(), 40), "invoice is already paid");
}

#[test]
fn rejects_attempts_after_a_counted_failure() {
    let mut lifecycle = payment();
    lifecycle.add_given(attempt(1, 60), false);
    lifecycle.add_given(attempt(2, 20), false);
    lifecycle.failed(1, failure(false), 0);
    assert_eq!(
        refusal(&lifecycle, &terms(), 20),
        "payment has failure reason"
    );
}

#[test]
fn ordinary_payments_reject_given_routes() {
    let mut record = payment().record;
    record.terms.by_route = false;
    let own = Lifecycle::new(record, HashSource::Same(PaymentHash([7; 32])));
    assert_eq!(refusal(&own, &terms(), 1), "payment is in transition");
}

#[test]
fn restart_fails_idle_payments_but_not_those_in_flight() {
    let mut lifecycle = payment();
    lifecycle.add_given(attempt(1, 60), true);
    let mut again = Lifecycle::restore(lifecycle.record.clone(), lifecycle.attempts.clone());
    assert_eq!(again.step(0), Step::Wait);
    again.failed(1, None, 0);
    assert_eq!(again.step(0), failed(FailureReason::Error));

    lifecycle.failed(1, failure(false), 0);
    let again = Lifecycle::restore(lifecycle.record.clone(), lifecycle.attempts.clone());
    assert_eq!(again.step(0), failed(FailureReason::NoRoute));

    let mut refused = payment();
    refused.add_given(attempt(1, 60), true);
    refused.failed(1, failure(true), 0);
    let again = Lifecycle::restore(refused.record.clone(), refused.attempts.clone());
    let reason = FailureReason::IncorrectPaymentDetails;
    assert_eq!(again.step(0), failed(reason));
}

#[derive(Debug, Clone)]
enum Act {
    Take(u64, bool),
    Fail(usize, bool),
    Settle(usize),
    Restore,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..60u64, any::<bool>()).prop_map(|(amount, skip)| Act::Take(amount, skip)),
        2 => (0..5usize, any::<bool>()).prop_map(|(n, refused)| Act::Fail(n, refused)),
        1 => (0..5usize).prop_map(Act::Settle),
        1 => Just(Act::Restore),
    ];
    proptest::collection::vec(act, 1..40)
}

proptest! {
    /// For any requests and events: never more than the total is in flight or settled, no route is
    /// searched, attempts in flight are not abandoned, and settled payments stay paid.
    #[test]
    fn never_overpays_and_ends_correctly(acts in acts()) {
        let mut lifecycle = payment();
        let mut id = 0;
        for act in acts {
            let live: Vec<u64> = lifecycle
                .attempts
                .iter()
                .filter(|a| a.state == AttemptState::InFlight)
                .map(|a| a.attempt_id)
                .collect();
            match act {
                Act::Take(amount, forgiving) if lifecycle.takes(&terms(), amount).is_ok() => {
                    id += 1;
                    lifecycle.add_given(attempt(id, amount), forgiving);
                }
                Act::Take(..) => {}
                Act::Fail(n, refused) => {
                    if let Some(id) = live.get(n) {
                        lifecycle.failed(*id, failure(refused), 0);
                    }
                }
                Act::Settle(n) => {
                    if let Some(id) = live.get(n) {
                        lifecycle.settled(*id, PaymentPreimage([1; 32]), 0);
                    }
                }
                Act::Restore => {
                    let Lifecycle { record, attempts, .. } = lifecycle;
                    lifecycle = Lifecycle::restore(record, attempts);
                }
            }
            let kept = lifecycle.attempts.iter().filter(|a| a.state != AttemptState::Failed);
            prop_assert!(kept.map(AttemptRecord::amount_msat).sum::<u64>() <= TOTAL_MSAT);
            let settled = lifecycle.any(AttemptState::Succeeded);
            match lifecycle.step(u64::MAX) {
                Step::Send(_) => prop_assert!(false, "must not send on its own"),
                Step::End(Ending::Succeeded) => prop_assert!(settled && !lifecycle.is_in_flight()),
                Step::End(Ending::Failed(_)) => prop_assert!(!settled && !lifecycle.is_in_flight()),
                Step::Wait => prop_assert!(lifecycle.is_in_flight() || !settled),
            }
        }
    }
}
