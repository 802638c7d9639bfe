//! Canceling, disabling and deleting invoices, with HTLCs held for them.

use lightning_types::payment::PaymentPreimage;

use crate::invoices::test_registry::*;
use crate::invoices::{InvoiceError, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{InvoiceRecord, InvoiceRef, InvoiceState};

async fn static_invoice(fixture: &Fixture) -> InvoiceRecord {
    let new = NewInvoice {
        purpose: Purpose::Amp,
        ..NewInvoice::default()
    };
    fixture.registry.add(new).await.unwrap()
}

fn by_hash(invoice: &InvoiceRecord) -> InvoiceRef {
    InvoiceRef::Hash(invoice.payment_hash)
}

fn to(invoice: &InvoiceRecord, shards: Vec<Sent>) -> Vec<Sent> {
    let to = |shard: Sent| shard.to(invoice.payment_addr);
    shards.into_iter().map(to).collect()
}

fn state(fixture: &Fixture, invoice: &InvoiceRecord) -> InvoiceState {
    fixture.store.flush();
    let found = fixture.store.invoice(invoice.add_index).unwrap();
    found.unwrap().state
}

#[tokio::test]
async fn cancels_a_paid_static_invoice_and_its_held_htlcs() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let other = static_invoice(&fixture).await;
    let paid = to(&invoice, payment(1, &[100]));
    fixture.arrive_all(&paid);
    let (a, b) = (
        to(&invoice, payment(2, &[60, 40])),
        to(&invoice, payment(3, &[60, 40])),
    );
    let elsewhere = to(&other, payment(4, &[60, 40]));
    for held in [&a[0], &b[0], &elsewhere[0]] {
        assert_eq!(fixture.arrive(held), []);
    }
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let mut failed = fixture.port.answers();
    failed.sort_by_key(|answer| *answer != Answer::Fail(a[0].hash()));
    assert_eq!(failed, fails([&a[0], &b[0]]));
    assert_eq!(state(&fixture, &invoice), InvoiceState::Canceled);
    for (id, held) in [(2, &a[0]), (3, &b[0])] {
        assert_eq!(fixture.state(held), Some(HtlcState::Canceled));
        let set = fixture.set(id).unwrap();
        assert_eq!((set.state, set.amt_paid_msat), (HtlcState::Canceled, 0));
    }
    assert_eq!(fixture.set(1).unwrap().state, HtlcState::Settled);
    // Neither the rest of a set nor a new set is accepted; the other invoice is unaffected.
    for late in [&a[1], &to(&invoice, payment(5, &[100]))[0]] {
        assert_eq!(fixture.arrive(late), fails([late]));
    }
    assert_eq!(fixture.arrive(&elsewhere[1]), claims(&elsewhere));
    let fixture = fixture.restart();
    fixture.port.answers();
    let late = &to(&invoice, payment(6, &[100]))[0];
    assert_eq!(fixture.arrive(late), fails([late]));
}

#[tokio::test]
async fn cancels_by_any_reference() {
    let fixture = Fixture::new();
    let [a, b, c] = [
        static_invoice(&fixture).await,
        static_invoice(&fixture).await,
        static_invoice(&fixture).await,
    ];
    fixture.arrive(&to(&c, payment(3, &[60, 40]))[0]);
    for by in [
        by_hash(&a),
        InvoiceRef::Addr(b.payment_addr),
        InvoiceRef::SetId(set_id(3)),
    ] {
        fixture.registry.cancel(&by).await.unwrap();
    }
    for invoice in [&a, &b, &c] {
        assert_eq!(state(&fixture, invoice), InvoiceState::Canceled);
    }
    let unknown = fixture.registry.cancel(&InvoiceRef::SetId(set_id(9))).await;
    assert!(matches!(unknown, Err(InvoiceError::NotFound)));
}

#[tokio::test]
async fn bolt11_invoices_can_be_canceled_until_settled() {
    let fixture = Fixture::new();
    let invoice = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let hash = invoice.payment_hash;
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    assert_eq!(
        fixture.port.answers(),
        [Answer::Fail(hash)],
        "parts collected by LDK must be failed"
    );
    assert_eq!(state(&fixture, &invoice), InvoiceState::Canceled);
    // Canceling again has no effect, as in lnd.
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    assert_eq!(fixture.port.answers(), []);

    let mut settled = fixture.registry.add(NewInvoice::default()).await.unwrap();
    settled.state = InvoiceState::Settled;
    fixture
        .store
        .submit(crate::storage::invoices::PutInvoice(settled.clone()));
    let fixture = fixture.restart();
    let error = fixture
        .registry
        .cancel(&by_hash(&settled))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "invoice already settled");
}

#[tokio::test]
async fn single_invoice_subscriber_sees_the_cancellation() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let mut followed = fixture
        .registry
        .subscribe_single(&by_hash(&invoice))
        .unwrap();
    followed.next().await.unwrap();
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let view = followed.next().await.unwrap().unwrap();
    assert_eq!(view.record.add_index, invoice.add_index);
    assert_eq!(view.record.state, InvoiceState::Canceled);
    assert!(
        followed.next().await.unwrap().is_none(),
        "the subscription must end"
    );
}

