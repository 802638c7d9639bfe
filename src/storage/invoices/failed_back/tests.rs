//! Tests of listing and deleting canceled HTLCs.

use lightning_types::payment::PaymentHash;

use super::super::tests::{htlc_key, invoice, key, set, set_id, shard, store};
use super::super::{DeleteInvoice, FailedBack, ForgetFailedBack, PutHtlc, PutInvoice, PutSet};
use crate::model::htlc::{HtlcRecord, HtlcState};
use crate::storage::Store;

/// A shard of set `set` that was failed back at `resolved_at`.
fn canceled(n: u64, set: u64, resolved_at: u64) -> HtlcRecord {
    HtlcRecord {
        resolved_at: Some(resolved_at),
        state: HtlcState::Canceled,
        ..shard(n, set)
    }
}

fn all(store: &Store) -> Vec<FailedBack> {
    let found = store.canceled_shards(u64::MAX, FailedBack::START, usize::MAX);
    found.unwrap().into_iter().map(|(htlc, _)| htlc).collect()
}

/// Creates set 1 with two canceled HTLCs, set 2 with one canceled and one held HTLC, and set 3,
/// which is settled.
fn filled() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    store.submit(PutInvoice(invoice(1)));
    for (n, state) in [
        (1, HtlcState::Canceled),
        (2, HtlcState::Canceled),
        (3, HtlcState::Settled),
    ] {
        store.submit(PutSet(set(n, state)));
    }
    for row in [
        canceled(13, 2, 300),
        canceled(12, 1, 200),
        canceled(11, 1, 200),
    ] {
        store.submit(PutHtlc(row));
    }
    store.submit(PutHtlc(HtlcRecord {
        state: HtlcState::Accepted,
        ..shard(14, 2)
    }));
    store.submit(PutHtlc(shard(15, 3)));
    store.flush();
    (dir, store)
}

#[test]
fn canceled_htlcs_are_paged_oldest_first() {
    let (_dir, store) = filled();
    let mut ids = Vec::new();
    let mut after = FailedBack::START;
    while let Some((htlc, add_index)) = store.canceled_shards(301, after, 1).unwrap().pop() {
        ids.push((htlc.key.htlc_id, add_index));
        after = htlc;
    }
    assert_eq!(ids, [(11, 1), (12, 1), (13, 1)]);
    let before = |time| store.canceled_shards(time, FailedBack::START, 9).unwrap();
    assert_eq!([before(200).len(), before(300).len()], [0, 2]);
    let newest = |count| store.canceled_shard_before_newest(count).unwrap();
    assert_eq!(
        [newest(0), newest(1), newest(2), newest(3)],
        [Some(300), Some(200), Some(200), None]
    );
    let since = |time| store.has_canceled_htlc_since(1, time).unwrap();
    assert_eq!([since(300), since(301)], [true, false]);
}

#[test]
fn canceled_htlcs_are_deleted_with_their_empty_sets_only() {
    let (_dir, store) = filled();
    let mut rows = all(&store);
    // Held and settled HTLCs must stay, even if they are listed.
    rows.extend([14, 15].map(|id| FailedBack {
        key: htlc_key(id),
        ..rows[0]
    }));
    store.submit(ForgetFailedBack(rows));
    store.flush();
    assert_eq!(all(&store), []);
    let left = store.htlcs_of_invoice(1).unwrap();
    let ids: Vec<_> = left.iter().map(|row| row.htlc_id).collect();
    assert_eq!(ids, [14, 15]);
    let set = |n| store.set(&set_id(n)).unwrap().map(|set| set.state);
    assert_eq!(
        [set(1), set(2), set(3)],
        [None, Some(HtlcState::Canceled), Some(HtlcState::Settled)]
    );
}

#[test]
fn canceled_htlcs_of_a_deleted_invoice_are_kept() {
    let (_dir, store) = filled();
    store.submit(DeleteInvoice { add_index: 1 });
    store.flush();
    let known = |n| store.failed_back(&htlc_key(n)).unwrap();
    assert_eq!(
        [known(11), known(14), known(15)],
        [Some(PaymentHash(key(11))), None, None]
    );
    let page = |before| {
        store
            .failed_back_before(before, FailedBack::START, 9)
            .unwrap()
    };
    assert_eq!([page(201).len(), page(u64::MAX).len()], [2, 3]);
    store.submit(ForgetFailedBack(page(201)));
    store.flush();
    assert_eq!([known(11), known(13)], [None, Some(PaymentHash(key(13)))]);
}
