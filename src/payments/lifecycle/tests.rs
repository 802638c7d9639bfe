//! Tests of the state machine.

use bitcoin::hashes::{Hash, sha256};
use lightning_types::payment::PaymentPreimage;

use super::*;
use crate::model::payment::PaymentTerms;
use ldk_amp::Splitter;

const DEADLINE: u64 = 100;

fn payment(amount_msat: u64, root: Option<[u8; 32]>) -> PaymentRecord {
    PaymentRecord {
        payment_index: 1,
        identifier: [7; 32],
        created_at_ns: 0,
        state: PaymentState::InFlight,
        failure_reason: FailureReason::None,
        preimage: None,
        root: root.map(Zeroizing::new),
        terms: PaymentTerms {
            amount_msat,
            fee_limit_msat: 1_000,
            max_parts: 4,
            deadline: DEADLINE,
            ..PaymentTerms::default()
        },
    }
}

fn amp(amount_msat: u64) -> Lifecycle {
    let root = [9; 32];
    let hash_source = HashSource::Amp(Splitter::new(Share::from_bytes(root)));
    Lifecycle::new(payment(amount_msat, Some(root)), hash_source)
}

fn path(amount_msat: u64, fee_msat: u64) -> Vec<HopRecord> {
    let hop = |amt_to_forward_msat, fee_msat| HopRecord {
        node_id: String::new(),
        scid: 1,
        amt_to_forward_msat,
        fee_msat,
        ..HopRecord::default()
    };
    vec![hop(amount_msat, fee_msat), hop(amount_msat, 0)]
}

fn send(lifecycle: &mut Lifecycle, id: u64, amount: u64) -> NewAttempt {
    let random = ShardRandomness {
        // Equal bytes would soon equal the remainder of the root, which random ones never do.
        share: sha256::Hash::hash(&id.to_be_bytes()).to_byte_array(),
        index: id as u32,
    };
    lifecycle.attempt(id, path(amount, 10), random, 0).unwrap()
}

fn refusal() -> Option<AttemptFailure> {
    Some(AttemptFailure {
        by_receiver: true,
        timed_out: false,
        invalid_payload: false,
        source_index: 2,
        height: 0,
    })
}

#[test]
fn open_amount_excludes_attempts_in_flight() {
    let mut lifecycle = amp(100);
    assert_eq!(
        lifecycle.step(0),
        Step::Send(Open {
            amount_msat: 100,
            fee_limit_msat: 1_000,
            parts: 4
        })
    );
    send(&mut lifecycle, 1, 60);
    assert_eq!(
        lifecycle.step(0),
        Step::Send(Open {
            amount_msat: 40,
            fee_limit_msat: 990,
            parts: 3
        })
    );
    send(&mut lifecycle, 2, 40);
    assert_eq!(lifecycle.step(0), Step::Wait);
}

#[test]
fn failed_shards_are_retried_with_another_hash() {
    let mut lifecycle = amp(100);
    let first = send(&mut lifecycle, 1, 100);
    lifecycle.failed(1, None, 5).unwrap();
    assert!(matches!(
        lifecycle.step(0),
        Step::Send(Open {
            amount_msat: 100,
            ..
        })
    ));
    let second = send(&mut lifecycle, 2, 100);
    assert_ne!(first.hash, second.hash);
}

#[test]
fn receiver_failure_ends_the_payment_once_none_is_in_flight() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 60);
    send(&mut lifecycle, 2, 40);
    lifecycle.failed(1, refusal(), 0);
    assert_eq!(lifecycle.step(0), Step::Wait);
    lifecycle.failed(2, None, 0);
    let reason = FailureReason::IncorrectPaymentDetails;
    assert_eq!(lifecycle.step(0), Step::End(Ending::Failed(reason)));
}