#[tokio::test]
async fn static_invoices_can_be_disabled_and_enabled() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let held = to(&invoice, payment(1, &[60, 40]));
    fixture.arrive(&held[0]);
    let registry = fixture.registry.clone();
    let switch = async |on| registry.set_enabled(&by_hash(&invoice), on).await;
    switch(false).await.unwrap();
    assert_eq!(fixture.port.answers(), fails(&held[..1]));
    assert_eq!(state(&fixture, &invoice), InvoiceState::Disabled);
    let refused = &to(&invoice, payment(2, &[100]))[0];
    assert_eq!(fixture.arrive(refused), fails([refused]));
    switch(false).await.unwrap();
    switch(true).await.unwrap();
    let shards = to(&invoice, payment(3, &[60, 40]));
    assert_eq!(fixture.arrive_all(&shards), claims(&shards));
    switch(true).await.unwrap();
    assert_eq!(state(&fixture, &invoice), InvoiceState::Open);
    switch(false).await.unwrap();
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let error = switch(true).await.unwrap_err();
    assert_eq!(error.to_string(), "invoice already canceled");
}

#[tokio::test]
async fn only_static_invoices_can_be_disabled() {
    let fixture = Fixture::new();
    let ordinary = fixture.registry.add(NewInvoice::default()).await.unwrap();
    fixture.arrive_all(&payment(1, &[100]));
    for by in [by_hash(&ordinary), InvoiceRef::Addr(payment_addr(1))] {
        let refused = fixture.registry.set_enabled(&by, false).await;
        assert!(matches!(refused, Err(InvoiceError::NotStatic)));
    }
}

#[tokio::test]
async fn deletes_unpaid_canceled_invoices_with_their_rows() {
    let fixture = Fixture::new();
    let new = NewInvoice {
        purpose: Purpose::Once {
            preimage: Some(PaymentPreimage([5; 32])),
        },
        ..NewInvoice::default()
    };
    let ordinary = fixture.registry.add(new.clone()).await.unwrap();
    let invoice = static_invoice(&fixture).await;
    let held = to(&invoice, payment(1, &[60, 40]));
    fixture.arrive(&held[0]);
    for invoice in [&ordinary, &invoice] {
        let error = fixture
            .registry
            .delete_canceled(&invoice.payment_hash)
            .await;
        assert_eq!(error.unwrap_err().to_string(), "invoice not canceled");
        fixture.registry.cancel(&by_hash(invoice)).await.unwrap();
        let deleted = fixture
            .registry
            .delete_canceled(&invoice.payment_hash)
            .await;
        deleted.unwrap();
        let again = fixture
            .registry
            .delete_canceled(&invoice.payment_hash)
            .await;
        assert!(matches!(again, Err(InvoiceError::NotFound)));
    }
    assert!(fixture.invoices().is_empty());
    assert_eq!((fixture.set(1), fixture.state(&held[0])), (None, None));
    fixture
        .registry
        .add(new)
        .await
        .expect("its hash can be used again");
}

#[tokio::test]
async fn paid_invoices_cannot_be_deleted() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    fixture.arrive_all(&to(&invoice, payment(1, &[100])));
    let mut fixture = fixture;
    for _ in 0..2 {
        fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
        let refused = fixture
            .registry
            .delete_canceled(&invoice.payment_hash)
            .await;
        assert!(matches!(refused, Err(InvoiceError::WasPaid)));
        fixture = fixture.restart();
    }
    assert_eq!(fixture.invoices()[0].amt_paid_msat, 100);
}

#[tokio::test]
async fn add_indices_are_not_reused() {
    let fixture = Fixture::new();
    static_invoice(&fixture).await;
    let invoice = static_invoice(&fixture).await;
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let deleted = fixture
        .registry
        .delete_canceled(&invoice.payment_hash)
        .await;
    deleted.unwrap();
    let fixture = fixture.restart();
    fixture.arrive_all(&payment(1, &[100]));
    let indices: Vec<_> = fixture.invoices().iter().map(|i| i.add_index).collect();
    assert_eq!(indices, [1, 3]);
}

/// Crash after the deletion was written, and before LDK's own state was.
#[tokio::test]
async fn htlcs_of_a_deleted_invoice_are_failed_after_a_crash() {
    let fixture = Fixture::new();
    let invoice = static_invoice(&fixture).await;
    let held = to(&invoice, payment(1, &[60, 40])).remove(0);
    fixture.arrive(&held);
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let deleted = fixture
        .registry
        .delete_canceled(&invoice.payment_hash)
        .await;
    deleted.unwrap();
    assert_eq!(fixture.port.answers(), fails([&held]));
    // LDK still has the HTLC.
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), fails([&held]));
    // LDK may also report it again.
    assert_eq!(fixture.arrive(&held), fails([&held]));
    fixture.port.forget(held.envelope.key());
    fixture
        .registry
        .delete_failed_htlcs(u64::MAX)
        .await
        .unwrap();
    let known = fixture.store.failed_back(&held.envelope.key());
    assert_eq!(known.unwrap(), None);
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), []);
}

/// LDK reports the payment to a hold invoice after that was deleted and created again with the same
/// hash.
#[tokio::test]
async fn failed_payments_do_not_pay_a_new_invoice_with_the_same_hash() {
    let fixture = Fixture::new();
    let hash = hash_of(&[5; 32]);
    let new = NewInvoice {
        purpose: Purpose::Hold { hash },
        ..NewInvoice::default()
    };
    let invoice = fixture.registry.add(new.clone()).await.unwrap();
    assert_eq!(fixture.pay(hash, &[1], 100), []);
    fixture.registry.cancel(&by_hash(&invoice)).await.unwrap();
    fixture.registry.delete_canceled(&hash).await.unwrap();
    fixture.registry.add(new).await.unwrap();
    let fixture = fixture.restart();
    fixture.port.answers();
    assert_eq!(fixture.tell(hash, 100), [Answer::Fail(hash)]);
    assert_eq!(fixture.invoices()[0].state, InvoiceState::Open);
    fixture.port.forget(crate::invoices::test_payments::key(1));
    assert_eq!(
        fixture.pay(hash, &[2], 100),
        [],
        "another payment must be held"
    );
}
