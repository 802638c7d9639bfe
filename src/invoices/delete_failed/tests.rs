//! Deletion of rows of HTLCs that were failed back.

use super::*;
use crate::invoices::test_registry::*;
use crate::invoices::{InvoiceEvent, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{HtlcSelection, InvoiceRef};
use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::PaymentHash;

async fn static_invoice(fixture: &Fixture) -> InvoiceRecord {
    let new = NewInvoice {
        purpose: Purpose::Amp,
        ..NewInvoice::default()
    };
    fixture.registry.add(new).await.unwrap()
}

/// Shards of different payments that are never completed: each is held and failed back.
fn attack(fixture: &Fixture, addr: PaymentAddr, numbers: std::ops::Range<u64>) {
    let pattern = payment(1, &[60, 40]).remove(0).to(addr);
    for number in numbers {
        let mut shard = pattern.clone();
        let mut name = [0xaa; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        shard.envelope.amp.set_id = SetId::from_bytes(name);
        shard.claimable.payment_hash = PaymentHash(name);
        shard.envelope.htlc_id = 1_000_000 + number;
        assert_eq!(fixture.arrive(&shard), []);
        fixture.registry.expire_sets(u64::MAX);
        assert_eq!(fixture.port.answers(), [Answer::TimeOut(shard.hash())]);
        fixture.port.forget(shard.envelope.key());
    }
    fixture.store.flush();
}

/// The numbers of the invoice's HTLCs and sets on disk.
fn rows(fixture: &Fixture, add_index: u64) -> (usize, i64) {
    let htlcs = fixture.store.htlcs_of_invoice(add_index).unwrap().len();
    let sets = fixture
        .store
        .read(|db| db.query_row("SELECT COUNT(*) FROM amp_sets", [], |row| row.get(0)));
    (htlcs, sets.unwrap())
}

#[tokio::test]
async fn rows_of_incomplete_payments_are_deleted_after_an_hour() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let (addr, start) = (invoice.payment_addr, unix_seconds());
    let paid = payment(2, &[60, 40]).into_iter().map(|s| s.to(addr));
    fixture.arrive_all(&paid.collect::<Vec<_>>());
    fixture.port.answers();
    attack(&fixture, addr, 0..300);
    let held = payment(3, &[60, 40]).remove(0).to(addr);
    fixture.arrive(&held);
    fixture.store.flush();
    assert_eq!(rows(&fixture, 1), (303, 302));

    fixture
        .registry
        .delete_failed_htlcs(start + 3_000)
        .await
        .unwrap();
    assert_eq!(
        rows(&fixture, 1),
        (303, 302),
        "must be kept for the operator"
    );
    fixture
        .registry
        .delete_failed_htlcs(unix_seconds() + 3_700)
        .await
        .unwrap();
    assert_eq!(
        rows(&fixture, 1),
        (3, 2),
        "paid and held HTLCs must be kept"
    );
    let by = InvoiceRef::Addr(addr);
    let found = fixture.registry.lookup(&by, HtlcSelection::All).unwrap();
    assert_eq!((found.htlcs.len(), found.sets.len()), (3, 2));
    assert_eq!(found.record.amt_paid_msat, 100);
}

/// At any rate of arrival: a set with an invalid share fails at once.
#[tokio::test]
async fn keeps_the_newest_thousand_rows() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let start = unix_seconds();
    attack(&fixture, invoice.payment_addr, 0..MAX_KEPT_ROWS);
    fixture
        .registry
        .delete_failed_htlcs(start + 59)
        .await
        .unwrap();
    assert_eq!(rows(&fixture, 1).0 as u64, MAX_KEPT_ROWS);
    attack(
        &fixture,
        invoice.payment_addr,
        MAX_KEPT_ROWS..MAX_KEPT_ROWS + 20,
    );
    fixture
        .registry
        .delete_failed_htlcs(start + 59)
        .await
        .unwrap();
    assert_eq!(
        rows(&fixture, 1).0 as u64,
        MAX_KEPT_ROWS + 20,
        "rows of the last minute must be kept for a restart"
    );
    fixture
        .registry
        .delete_failed_htlcs(unix_seconds() + 120)
        .await
        .unwrap();
    assert!(rows(&fixture, 1).0 as u64 <= MAX_KEPT_ROWS);
}

