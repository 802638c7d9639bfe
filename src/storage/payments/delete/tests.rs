//! Tests of deleting payments and attempts.

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use zeroize::Zeroizing;

use super::*;
use crate::model::attempt::{AttemptRecord, AttemptState};
use crate::model::payment::{FailureReason, PaymentPage, PaymentRecord, PaymentTerms};
use crate::storage::payments::{PutAttempt, PutPayment};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// Returns bytes that are unique to one row and occur nowhere else in the database.
fn secret(kind: u8, number: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

const PREIMAGE: u8 = 0xa5;
const SHARE: u8 = 0xb6;
const ROOT: u8 = 0xc7;

fn put_payment(store: &Store, payment_index: u64, state: PaymentState) {
    store.submit(PutPayment(PaymentRecord {
        payment_index,
        identifier: secret(1, payment_index),
        created_at_ns: payment_index,
        state,
        failure_reason: FailureReason::None,
        preimage: Some(PaymentPreimage(secret(PREIMAGE, payment_index))),
        root: Some(Zeroizing::new(secret(ROOT, payment_index))),
        terms: PaymentTerms::default(),
    }));
}

fn put_attempt(store: &Store, attempt_id: u64, payment_index: u64, state: AttemptState) {
    store.submit(PutAttempt(AttemptRecord {
        attempt_id,
        payment_index,
        payment_hash: PaymentHash(secret(2, attempt_id)),
        shard: Some((Zeroizing::new(secret(SHARE, attempt_id)), 1)),
        state,
        attempt_time_ns: 1,
        resolve_time_ns: None,
        preimage: Some(PaymentPreimage(secret(PREIMAGE, attempt_id))),
        route: Vec::new(),
        failure: None,
    }));
}

fn delete(store: &Store, payment_indices: &[u64], failed_attempts_only: bool) {
    store.submit(DeletePayments {
        payment_indices: payment_indices.to_vec(),
        failed_attempts_only,
    });
    store.flush();
}

/// Returns the index of each remaining payment and the ids of its attempts.
fn remaining(store: &Store) -> Vec<(u64, Vec<u64>)> {
    let page = PaymentPage {
        limit: u64::MAX,
        include_incomplete: true,
        ..PaymentPage::default()
    };
    let ids = |attempts: Vec<AttemptRecord>| attempts.iter().map(|a| a.attempt_id).collect();
    let found = store.payments(&page).unwrap().into_iter();
    found
        .map(|(payment, attempts)| (payment.payment_index, ids(attempts)))
        .collect()
}

/// Stores one payment per state, each with a succeeded and a failed attempt.
fn three_payments(store: &Store) {
    let states = [
        PaymentState::InFlight,
        PaymentState::Succeeded,
        PaymentState::Failed,
    ];
    for (index, state) in (1..).zip(states) {
        put_payment(store, index, state);
        put_attempt(store, 2 * index, index, AttemptState::Succeeded);
        put_attempt(store, 2 * index + 1, index, AttemptState::Failed);
    }
    store.flush();
}

#[test]
fn deletes_payments_with_their_attempts() {
    let (_dir, store) = store();
    three_payments(&store);
    delete(&store, &[2], false);
    assert_eq!(remaining(&store), [(1, vec![2, 3]), (3, vec![6, 7])]);
    assert!(store.attempts(2).unwrap().is_empty());
    delete(&store, &[2, 3, 4], false);
    assert_eq!(remaining(&store), [(1, vec![2, 3])]);
}

#[test]
fn never_deletes_payments_in_flight() {
    let (_dir, store) = store();
    three_payments(&store);
    for failed_attempts_only in [true, false] {
        delete(&store, &[1], failed_attempts_only);
        assert_eq!(remaining(&store)[0], (1, vec![2, 3]));
    }
    assert_eq!(store.ended_payments(0, false, 10).unwrap(), [2, 3]);
}

#[test]
fn deletes_failed_attempts_only() {
    let (_dir, store) = store();
    three_payments(&store);
    delete(&store, &[1, 2], true);
    let expected = [(1, vec![2, 3]), (2, vec![4]), (3, vec![6, 7])];
    assert_eq!(remaining(&store), expected);
}

#[test]
fn ended_payments_are_paged() {
    let (_dir, store) = store();
    three_payments(&store);
    put_payment(&store, 4, PaymentState::Failed);
    store.flush();
    assert_eq!(store.ended_payments(0, false, 2).unwrap(), [2, 3]);
    assert_eq!(store.ended_payments(3, false, 2).unwrap(), [4]);
    assert_eq!(store.ended_payments(0, true, 2).unwrap(), [3, 4]);
    assert!(store.ended_payments(4, false, 2).unwrap().is_empty());
}

#[test]
fn ids_of_deleted_rows_are_never_reused() {
    let (_dir, store) = store();
    three_payments(&store);
    assert_eq!(store.payment_indices().unwrap(), (3, 7));
    delete(&store, &[3], true);
    assert_eq!(store.payment_indices().unwrap(), (3, 7));
    delete(&store, &[2, 3], false);
    assert_eq!(store.payment_indices().unwrap(), (3, 7));
    // Deleting lower indices must not reset the counters.
    delete(&store, &[1], false);
    assert_eq!(store.payment_indices().unwrap(), (3, 7));
}

#[test]
fn ids_of_a_replaced_payment_are_never_reused() {
    let (_dir, store) = store();
    three_payments(&store);
    let mut again = store.payment(&secret(1, 3)).unwrap().unwrap();
    again.payment_index = 4;
    store.submit(PutPayment(again));
    store.flush();
    assert_eq!(store.payment_indices().unwrap(), (4, 7));
}

#[test]
fn deleted_secrets_are_erased_from_disk() {
    const PAYMENTS: u64 = 500;
    let (dir, store) = store();
    // Several commits, so that pages are split and the WAL contains old copies of them.
    for index in 1..=PAYMENTS {
        put_payment(&store, index, PaymentState::InFlight);
        put_attempt(&store, index, index, AttemptState::InFlight);
        if index % 50 == 0 {
            store.flush();
        }
    }
    for index in 1..=PAYMENTS {
        put_payment(&store, index, PaymentState::Succeeded);
        put_attempt(&store, index, index, AttemptState::Succeeded);
    }
    store.flush();
    let kept = 100;
    let deleted: Vec<u64> = (1..=PAYMENTS).filter(|index| *index != kept).collect();
    delete(&store, &deleted, false);
    assert!(store.empty_log().unwrap());

    let mut disk = Vec::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        disk.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let is_on_disk = |kind: u8, number: u64| {
        let secret = secret(kind, number);
        disk.windows(secret.len()).any(|bytes| bytes == secret)
    };
    for kind in [PREIMAGE, SHARE, ROOT] {
        assert!(is_on_disk(kind, kept));
    }
    // All secrets of a kind end with the same bytes, so one search finds all of them.
    for kind in [PREIMAGE, SHARE, ROOT] {
        let found = disk.windows(24).enumerate();
        let numbers = found.filter_map(|(at, bytes)| {
            let number = disk.get(at.checked_sub(8)?..at)?;
            (bytes == [kind; 24]).then(|| u64::from_be_bytes(number.try_into().unwrap()))
        });
        let others: Vec<u64> = numbers.filter(|number| *number != kept).collect();
        assert!(
            others.is_empty(),
            "secrets of kind {kind:x} remain: {others:?}"
        );
    }
}
