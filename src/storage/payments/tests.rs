//! Tests of the rows of payments and attempts.

use std::collections::BTreeMap;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use ldk_amp::PaymentAddr;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use proptest::prelude::*;

use super::*;
use crate::model::attempt::{AttemptFailure, HopRecord};
use crate::model::payment::{HintHopRecord, PaymentPage, PaymentTerms};
use crate::storage::schema;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn payment(payment_index: u64, state: PaymentState) -> PaymentRecord {
    PaymentRecord {
        payment_index,
        identifier: [payment_index as u8; 32],
        created_at_ns: payment_index * 1_000_000_000 + 5,
        state,
        failure_reason: FailureReason::None,
        preimage: None,
        root: None,
        terms: PaymentTerms::default(),
    }
}

fn attempt(attempt_id: u64, payment_index: u64) -> AttemptRecord {
    AttemptRecord {
        attempt_id,
        payment_index,
        payment_hash: PaymentHash([3; 32]),
        shard: None,
        state: AttemptState::InFlight,
        attempt_time_ns: 1,
        resolve_time_ns: None,
        preimage: None,
        route: Vec::new(),
        failure: None,
    }
}

/// Returns all fields for comparison, since the `Debug` of a record omits secrets.
fn payment_fields(p: &PaymentRecord) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (p.payment_index, p.identifier, p.created_at_ns),
        (p.state, p.failure_reason, p.preimage),
        (p.root.as_deref().copied(), p.terms.clone()),
    )
}

fn attempt_fields(a: &AttemptRecord) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (a.attempt_id, a.payment_index, a.payment_hash, a.state),
        a.shard.as_ref().map(|(share, index)| (**share, *index)),
        (a.attempt_time_ns, a.resolve_time_ns, a.preimage),
        (a.route.clone(), a.failure.clone()),
    )
}

fn node_key(secret: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[secret; 32]).unwrap();
    secret.public_key(&Secp256k1::new())
}

fn hint(hops: Vec<(u64, u32, u16)>) -> Vec<HintHopRecord> {
    let hop = |(scid, fee, cltv_delta): (u64, u32, u16)| HintHopRecord {
        node_id: (scid % 2 == 0).then(|| node_key(1)),
        scid,
        fee_base_msat: fee,
        fee_ppm: !fee,
        cltv_delta,
    };
    hops.into_iter().map(hop).collect()
}

prop_compose! {
    fn any_terms()(
        destination: Option<bool>, payment_request in "[a-z0-9]{0,20}", numbers: [u64; 4], small: [u32; 3],
        payment_addr: Option<[u8; 32]>, outgoing_channels: Vec<u64>, last_hop: Option<bool>,
        custom_records: BTreeMap<u64, Vec<u8>>, hints: Vec<Vec<(u64, u32, u16)>>, by_route: bool,
    ) -> PaymentTerms {
        PaymentTerms {
            destination: destination.map(|first| node_key(1 + u8::from(first))),
            amount_msat: numbers[0],
            fee_limit_msat: numbers[1],
            payment_request,
            payment_addr: payment_addr.map(PaymentAddr::from_bytes),
            final_cltv_delta: small[0],
            cltv_limit: small[1],
            max_parts: small[2],
            max_shard_msat: numbers[2],
            outgoing_channels,
            last_hop: last_hop.map(|first| node_key(1 + u8::from(first))),
            route_hints: hints.into_iter().map(hint).collect(),
            custom_records,
            deadline: numbers[3],
            by_route,
        }
    }
}

