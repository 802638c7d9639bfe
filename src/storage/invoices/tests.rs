//! Tests of the rows of invoices, sets and HTLCs.

use std::collections::BTreeMap;

use ldk_amp::{HtlcKey, PaymentAddr, SetId};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use proptest::prelude::*;
use rusqlite::params;

use super::*;
use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord, ShardRecord};
use crate::model::invoice::{
    HtlcSelection, InvoiceKind, InvoicePage, InvoiceRecord, InvoiceRef, InvoiceState, InvoiceTerms,
};
use crate::storage::{Change, Store, schema};

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// The key of the HTLC with this id on the channel of all HTLCs here.
pub(super) fn htlc_key(htlc_id: u64) -> HtlcKey {
    HtlcKey {
        channel_id: ChannelId([1; 32]),
        htlc_id,
    }
}

pub(super) fn set_id(n: u64) -> SetId {
    SetId::from_bytes(key(n))
}

pub(super) fn key(n: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_be_bytes());
    key
}

pub(super) fn invoice(add_index: u64) -> InvoiceRecord {
    InvoiceRecord {
        add_index,
        kind: InvoiceKind::SpontaneousAmp,
        payment_hash: PaymentHash(key(add_index)),
        payment_addr: PaymentAddr::from_bytes(key(add_index)),
        preimage: None,
        terms: InvoiceTerms::default(),
        value_msat: 0,
        created_at: 1_000 + add_index,
        expires_at: None,
        state: InvoiceState::Open,
        settle_index: None,
        settled_at: None,
        amt_paid_msat: 0,
    }
}

pub(super) fn set(n: u64, state: HtlcState) -> SetRecord {
    let settled = state == HtlcState::Settled;
    SetRecord {
        set_id: set_id(n),
        add_index: 1,
        state,
        settle_index: settled.then_some(n),
        settled_at: settled.then_some(n),
        amt_paid_msat: 10,
    }
}

pub(super) fn htlc(n: u64, state: HtlcState) -> HtlcRecord {
    HtlcRecord {
        channel_id: ChannelId([1; 32]),
        htlc_id: n,
        add_index: 1,
        payment_hash: PaymentHash(key(n)),
        scid: u64::MAX,
        amount_msat: 1,
        total_msat: u64::MAX,
        accept_height: 1,
        accepted_at: 1,
        resolved_at: None,
        expiry_height: u32::MAX,
        claim_deadline: None,
        state,
        claimed: false,
        custom_records: BTreeMap::from([(u64::MAX, vec![0, 255]), (65_536, vec![])]),
        shard: None,
        preimage: None,
    }
}

/// An invoice that was paid by one set with one HTLC, as the registry writes it.
pub(super) fn one_of_each() -> Vec<Box<dyn Change>> {
    vec![
        Box::new(PutInvoice(invoice(1))),
        Box::new(PutSet(set(1, HtlcState::Settled))),
        Box::new(PutHtlc(shard(1, 1))),
        Box::new(MarkClaimed {
            payment_hash: PaymentHash(key(1)),
        }),
        Box::new(PutInvoiceState {
            add_index: 1,
            state: InvoiceState::Open,
        }),
    ]
}

/// A settled HTLC of set number `set`.
pub(super) fn shard(n: u64, set: u64) -> HtlcRecord {
    HtlcRecord {
        shard: Some(ShardRecord {
            set_id: set_id(set),
            share: [1; 32],
            child_index: 0,
            ephemeral_key: [2; 33],
        }),
        ..htlc(n, HtlcState::Settled)
    }
}

prop_compose! {
    fn any_terms()(
        memo in ".{0,40}", description_hash: Option<[u8; 32]>, payment_request in "[a-z0-9]{0,20}",
        expiry: u64, cltv_delta: u32, private: bool,
    ) -> InvoiceTerms {
        InvoiceTerms { memo, description_hash, payment_request, expiry, cltv_delta, private }
    }
}

