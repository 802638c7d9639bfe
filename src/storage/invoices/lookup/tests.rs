//! Tests of finding an invoice by each of its keys.

use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::PaymentHash;

use super::super::tests::{htlc, invoice, key, set, set_id, shard, store};
use super::super::{PutHtlc, PutInvoice, PutSet};
use super::*;
use crate::model::htlc::{HtlcState, ShardRecord};

/// Creates invoice 1 with the settled sets 4 (HTLC 40) and 5 (HTLCs 50 and 51) and the held set 6
/// (HTLC 60), and invoice 2 without sets.
fn filled() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    store.submit(PutInvoice(invoice(2)));
    for (id, state) in [
        (5, HtlcState::Settled),
        (6, HtlcState::Accepted),
        (4, HtlcState::Settled),
    ] {
        store.submit(PutSet(set(id, state)));
    }
    for (n, of) in [(60, 6), (51, 5), (40, 4), (50, 5)] {
        let state = if of == 6 {
            HtlcState::Accepted
        } else {
            HtlcState::Settled
        };
        let mut row = htlc(n, state);
        row.shard = Some(ShardRecord {
            set_id: set_id(of),
            share: [0; 32],
            child_index: 0,
            ephemeral_key: [2; 33],
        });
        store.submit(PutHtlc(row));
    }
    store.flush();
    (dir, store)
}

/// Returns the add index, the ids of the HTLCs and the numbers of the sets.
fn found(store: &Store, by: InvoiceRef, selection: HtlcSelection) -> (u64, Vec<u64>, Vec<u64>) {
    let (invoice, htlcs, sets) = store.find_invoice(&by, selection).unwrap().unwrap();
    assert_eq!(store.invoice_by(&by).unwrap().as_ref(), Some(&invoice));
    let number = |id: &[u8; 32]| (1..9).find(|n| key(*n) == *id).unwrap();
    (
        invoice.add_index,
        htlcs.iter().map(|htlc| htlc.htlc_id).collect(),
        sets.iter()
            .map(|set| number(set.set_id.as_bytes()))
            .collect(),
    )
}

#[test]
fn finds_invoices_by_every_key() {
    let (_dir, store) = filled();
    let all = (1, vec![40, 50, 51, 60], vec![6, 4, 5]);
    for by in [
        InvoiceRef::Hash(PaymentHash(key(1))),
        InvoiceRef::Hash(PaymentHash(key(51))),
        InvoiceRef::Addr(PaymentAddr::from_bytes(key(1))),
        InvoiceRef::SetId(set_id(4)),
        InvoiceRef::SetId(set_id(6)),
    ] {
        assert_eq!(found(&store, by, HtlcSelection::All), all, "{by:?}");
    }
    let by = InvoiceRef::Hash(PaymentHash(key(2)));
    assert_eq!(found(&store, by, HtlcSelection::All), (2, vec![], vec![]));
}

#[test]
fn unknown_keys_are_not_found() {
    let (_dir, store) = filled();
    for by in [
        InvoiceRef::Hash(PaymentHash(key(9))),
        InvoiceRef::Addr(PaymentAddr::from_bytes(key(50))),
        InvoiceRef::SetId(set_id(1)),
        InvoiceRef::SetId(SetId::from_bytes([0; 32])),
        InvoiceRef::Addr(PaymentAddr::from_bytes([0; 32])),
    ] {
        for selection in [
            HtlcSelection::All,
            HtlcSelection::SetOnly,
            HtlcSelection::None,
        ] {
            assert_eq!(store.find_invoice(&by, selection).unwrap(), None, "{by:?}");
            assert_eq!(store.invoice_by(&by).unwrap(), None, "{by:?}");
        }
    }
}

#[test]
fn set_only_returns_the_requested_set() {
    let (_dir, store) = filled();
    let only = |by| found(&store, by, HtlcSelection::SetOnly);
    assert_eq!(
        only(InvoiceRef::SetId(set_id(5))),
        (1, vec![50, 51], vec![5])
    );
    assert_eq!(only(InvoiceRef::SetId(set_id(6))), (1, vec![60], vec![6]));
    // The lookup key is not a set_id.
    let by = InvoiceRef::Addr(PaymentAddr::from_bytes(key(1)));
    assert_eq!(only(by), found(&store, by, HtlcSelection::All));
}