#[test]
fn sends_nothing_after_a_settled_attempt() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 60);
    send(&mut lifecycle, 2, 40);
    lifecycle.failed(2, None, 0);
    lifecycle.settled(1, PaymentPreimage([1; 32]), 0).unwrap();
    assert_eq!(lifecycle.step(0), Step::End(Ending::Succeeded));
}

#[test]
fn timeout_waits_for_attempts_in_flight() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 100);
    assert_eq!(lifecycle.step(DEADLINE), Step::Wait);
    lifecycle.failed(1, None, 0);
    let reason = FailureReason::Timeout;
    assert_eq!(lifecycle.step(DEADLINE), Step::End(Ending::Failed(reason)));
}

#[test]
fn repeated_results_change_nothing() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 100);
    assert!(lifecycle.settled(1, PaymentPreimage([1; 32]), 0).is_some());
    assert!(lifecycle.settled(1, PaymentPreimage([1; 32]), 0).is_none());
    assert!(lifecycle.failed(1, None, 0).is_none());
}

#[test]
fn the_parts_of_a_bolt11_payment_share_its_hash() {
    let hash = PaymentHash([7; 32]);
    let mut lifecycle = Lifecycle::new(payment(100, None), HashSource::Same(hash));
    assert_eq!(send(&mut lifecycle, 1, 50).hash, hash);
    assert_eq!(send(&mut lifecycle, 2, 50).hash, hash);
}

#[test]
fn sends_nothing_if_the_parts_cannot_carry_the_amount() {
    let mut record = payment(100, Some([9; 32]));
    record.terms.max_shard_msat = 24;
    let hash_source = || HashSource::Amp(Splitter::new(Share::from_bytes([9; 32])));
    let lifecycle = Lifecycle::new(record.clone(), hash_source());
    let no_route = Step::End(Ending::Failed(FailureReason::NoRoute));
    assert_eq!(lifecycle.step(0), no_route);
    record.terms.max_shard_msat = 25;
    let mut lifecycle = Lifecycle::new(record, hash_source());
    assert!(matches!(lifecycle.step(0), Step::Send(_)));
    send(&mut lifecycle, 1, 20);
    assert_eq!(
        lifecycle.step(0),
        Step::Wait,
        "three parts of 25 cannot carry 80"
    );
}

#[test]
fn receiver_failure_counts_after_a_restart() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 100);
    lifecycle.failed(1, None, 0).unwrap();
    assert!(lifecycle.failed(1, refusal(), 0).is_none());
    let reason = FailureReason::IncorrectPaymentDetails;
    assert_eq!(lifecycle.step(0), Step::End(Ending::Failed(reason)));
}

#[test]
fn root_is_deleted_when_the_payment_ends() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 100);
    lifecycle.settled(1, PaymentPreimage([1; 32]), 0).unwrap();
    lifecycle.end(Ending::Succeeded);
    assert!(lifecycle.record.root.is_none());
    assert!(lifecycle.attempts[0].shard.is_some());
}

#[test]
fn settlement_of_a_failed_attempt_counts() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 100);
    lifecycle.failed(1, None, 0).unwrap();
    assert!(lifecycle.settled(1, PaymentPreimage([1; 32]), 0).is_some());
    assert_eq!(lifecycle.step(0), Step::End(Ending::Succeeded));
}

#[test]
fn failure_reason_survives_a_restart() {
    let mut lifecycle = amp(100);
    send(&mut lifecycle, 1, 100);
    assert!(lifecycle.give_up(FailureReason::Canceled));
    assert!(
        !lifecycle.give_up(FailureReason::Error),
        "the first reason must be kept"
    );
    let mut lifecycle = Lifecycle::restore(lifecycle.record.clone(), lifecycle.attempts.clone());
    assert_eq!(lifecycle.step(0), Step::Wait);
    lifecycle.failed(1, None, 0).unwrap();
    let reason = FailureReason::Canceled;
    assert_eq!(lifecycle.step(0), Step::End(Ending::Failed(reason)));
}

mod any_order;
