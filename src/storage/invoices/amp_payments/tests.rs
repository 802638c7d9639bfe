//! Tests of the payments of an invoice and their totals.

use std::collections::BTreeMap;

use super::super::tests::{invoice, set, set_id, shard, store};
use super::super::{PutHtlc, PutInvoice, PutSet};
use super::*;
use crate::model::htlc::SetRecord;

const DAY: u64 = 86_400;

/// Creates an invoice with ten payments: payment `n` is n msat, has settle index 2n, and settled on
/// day n.
fn paid() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    store.submit(PutInvoice(invoice(2)));
    for n in 1..=10 {
        store.submit(PutSet(payment(n, 1)));
        store.submit(PutHtlc(shard(n, n)));
    }
    store.submit(PutSet(payment(11, 2)));
    store.submit(PutSet(set(12, HtlcState::Canceled)));
    store.flush();
    (dir, store)
}

fn payment(n: u64, add_index: u64) -> SetRecord {
    SetRecord {
        add_index,
        settle_index: Some(2 * n),
        settled_at: Some(n * DAY),
        amt_paid_msat: n,
        ..set(n, HtlcState::Settled)
    }
}

fn amounts(store: &Store, page: PaymentPage) -> Vec<u64> {
    let found = store.payments_of_invoice(1, &page).unwrap();
    found.iter().map(|payment| payment.amt_msat).collect()
}

#[test]
fn payments_are_paged_in_both_directions_and_filtered_by_time() {
    let (_dir, store) = paid();
    let page = |index_offset, limit, reversed| PaymentPage {
        index_offset,
        limit,
        reversed,
        ..Default::default()
    };
    assert_eq!(amounts(&store, page(0, 3, false)), [1, 2, 3]);
    assert_eq!(amounts(&store, page(6, 3, false)), [4, 5, 6]);
    assert_eq!(amounts(&store, page(0, 3, true)), [8, 9, 10]);
    assert_eq!(amounts(&store, page(16, 3, true)), [5, 6, 7]);
    assert_eq!(amounts(&store, page(2, 3, true)), [0; 0]);
    assert_eq!(amounts(&store, page(u64::MAX, 3, false)), [0; 0]);
    assert_eq!(amounts(&store, page(u64::MAX, u64::MAX, true)).len(), 10);
    let of_time = |from, to| PaymentPage {
        settled: TimeSpan { from, to },
        ..page(0, u64::MAX, false)
    };
    assert_eq!(amounts(&store, of_time(3 * DAY, 5 * DAY)), [3, 4, 5]);
    assert_eq!(amounts(&store, of_time(3 * DAY + 1, 5 * DAY - 1)), [4]);
    assert_eq!(amounts(&store, of_time(9 * DAY, 0)), [9, 10]);
    assert_eq!(amounts(&store, of_time(u64::MAX, u64::MAX)), [0; 0]);
}

#[test]
fn payment_has_shards_and_message_of_its_own_set_only() {
    let (_dir, store) = paid();
    let with_message = |n: u64, text: &[u8]| {
        let mut row = shard(n, 3);
        row.custom_records = BTreeMap::from([(tlv::MESSAGE, text.to_vec()), (65_537, vec![1])]);
        row
    };
    store.submit(PutHtlc(with_message(20, b"hello \xff")));
    store.submit(PutHtlc(with_message(21, b"not the first")));
    let mut canceled = with_message(2, b"of a canceled shard");
    canceled.state = HtlcState::Canceled;
    store.submit(PutHtlc(canceled));
    store.flush();
    let all = PaymentPage {
        limit: 3,
        ..Default::default()
    };
    let found = store.payments_of_invoice(1, &all).unwrap();
    assert_eq!(found[2].shards, 3);
    assert_eq!(found[2].message.as_deref(), Some(&b"hello \xff"[..]));
    assert_eq!(found[2].set_id, set_id(3));
    assert_eq!((found[0].shards, &found[0].message), (1, &None));
    assert!(!format!("{found:?}").contains("message"));
}

#[test]
fn payments_are_totaled_per_day() {
    let (_dir, store) = paid();
    let mut evening = payment(13, 1);
    evening.settled_at = Some(3 * DAY + 86_399);
    store.submit(PutSet(evening));
    store.flush();
    let totals = store.day_totals_of_invoice(1, TimeSpan::default()).unwrap();
    assert_eq!(totals.len(), 10);
    let third = DayTotal {
        day: 3,
        payments: 2,
        amt_msat: 16,
    };
    assert_eq!(totals[2], third);
    let span = TimeSpan {
        from: 3 * DAY,
        to: 3 * DAY,
    };
    let totals = store.day_totals_of_invoice(1, span).unwrap();
    assert_eq!(totals.iter().map(|total| total.amt_msat).sum::<u64>(), 3);
    assert!(
        store
            .day_totals_of_invoice(3, TimeSpan::default())
            .unwrap()
            .is_empty()
    );
}