#[test]
fn none_returns_all_sets_without_htlcs() {
    let (_dir, store) = filled();
    for by in [
        InvoiceRef::Addr(PaymentAddr::from_bytes(key(1))),
        InvoiceRef::Hash(PaymentHash(key(1))),
        InvoiceRef::SetId(set_id(5)),
    ] {
        let expected = (1, vec![], vec![6, 4, 5]);
        assert_eq!(found(&store, by, HtlcSelection::None), expected, "{by:?}");
    }
}

#[test]
fn amount_at_a_settlement_excludes_later_ones() {
    let (_dir, store) = filled();
    let paid = |at| store.invoice_at(1, at).unwrap().unwrap().amt_paid_msat;
    assert_eq!([paid(3), paid(4), paid(5), paid(u64::MAX)], [0, 10, 20, 20]);
    assert_eq!(store.invoice_at(3, 1).unwrap(), None);
}

/// Unknown payers can cause any number of canceled HTLCs.
#[test]
fn only_the_newest_canceled_htlcs_are_returned() {
    let (_dir, store) = filled();
    for n in 100..300 {
        let canceled = HtlcRecord {
            resolved_at: Some(n),
            state: HtlcState::Canceled,
            ..shard(n, n)
        };
        store.submit(PutSet(set(n, HtlcState::Canceled)));
        store.submit(PutHtlc(canceled));
    }
    store.flush();
    let by = InvoiceRef::Addr(PaymentAddr::from_bytes(key(1)));
    for selection in [HtlcSelection::All, HtlcSelection::None] {
        let (_, htlcs, sets) = store.find_invoice(&by, selection).unwrap().unwrap();
        let canceled = sets.iter().filter(|set| set.state == HtlcState::Canceled);
        assert_eq!((sets.len(), canceled.count()), (53, 50));
        assert!(
            sets.iter().any(|set| set.set_id == set_id(299)),
            "the newest set is missing"
        );
        if selection == HtlcSelection::All {
            let ids: Vec<_> = htlcs.iter().map(|htlc| htlc.htlc_id).collect();
            let expected: Vec<_> = [40, 50, 51, 60].into_iter().chain(250..300).collect();
            assert_eq!(ids, expected);
        }
    }
    let (_, htlcs, sets) = store
        .find_invoice(&InvoiceRef::SetId(set_id(100)), HtlcSelection::SetOnly)
        .unwrap()
        .unwrap();
    assert_eq!(
        (htlcs.len(), sets.len()),
        (1, 1),
        "an old set must be found by its id"
    );
}

#[test]
fn only_the_newest_settled_sets_and_the_named_one_are_returned() {
    let (_dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    let last = u64::from(RECENT_SETTLED) + 2;
    for id in 1..=last {
        store.submit(PutSet(set(id, HtlcState::Settled)));
        store.submit(PutHtlc(shard(id, id)));
    }
    store.flush();
    let newest: Vec<u64> = (3..=last).collect();
    let with_first: Vec<u64> = [1].into_iter().chain(3..=last).collect();
    for (by, expected) in [
        (InvoiceRef::Addr(PaymentAddr::from_bytes(key(1))), &newest),
        (InvoiceRef::SetId(set_id(last)), &newest),
        (InvoiceRef::SetId(set_id(1)), &with_first),
        (InvoiceRef::Hash(PaymentHash(key(1))), &with_first),
    ] {
        let (_, htlcs, sets) = store
            .find_invoice(&by, HtlcSelection::All)
            .unwrap()
            .unwrap();
        let htlcs: Vec<u64> = htlcs.iter().map(|htlc| htlc.htlc_id).collect();
        let sets: Vec<u64> = sets.iter().filter_map(|set| set.settle_index).collect();
        assert_eq!((&htlcs, &sets), (expected, expected), "{by:?}");
    }
}

#[test]
fn set_of_another_invoice_with_the_same_hash_is_not_returned() {
    let (_dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    store.submit(PutInvoice(invoice(2)));
    let set = set(5, HtlcState::Settled);
    store.submit(PutSet(SetRecord {
        add_index: 2,
        ..set
    }));
    // Its hash is that of invoice 1.
    let htlc = shard(1, 5);
    store.submit(PutHtlc(HtlcRecord {
        add_index: 2,
        ..htlc
    }));
    store.flush();
    let by_hash = InvoiceRef::Hash(PaymentHash(key(1)));
    assert_eq!(
        found(&store, by_hash, HtlcSelection::All),
        (1, vec![], vec![])
    );
    let by_set = InvoiceRef::SetId(set_id(5));
    assert_eq!(
        found(&store, by_set, HtlcSelection::All),
        (2, vec![1], vec![5])
    );
}
