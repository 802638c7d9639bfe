//! Expiry of invoices and of held shards.

use ldk_amp::PaymentAddr;

use super::*;
use crate::invoices::test_registry::*;
use crate::invoices::{Expiry, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{InvoiceRecord, InvoiceRef, InvoiceState};
use crate::storage::Change;
use crate::storage::invoices::PutInvoice;

async fn invoice(fixture: &Fixture, purpose: Purpose, expiry: u64) -> InvoiceRecord {
    let new = NewInvoice {
        purpose,
        expiry: Expiry::Seconds(expiry),
        ..NewInvoice::default()
    };
    fixture.registry.add(new).await.unwrap()
}

fn last_second(invoice: &InvoiceRecord) -> u64 {
    invoice.expires_at.unwrap()
}

/// Expires everything at `now`; returns the last valid second of the next invoice.
fn expire(fixture: &Fixture, now: u64) -> Option<u64> {
    loop {
        match fixture.registry.expire_invoices(now).unwrap() {
            Expired::None(next) => return next,
            Expired::Some(_) => fixture.store.flush(),
        }
    }
}

fn state(fixture: &Fixture, invoice: &InvoiceRecord) -> Option<InvoiceState> {
    fixture.store.flush();
    let found = fixture.store.invoice(invoice.add_index).unwrap();
    found.map(|invoice| invoice.state)
}

#[tokio::test]
async fn cancels_expired_invoices_and_waits_for_the_next() {
    let fixture = Fixture::new();
    let late = invoice(&fixture, Purpose::default(), 2_000).await;
    let soon = invoice(&fixture, Purpose::Amp, 1_000).await;
    let held = payment(1, &[60, 40])[0].clone().to(soon.payment_addr);
    fixture.arrive(&held);
    let end = last_second(&soon);
    assert_eq!(expire(&fixture, end), Some(end));
    assert_eq!(state(&fixture, &soon), Some(InvoiceState::Open));
    assert_eq!(expire(&fixture, end + 1), Some(last_second(&late)));
    assert_eq!(state(&fixture, &soon), Some(InvoiceState::Canceled));
    assert_eq!(fixture.port.answers(), fails([&held]));
    assert_eq!(fixture.state(&held), Some(HtlcState::Canceled));
    assert_eq!(expire(&fixture, u64::MAX), None);
    assert_eq!(state(&fixture, &late), Some(InvoiceState::Canceled));
}

/// Settled, canceled and disabled invoices, and those without expiry.
#[tokio::test]
async fn only_open_invoices_expire() {
    let fixture = Fixture::new();
    let canceled = invoice(&fixture, Purpose::default(), 10).await;
    let by = InvoiceRef::Hash(canceled.payment_hash);
    fixture.registry.cancel(&by).await.unwrap();
    let off = invoice(&fixture, Purpose::Amp, 10).await;
    let by = InvoiceRef::Hash(off.payment_hash);
    fixture.registry.set_enabled(&by, false).await.unwrap();
    let paid = payment(1, &[100]);
    fixture.arrive_all(&paid);
    assert_eq!(expire(&fixture, u64::MAX), None);
    assert_eq!(state(&fixture, &off), Some(InvoiceState::Disabled));
    // Once enabled again, it expires.
    fixture.registry.set_enabled(&by, true).await.unwrap();
    assert_eq!(expire(&fixture, u64::MAX), None);
    assert_eq!(state(&fixture, &off), Some(InvoiceState::Canceled));
    assert_eq!(
        fixture.invoices()[2].state,
        InvoiceState::Open,
        "spontaneous"
    );
}

#[tokio::test]
async fn paid_static_invoices_expire() {
    let fixture = Fixture::new();
    let invoice = invoice(&fixture, Purpose::Amp, 10).await;
    let paid = payment(1, &[100])[0].clone().to(invoice.payment_addr);
    fixture.arrive(&paid);
    assert_eq!(expire(&fixture, last_second(&invoice) + 1), None);
    assert_eq!(state(&fixture, &invoice), Some(InvoiceState::Canceled));
    assert_eq!(fixture.invoices()[0].amt_paid_msat, 100);
}

/// A copy of this row with its own identifiers.
fn copy(invoice: &InvoiceRecord, add_index: u64, expires_at: u64) -> InvoiceRecord {
    let name = hash_of(&[add_index as u8; 32]);
    InvoiceRecord {
        add_index,
        payment_hash: name,
        payment_addr: PaymentAddr::from_bytes(name.0),
        expires_at: Some(expires_at),
        ..invoice.clone()
    }
}

#[tokio::test]
async fn cancels_in_batches() {
    let fixture = Fixture::new();
    let first = invoice(&fixture, Purpose::default(), 1_000).await;
    let end = last_second(&first);
    let rows = (2..=BATCH as u64 + 1)
        .map(|add_index| Box::new(PutInvoice(copy(&first, add_index, end))) as Box<dyn Change>);
    fixture.store.submit(rows.collect::<Vec<_>>());
    fixture.store.flush();
    let open = |fixture: &Fixture| {
        let all = fixture.invoices();
        all.iter().filter(|i| i.state == InvoiceState::Open).count()
    };
    let slice = fixture.registry.expire_invoices(end + 1).unwrap();
    assert!(matches!(slice, Expired::Some(_)));
    assert_eq!(open(&fixture), 1);
    assert_eq!(expire(&fixture, end + 1), None);
    assert_eq!(open(&fixture), 0);
}

#[tokio::test]
async fn unpaid_spontaneous_invoices_are_deleted_after_an_hour() {
    let fixture = Fixture::new();
    let early = payment(1, &[60, 40]);
    fixture.arrive(&early[0]);
    let [invoice] = &fixture.invoices()[..] else {
        panic!("one invoice")
    };
    let end = last_second(invoice);
    assert_eq!(end, invoice.created_at + 3_600);
    fixture.registry.expire_sets(u64::MAX);
    let held = payment(2, &[60, 40])[0].clone().to(payment_addr(1));
    fixture.arrive(&held);
    fixture.port.answers();

    assert_eq!(expire(&fixture, end), Some(end));
    assert_eq!(expire(&fixture, end + 1), None);
    assert_eq!(
        fixture.port.answers(),
        fails([&held]),
        "held HTLCs must be failed"
    );
    assert!(fixture.invoices().is_empty());
    assert_eq!((fixture.set(1), fixture.set(2)), (None, None));
    assert_eq!(
        (fixture.state(&early[0]), fixture.state(&held)),
        (None, None)
    );
    // After a crash now, LDK may have them again.
    let fixture = fixture.restart();
    let mut failed = fixture.port.answers();
    failed.sort_by_key(|answer| *answer != Answer::Fail(early[0].hash()));
    assert_eq!(failed, fails([&early[0], &held]));
}

#[tokio::test]
async fn address_of_a_deleted_spontaneous_invoice_can_be_paid() {
    let fixture = Fixture::new();
    fixture.arrive(&payment(1, &[60, 40])[0]);
    fixture.registry.expire_sets(u64::MAX);
    fixture.store.flush();
    fixture.port.answers();
    // Immediately, while the rows may still be on disk; with the same set id and hash.
    assert!(matches!(
        fixture.registry.expire_invoices(u64::MAX).unwrap(),
        Expired::Some(_)
    ));
    let mut again = payment(1, &[60, 40]);
    for shard in &mut again {
        shard.envelope.htlc_id += 100;
    }
    assert_eq!(fixture.arrive_all(&again), claims(&again));
    let invoices = fixture.invoices();
    assert_eq!(invoices.len(), 1);
    assert_eq!((invoices[0].add_index, invoices[0].amt_paid_msat), (2, 100));
    assert_eq!(fixture.set(1).unwrap().add_index, 2);
}

#[tokio::test]
async fn paid_spontaneous_invoices_never_expire() {
    let fixture = Fixture::new();
    let (paid, held) = (payment(1, &[60, 40]), payment(2, &[60, 40]));
    let held: Vec<_> = held
        .into_iter()
        .map(|shard| shard.to(payment_addr(1)))
        .collect();
    fixture.arrive(&paid[0]);
    fixture.arrive(&held[0]);
    fixture.arrive(&paid[1]);
    let expires_at = |fixture: &Fixture| fixture.invoices()[0].expires_at;
    assert_eq!(expires_at(&fixture), None);
    assert_eq!(expire(&fixture, u64::MAX), None);
    fixture.port.answers();
    assert_eq!(fixture.arrive(&held[1]), claims(&held));
    assert_eq!((expires_at(&fixture), fixture.invoices().len()), (None, 1));
}

#[tokio::test]
async fn expiry_task_wakes_up_for_earlier_invoices() {
    let fixture = Fixture::new();
    let late = invoice(&fixture, Purpose::default(), 86_400).await;
    let stop = CancellationToken::new();
    let (registry, ended) = (fixture.registry.clone(), stop.clone());
    let timers = tokio::spawn(async move { registry.run_timers(ended).await });
    while fixture.registry.state().expiry_at == u64::MAX {
        tokio::task::yield_now().await;
    }
    let soon = copy(&late, 2, 1);
    let ticket = fixture.store.submit(PutInvoice(soon.clone()));
    fixture
        .registry
        .state()
        .remember(&fixture.store, soon.clone(), ticket);
    while state(&fixture, &soon) != Some(InvoiceState::Canceled) {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    timers.await.unwrap();
}