prop_compose! {
    fn any_invoice()(
        add_index: u64, amp: bool, hash: [u8; 32], addr: [u8; 32], preimage: Option<[u8; 32]>,
        terms in any_terms(), numbers: [u64; 3], state in 0..3u8, settled: Option<(u64, u64)>,
    ) -> InvoiceRecord {
        InvoiceRecord {
            add_index,
            kind: if amp { InvoiceKind::SpontaneousAmp } else { InvoiceKind::Bolt11 },
            payment_hash: PaymentHash(hash),
            payment_addr: PaymentAddr::from_bytes(addr),
            preimage: preimage.map(PaymentPreimage),
            terms,
            value_msat: numbers[0],
            created_at: numbers[1],
            expires_at: Some(numbers[1]),
            state: InvoiceState::of(state).unwrap(),
            settle_index: settled.map(|(index, _)| index),
            settled_at: settled.map(|(_, at)| at),
            amt_paid_msat: numbers[2],
        }
    }
}

prop_compose! {
    fn any_htlc()(
        channel_id: [u8; 32], payment_hash: [u8; 32], numbers: [u64; 5], heights: [u32; 2],
        resolved_at: Option<u64>, claim_deadline: Option<u32>, state in 0..3u8, claimed: bool,
        custom_records: BTreeMap<u64, Vec<u8>>, preimage: Option<[u8; 32]>,
        shard: Option<([u8; 32], [u8; 32], u32, u8)>,
    ) -> HtlcRecord {
        HtlcRecord {
            channel_id: ChannelId(channel_id),
            htlc_id: numbers[0],
            add_index: 1,
            payment_hash: PaymentHash(payment_hash),
            scid: numbers[1],
            amount_msat: numbers[2],
            total_msat: numbers[3],
            accept_height: heights[0],
            accepted_at: numbers[4],
            resolved_at,
            expiry_height: heights[1],
            claim_deadline,
            state: HtlcState::of(state).unwrap(),
            claimed,
            custom_records,
            shard: shard.map(|(set_id, share, child_index, key)| ShardRecord {
                set_id: SetId::from_bytes(set_id),
                share,
                child_index,
                ephemeral_key: [key; 33],
            }),
            preimage: preimage.map(PaymentPreimage),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn invoices_are_read_as_written(record in any_invoice()) {
        let (_dir, store) = store();
        store.submit(PutInvoice(record.clone()));
        store.flush();
        prop_assert_eq!(store.invoice(record.add_index).unwrap(), Some(record.clone()));
        prop_assert_eq!(store.invoice_by_hash(&record.payment_hash).unwrap(), Some(record.clone()));
        prop_assert_eq!(store.invoice_by_addr(&record.payment_addr).unwrap(), Some(record));
    }

    #[test]
    fn htlcs_are_read_as_written(record in any_htlc()) {
        let (_dir, store) = store();
        // All HTLCs of such an invoice are looked up, whether they are in a set or not.
        let invoice = InvoiceRecord { kind: InvoiceKind::Keysend, ..invoice(1) };
        store.submit(PutInvoice(invoice.clone()));
        store.submit(PutHtlc(record.clone()));
        store.flush();
        let found = store.htlc(&record.key()).unwrap();
        prop_assert_eq!(found.as_ref(), Some(&record));
        prop_assert_eq!(store.htlcs_of_invoice(1).unwrap(), std::slice::from_ref(&record));
        let by_hash = InvoiceRef::Hash(record.payment_hash);
        let found = store.find_invoice(&by_hash, HtlcSelection::All).unwrap();
        prop_assert_eq!(found, Some((invoice, vec![record.clone()], vec![])));
        if let Some(shard) = &record.shard {
            let of_set = store.htlcs_of_set(&shard.set_id).unwrap();
            prop_assert_eq!(of_set, std::slice::from_ref(&record));
        }
    }
}

#[test]
fn amount_of_a_set_is_added_only_once() {
    let (_dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    store.submit(PutSet(set(1, HtlcState::Accepted)));
    store.submit(PutSet(set(1, HtlcState::Settled)));
    store.submit(PutSet(set(1, HtlcState::Settled)));
    store.submit(PutSet(set(2, HtlcState::Settled)));
    store.submit(PutSet(set(3, HtlcState::Canceled)));
    store.flush();
    store.submit(PutSet(set(2, HtlcState::Settled)));
    store.flush();
    assert_eq!(store.invoice(1).unwrap().unwrap().amt_paid_msat, 20);
    assert_eq!(
        store.set(&set_id(3)).unwrap(),
        Some(set(3, HtlcState::Canceled))
    );
}

#[test]
fn settled_htlcs_are_unresolved_until_claimed() {
    let (_dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    for (n, state) in [
        (1, HtlcState::Accepted),
        (2, HtlcState::Settled),
        (3, HtlcState::Settled),
        (4, HtlcState::Canceled),
    ] {
        store.submit(PutHtlc(htlc(n, state)));
    }
    for n in [1, 2, 4] {
        store.submit(MarkClaimed {
            payment_hash: PaymentHash(key(n)),
        });
    }
    store.flush();
    let unresolved: Vec<_> = store.unresolved_htlcs().unwrap();
    let ids: Vec<_> = unresolved.iter().map(|row| row.htlc_id).collect();
    assert_eq!(ids, [1, 3]);
    assert!(!store.htlc(&htlc_key(1)).unwrap().unwrap().claimed);
}

fn pages(store: &Store, page: InvoicePage) -> Vec<u64> {
    let found = store.invoices(&page).unwrap();
    found.iter().map(|invoice| invoice.add_index).collect()
}

/// Six invoices; every second one is settled.
fn six_invoices() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    for add_index in 1..=6 {
        let mut record = invoice(add_index);
        if add_index % 2 == 0 {
            record.state = InvoiceState::Settled;
        }
        store.submit(PutInvoice(record));
    }
    store.flush();
    (dir, store)
}

/// A page of all invoices.
fn all() -> InvoicePage {
    InvoicePage {
        limit: u64::MAX,
        ..InvoicePage::default()
    }
}

#[test]
fn invoices_are_paged_in_both_directions() {
    let (_dir, store) = six_invoices();
    let page = |limit, index_offset, reversed| InvoicePage {
        limit,
        index_offset,
        reversed,
        ..all()
    };
    let max = u64::MAX;
    let cases: [(InvoicePage, &[u64]); 8] = [
        (all(), &[1, 2, 3, 4, 5, 6]),
        (page(2, 0, false), &[1, 2]),
        (page(0, 0, false), &[]),
        (page(2, 2, false), &[3, 4]),
        (page(max, max, false), &[]),
        (page(2, 0, true), &[5, 6]),
        (page(2, 5, true), &[3, 4]),
        (page(1, max, true), &[6]),
    ];
    for (page, expected) in cases {
        assert_eq!(pages(&store, page), expected, "{page:?}");
    }
}

#[test]
fn invoices_are_filtered_by_state_and_creation_time() {
    let (_dir, store) = six_invoices();
    let pending_only = InvoicePage {
        pending_only: true,
        ..all()
    };
    let created = |created_from, created_to| InvoicePage {
        created_from,
        created_to,
        ..all()
    };
    let max = u64::MAX;
    let cases: [(InvoicePage, &[u64]); 5] = [
        (pending_only, &[1, 3, 5]),
        (created(1_003, 1_005), &[3, 4, 5]),
        (created(max, 0), &[]),
        (created(0, max), &[1, 2, 3, 4, 5, 6]),
        (created(0, 1), &[]),
    ];
    for (page, expected) in cases {
        assert_eq!(pages(&store, page), expected, "{page:?}");
    }
}

#[test]
fn creation_times_of_invoices_may_decrease_and_be_far_apart() {
    let (_dir, store) = store();
    for (add_index, day) in (1..).zip([10, 20, 19, 20, 30, 11]) {
        let mut record = invoice(add_index);
        record.created_at = day * 86_400 + add_index;
        store.submit(PutInvoice(record.clone()));
        record.state = InvoiceState::Canceled;
        store.submit(PutInvoice(record));
    }
    store.flush();
    let days = |from: u64, to: u64| InvoicePage {
        created_from: from * 86_400,
        created_to: to * 86_400 + 86_399,
        ..all()
    };
    let last_before = |to, index_offset| InvoicePage {
        reversed: true,
        limit: 1,
        index_offset,
        ..days(0, to)
    };
    let cases: [(InvoicePage, &[u64]); 6] = [
        (days(10, 11), &[1, 6]),
        (days(12, 18), &[]),
        (days(19, 20), &[2, 3, 4]),
        (days(20, 20), &[2, 4]),
        (last_before(20, 0), &[6]),
        (last_before(20, 6), &[4]),
    ];
    for (page, expected) in cases {
        assert_eq!(pages(&store, page), expected, "{page:?}");
    }
}

#[test]
fn migration_finds_the_days_of_old_invoices() {
    let dir = tempfile::tempdir().unwrap();
    let db = schema::earlier(&Store::path_in(dir.path()), 13);
    let terms = serde_json::to_string(&InvoiceTerms::default()).unwrap();
    for n in 1..=3 {
        db.execute(
            "INSERT INTO invoices VALUES (?1, 0, ?2, ?2, NULL, ?3, 5, ?4, 0, NULL, NULL, 0, NULL)",
            params![n, [n as u8; 32], terms, n * 86_400_i64],
        )
        .unwrap();
    }
    drop(db);
    let store = Store::open(dir.path()).unwrap();
    let second_day = InvoicePage {
        created_from: 2 * 86_400,
        created_to: 2 * 86_400,
        ..all()
    };
    assert_eq!(pages(&store, second_day), [2]);
    assert_eq!(pages(&store, all()), [1, 2, 3]);
}

#[test]
fn settle_index_counts_invoices_and_sets() {
    let (_dir, store) = store();
    assert_eq!(store.invoice_indices().unwrap(), (0, 0));
    store.submit(PutInvoice(invoice(1)));
    let mut settled = invoice(7);
    (settled.state, settled.settle_index) = (InvoiceState::Settled, Some(2));
    store.submit(PutInvoice(settled.clone()));
    store.submit(PutSet(set(1, HtlcState::Settled)));
    store.submit(PutSet(set(3, HtlcState::Settled)));
    store.flush();
    assert_eq!(store.invoice_indices().unwrap(), (7, 3));
    let after = |index, limit| -> Vec<_> {
        let found = store.settlements(index, u64::MAX, limit).unwrap();
        found
            .iter()
            .map(|one| (one.settle_index, one.set_id))
            .collect()
    };
    let (first, third) = ((1, Some(set_id(1))), (3, Some(set_id(3))));
    assert_eq!(after(0, u64::MAX), [first, (2, None), third]);
    assert_eq!(after(0, 2), [first, (2, None)]);
    assert_eq!(after(2, 2), [third]);
    assert_eq!(store.settlements(0, 2, 9).unwrap()[1].add_index, 7);
    assert_eq!(store.settlements(0, 2, 9).unwrap().len(), 2);
    for index in [3, i64::MAX as u64, u64::MAX] {
        assert!(after(index, u64::MAX).is_empty());
    }
}

#[test]
fn damaged_rows_are_errors() {
    let (_dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    store.submit(PutHtlc(htlc(1, HtlcState::Accepted)));
    store.flush();
    for damage in [
        "UPDATE invoices SET state = 9",
        "UPDATE invoices SET state = 0, payment_hash = x'00'",
        "UPDATE htlcs SET custom_records = 'x'",
        "UPDATE htlcs SET custom_records = '{}', set_id = zeroblob(32)",
    ] {
        store.read(|db| db.execute(damage, [])).unwrap();
        let read = store.invoice(1).map(drop);
        let read = read.and_then(|()| store.htlcs_of_invoice(1).map(drop));
        let error = read.unwrap_err().to_string();
        assert!(error.contains("ampd.sqlite"), "{error}");
    }
}