#[tokio::test]
async fn keeps_rows_of_htlcs_that_ldk_still_has() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let shard = payment(1, &[60, 40]).remove(0).to(invoice.payment_addr);
    fixture.arrive(&shard);
    fixture.registry.expire_sets(u64::MAX);
    fixture.store.flush();
    fixture
        .registry
        .delete_failed_htlcs(u64::MAX)
        .await
        .unwrap();
    assert_eq!(fixture.state(&shard), Some(HtlcState::Canceled));
    fixture.port.forget(shard.envelope.key());
    fixture
        .registry
        .delete_failed_htlcs(u64::MAX)
        .await
        .unwrap();
    assert_eq!(fixture.state(&shard), None);
    assert_eq!(fixture.set(1), None);
}

#[tokio::test]
async fn unpaid_spontaneous_invoices_are_deleted_with_their_last_row() {
    let fixture = Fixture::new();
    let mut events = fixture.subscribe(0, 0);
    let shard = payment(1, &[60, 40]).remove(0);
    fixture.arrive(&shard);
    let by = InvoiceRef::Addr(payment_addr(1));
    fixture.store.flush();
    let mut followed = fixture.registry.subscribe_single(&by).unwrap();
    followed.next().await.unwrap();
    fixture.registry.expire_sets(u64::MAX);
    fixture.port.forget(shard.envelope.key());
    // A held shard keeps it.
    let held = payment(2, &[60, 40]).remove(0).to(payment_addr(1));
    fixture.arrive(&held);
    fixture.store.flush();
    fixture
        .registry
        .delete_failed_htlcs(u64::MAX)
        .await
        .unwrap();
    assert_eq!(fixture.invoices().len(), 1);
    fixture.registry.expire_sets(u64::MAX);
    fixture.port.forget(held.envelope.key());
    fixture.store.flush();
    fixture
        .registry
        .delete_failed_htlcs(u64::MAX)
        .await
        .unwrap();
    assert!(fixture.invoices().is_empty());
    assert_eq!((fixture.state(&held), fixture.set(2)), (None, None));
    let end = followed.next().await.unwrap().unwrap();
    assert_eq!(
        end.record.state,
        crate::model::invoice::InvoiceState::Canceled
    );
    assert!(matches!(
        events.next().await.unwrap().unwrap(),
        InvoiceEvent::Added(_)
    ));
}

#[tokio::test]
async fn paid_spontaneous_invoices_are_kept() {
    let fixture = Fixture::new();
    let shard = payment(2, &[60, 40]).remove(0).to(payment_addr(1));
    fixture.arrive_all(&payment(1, &[100]));
    fixture.arrive(&shard);
    fixture.registry.expire_sets(u64::MAX);
    fixture.port.forget(shard.envelope.key());
    fixture.store.flush();
    fixture
        .registry
        .delete_failed_htlcs(u64::MAX)
        .await
        .unwrap();
    assert_eq!(fixture.invoices().len(), 1);
    assert_eq!(rows(&fixture, 1), (1, 1));
}

/// Prints the measurements of an attack for docs/performance.md: `cargo test --release --lib
/// a_hundred_thousand -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, which takes minutes"]
async fn a_hundred_thousand_incomplete_payments_are_measured() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let addr = invoice.payment_addr;
    let paid = payment(2, &[60, 40]).into_iter().map(|s| s.to(addr));
    fixture.arrive_all(&paid.collect::<Vec<_>>());
    fixture.port.answers();
    let report = |when: &str| {
        fixture.store.flush();
        let begin = std::time::Instant::now();
        let (htlcs, sets) = rows(&fixture, 1);
        let all = begin.elapsed();
        let by = InvoiceRef::Addr(addr);
        let mut times: Vec<_> = (0..101)
            .map(|_| {
                let begin = std::time::Instant::now();
                fixture.registry.lookup(&by, HtlcSelection::All).unwrap();
                begin.elapsed()
            })
            .collect();
        times.sort();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find(|line| line.starts_with("VmRSS"));
        println!(
            "{when}: {htlcs} HTLCs, {sets} sets, look-up p50 {:?}, reading all rows {all:?}, {}",
            times[50],
            memory.unwrap_or_default()
        );
    };
    report("before");
    attack(&fixture, addr, 0..100_000);
    report("after 100,000 shards, nothing forgotten");
    fixture
        .registry
        .delete_failed_htlcs(unix_seconds() + 120)
        .await
        .unwrap();
    report("two minutes later");
    assert!(rows(&fixture, 1).0 as u64 <= MAX_KEPT_ROWS + 2);
    fixture
        .registry
        .delete_failed_htlcs(unix_seconds() + 3_700)
        .await
        .unwrap();
    report("an hour later");
    assert_eq!(rows(&fixture, 1), (2, 1));
}