prop_compose! {
    fn any_payment()(
        payment_index: u64, identifier: [u8; 32], created_at_ns: u64, state in 0..3u8,
        reason in 0..7u8, preimage: Option<[u8; 32]>, root: Option<[u8; 32]>, terms in any_terms(),
    ) -> PaymentRecord {
        PaymentRecord {
            payment_index,
            identifier,
            created_at_ns,
            state: PaymentState::of(state).unwrap(),
            failure_reason: FailureReason::of(reason).unwrap(),
            preimage: preimage.map(PaymentPreimage),
            root: root.map(Zeroizing::new),
            terms,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn payments_and_attempts_are_read_as_written(
        record in any_payment(), id: u64, shard: Option<([u8; 32], u32)>, state in 0..3u8,
        times: (u64, Option<u64>), preimage: Option<[u8; 32]>, hops: Vec<[u64; 3]>,
        failure: Option<(bool, u32, u32)>,
    ) {
        let (_dir, store) = store();
        let mut attempt = attempt(id, record.payment_index);
        attempt.shard = shard.map(|(share, index)| (Zeroizing::new(share), index));
        attempt.state = AttemptState::of(state).unwrap();
        (attempt.attempt_time_ns, attempt.resolve_time_ns) = times;
        attempt.preimage = preimage.map(PaymentPreimage);
        attempt.route = hops.iter().map(|hop| HopRecord {
            node_id: "02".into(),
            scid: hop[0],
            amt_to_forward_msat: hop[1],
            fee_msat: hop[2],
            expiry: u32::MAX,
            custom_records: std::iter::once((hop[0], vec![1])).collect(),
            ..HopRecord::default()
        }).collect();
        attempt.failure = failure.map(|(by_receiver, source_index, height)| AttemptFailure {
            by_receiver, timed_out: !by_receiver, invalid_payload: false, source_index, height,
        });
        store.submit(PutPayment(record.clone()));
        store.submit(PutAttempt(attempt.clone()));
        store.flush();
        let found = store.payment(&record.identifier).unwrap().unwrap();
        prop_assert_eq!(payment_fields(&found), payment_fields(&record));
        let found = store.attempts(record.payment_index).unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(attempt_fields(&found[0]), attempt_fields(&attempt));
    }
}

#[test]
fn retry_replaces_the_failed_payment_with_the_same_identifier() {
    let (_dir, store) = store();
    let failed = payment(1, PaymentState::Failed);
    let mut retry = payment(2, PaymentState::InFlight);
    retry.identifier = failed.identifier;
    store.submit(PutPayment(failed.clone()));
    store.submit(PutAttempt(attempt(1, 1)));
    store.submit(PutPayment(retry.clone()));
    store.submit(PutPayment(retry));
    store.submit(PutAttempt(attempt(2, 2)));
    store.flush();
    let found = store.payment(&failed.identifier).unwrap().unwrap();
    assert_eq!(found.payment_index, 2);
    assert!(store.attempts(1).unwrap().is_empty());
    assert_eq!(store.attempts(2).unwrap().len(), 1);
    assert_eq!(store.count_payments().unwrap(), 1);
    assert_eq!(store.payment_indices().unwrap(), (2, 2));
    assert_eq!(store.payments_in_flight().unwrap().len(), 1);
}

/// Five payments: 1, 3 and 5 succeeded, 2 failed, 4 is in flight.
fn five_payments() -> (tempfile::TempDir, Store) {
    use PaymentState::{Failed, InFlight, Succeeded};
    let (dir, store) = store();
    for (n, state) in (1..).zip([Succeeded, Failed, Succeeded, InFlight, Succeeded]) {
        store.submit(PutPayment(payment(n, state)));
    }
    store.flush();
    (dir, store)
}

/// A page of all succeeded payments.
fn succeeded() -> PaymentPage {
    PaymentPage {
        limit: u64::MAX,
        ..PaymentPage::default()
    }
}

/// A page of all payments.
fn all() -> PaymentPage {
    PaymentPage {
        include_incomplete: true,
        ..succeeded()
    }
}

fn assert_pages(store: &Store, cases: &[(PaymentPage, &[u64])]) {
    for (page, expected) in cases {
        let found = store.payments(page).unwrap();
        let indices: Vec<_> = found.iter().map(|(p, _)| p.payment_index).collect();
        assert_eq!(indices, *expected, "{page:?}");
    }
}

#[test]
fn payments_are_paged_in_both_directions() {
    let (_dir, store) = five_payments();
    let page = |limit, index_offset, reversed| PaymentPage {
        limit,
        index_offset,
        reversed,
        ..all()
    };
    let max = u64::MAX;
    let last_succeeded = PaymentPage {
        limit: 1,
        index_offset: max,
        reversed: true,
        ..succeeded()
    };
    let cases: [(PaymentPage, &[u64]); 8] = [
        (succeeded(), &[1, 3, 5]),
        (all(), &[1, 2, 3, 4, 5]),
        (page(0, 0, false), &[]),
        (page(2, 2, false), &[3, 4]),
        (page(max, max, false), &[]),
        (page(2, 0, true), &[4, 5]),
        (page(2, 4, true), &[2, 3]),
        (last_succeeded, &[5]),
    ];
    assert_pages(&store, &cases);
}

#[test]
fn payments_are_filtered_by_creation_time() {
    let (_dir, store) = five_payments();
    let created = |created_from, created_to| PaymentPage {
        created_from,
        created_to,
        ..all()
    };
    let max = u64::MAX;
    let cases: [(PaymentPage, &[u64]); 5] = [
        (created(2, 3), &[2, 3]),
        (created(0, 1), &[1]),
        (created(0, max), &[1, 2, 3, 4, 5]),
        (created(0, max - 1), &[1, 2, 3, 4, 5]),
        (created(max, 0), &[]),
    ];
    assert_pages(&store, &cases);
}

#[test]
fn creation_times_may_decrease_and_be_far_apart() {
    const DAY_NS: u64 = 86_400 * 1_000_000_000;
    let (_dir, store) = store();
    for (n, day) in (1..).zip([10, 20, 19, 20, 30, 11]) {
        let mut payment = payment(n, PaymentState::Succeeded);
        payment.created_at_ns = day * DAY_NS + n;
        store.submit(PutPayment(payment.clone()));
        store.submit(PutPayment(payment));
    }
    store.flush();
    let days = |from: u64, to: u64| PaymentPage {
        created_from: from * 86_400,
        created_to: to * 86_400 + 86_399,
        ..all()
    };
    let last_before = |to, index_offset| PaymentPage {
        reversed: true,
        limit: 1,
        index_offset,
        ..days(0, to)
    };
    let cases: [(PaymentPage, &[u64]); 7] = [
        (days(10, 11), &[1, 6]),
        (days(12, 18), &[]),
        (days(19, 20), &[2, 3, 4]),
        (days(20, 20), &[2, 4]),
        (days(31, 40), &[]),
        (last_before(20, 0), &[6]),
        (last_before(20, 6), &[4]),
    ];
    assert_pages(&store, &cases);
}

#[test]
fn migration_counts_the_payments_and_finds_their_days() {
    let dir = tempfile::tempdir().unwrap();
    let db = schema::earlier(&Store::path_in(dir.path()), 13);
    let terms = serde_json::to_string(&PaymentTerms::default()).unwrap();
    for n in 1..=3 {
        db.execute(
            "INSERT INTO payments VALUES (?1, ?2, ?3, 1, 0, NULL, NULL, ?4)",
            params![n, [n as u8; 32], n * 86_400 * 1_000_000_000_i64, terms],
        )
        .unwrap();
    }
    drop(db);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.count_payments().unwrap(), 3);
    let second_day = PaymentPage {
        created_from: 2 * 86_400,
        created_to: 2 * 86_400,
        ..all()
    };
    assert_pages(&store, &[(second_day, &[2]), (all(), &[1, 2, 3])]);
    store.submit(PutPayment(payment(4, PaymentState::Failed)));
    store.submit(DeletePayments {
        payment_indices: vec![1, 2, 9],
        failed_attempts_only: false,
    });
    store.flush();
    assert_eq!(store.count_payments().unwrap(), 2);
}
