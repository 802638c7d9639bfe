use crate::invoices::test_room::*;
use crate::invoices::{InvoiceError, InvoiceRef, NewInvoice, Purpose};
use crate::storage::invoices::{HtlcState, InvoiceRecord, InvoiceState};

async fn static_invoice(room: &Room) -> InvoiceRecord {
    let new = NewInvoice {
        purpose: Purpose::Amp,
        ..NewInvoice::default()
    };
    room.registry.add(new).await.unwrap()
}

fn by_hash(invoice: &InvoiceRecord) -> InvoiceRef {
    InvoiceRef::Hash(invoice.payment_hash)
}

fn to(invoice: &InvoiceRecord, shards: Vec<Sent>) -> Vec<Sent> {
    let to = |shard: Sent| shard.to(invoice.payment_addr);
    shards.into_iter().map(to).collect()
}

fn state(room: &Room, invoice: &InvoiceRecord) -> InvoiceState {
    room.store.flush();
    let found = room.store.invoice(invoice.add_index).unwrap();
    found.unwrap().state
}

#[tokio::test]
async fn cancels_a_paid_static_invoice_and_its_held_htlcs() {
    let room = Room::new();
    let invoice = static_invoice(&room).await;
    let other = static_invoice(&room).await;
    let paid = to(&invoice, payment(1, &[100]));
    room.arrive_all(&paid);
    let (a, b) = (
        to(&invoice, payment(2, &[60, 40])),
        to(&invoice, payment(3, &[60, 40])),
    );
    let elsewhere = to(&other, payment(4, &[60, 40]));
    for held in [&a[0], &b[0], &elsewhere[0]] {
        assert_eq!(room.arrive(held), []);
    }
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let mut failed = room.port.answers();
    failed.sort_by_key(|answer| *answer != Answer::Fail(a[0].hash()));
    assert_eq!(failed, fails([&a[0], &b[0]]));
    assert_eq!(state(&room, &invoice), InvoiceState::Canceled);
    for (id, held) in [(2, &a[0]), (3, &b[0])] {
        assert_eq!(room.state(held), Some(HtlcState::Canceled));
        let set = room.set(id).unwrap();
        assert_eq!((set.state, set.amt_paid_msat), (HtlcState::Canceled, 0));
    }
    assert_eq!(room.set(1).unwrap().state, HtlcState::Settled);
    // Neither the rest of a set nor a new set is accepted; the other invoice is unaffected.
    for late in [&a[1], &to(&invoice, payment(5, &[100]))[0]] {
        assert_eq!(room.arrive(late), fails([late]));
    }
    assert_eq!(room.arrive(&elsewhere[1]), claims(&elsewhere));
    let room = room.restart();
    room.port.answers();
    let late = &to(&invoice, payment(6, &[100]))[0];
    assert_eq!(room.arrive(late), fails([late]));
}

#[tokio::test]
async fn cancels_by_any_reference() {
    let room = Room::new();
    let [a, b, c] = [
        static_invoice(&room).await,
        static_invoice(&room).await,
        static_invoice(&room).await,
    ];
    room.arrive(&to(&c, payment(3, &[60, 40]))[0]);
    for by in [
        by_hash(&a),
        InvoiceRef::Addr(b.payment_addr),
        InvoiceRef::SetId([3; 32]),
    ] {
        room.registry.cancel(&by).await.unwrap();
    }
    for invoice in [&a, &b, &c] {
        assert_eq!(state(&room, invoice), InvoiceState::Canceled);
    }
    let unknown = room.registry.cancel(&InvoiceRef::SetId([9; 32])).await;
    assert!(matches!(unknown, Err(InvoiceError::NotFound)));
}

#[tokio::test]
async fn bolt11_invoices_can_be_canceled_until_settled() {
    let room = Room::new();
    let invoice = room.registry.add(NewInvoice::default()).await.unwrap();
    let hash = lightning_types::payment::PaymentHash(invoice.payment_hash);
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    assert_eq!(
        room.port.answers(),
        [Answer::Fail(hash)],
        "parts collected by LDK must be failed"
    );
    assert_eq!(state(&room, &invoice), InvoiceState::Canceled);
    // Canceling again has no effect, as in lnd.
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    assert_eq!(room.port.answers(), []);

    let mut settled = room.registry.add(NewInvoice::default()).await.unwrap();
    settled.state = InvoiceState::Settled;
    room.store
        .submit(crate::storage::invoices::PutInvoice(settled.clone()));
    let room = room.restart();
    let error = room.registry.cancel(&by_hash(&settled)).await.unwrap_err();
    assert_eq!(error.to_string(), "invoice already settled");
}

#[tokio::test]
async fn single_invoice_subscriber_sees_the_cancellation() {
    let room = Room::new();
    let invoice = static_invoice(&room).await;
    let mut followed = room.registry.subscribe_one(&by_hash(&invoice)).unwrap();
    followed.next().await.unwrap();
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
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
    let room = Room::new();
    let invoice = static_invoice(&room).await;
    let held = to(&invoice, payment(1, &[60, 40]));
    room.arrive(&held[0]);
    let registry = room.registry.clone();
    let switch = async |on| registry.set_enabled(&by_hash(&invoice), on).await;
    switch(false).await.unwrap();
    assert_eq!(room.port.answers(), fails(&held[..1]));
    assert_eq!(state(&room, &invoice), InvoiceState::Disabled);
    let refused = &to(&invoice, payment(2, &[100]))[0];
    assert_eq!(room.arrive(refused), fails([refused]));
    switch(false).await.unwrap();
    switch(true).await.unwrap();
    let shards = to(&invoice, payment(3, &[60, 40]));
    assert_eq!(room.arrive_all(&shards), claims(&shards));
    switch(true).await.unwrap();
    assert_eq!(state(&room, &invoice), InvoiceState::Open);
    switch(false).await.unwrap();
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let error = switch(true).await.unwrap_err();
    assert_eq!(error.to_string(), "invoice already canceled");
}

#[tokio::test]
async fn only_static_invoices_can_be_disabled() {
    let room = Room::new();
    let ordinary = room.registry.add(NewInvoice::default()).await.unwrap();
    room.arrive_all(&payment(1, &[100]));
    for by in [by_hash(&ordinary), InvoiceRef::Addr([1; 32])] {
        let refused = room.registry.set_enabled(&by, false).await;
        assert!(matches!(refused, Err(InvoiceError::NotStatic)));
    }
}

#[tokio::test]
async fn deletes_unpaid_canceled_invoices_with_their_rows() {
    let room = Room::new();
    let new = NewInvoice {
        purpose: Purpose::Once {
            preimage: Some([5; 32]),
        },
        ..NewInvoice::default()
    };
    let ordinary = room.registry.add(new.clone()).await.unwrap();
    let invoice = static_invoice(&room).await;
    let held = to(&invoice, payment(1, &[60, 40]));
    room.arrive(&held[0]);
    for invoice in [&ordinary, &invoice] {
        let error = room.registry.delete_canceled(&invoice.payment_hash).await;
        assert_eq!(error.unwrap_err().to_string(), "invoice not canceled");
        room.registry.cancel(&by_hash(invoice)).await.unwrap();
        let deleted = room.registry.delete_canceled(&invoice.payment_hash).await;
        deleted.unwrap();
        let again = room.registry.delete_canceled(&invoice.payment_hash).await;
        assert!(matches!(again, Err(InvoiceError::NotFound)));
    }
    assert!(room.invoices().is_empty());
    assert_eq!((room.set(1), room.state(&held[0])), (None, None));
    room.registry
        .add(new)
        .await
        .expect("its hash can be used again");
}

#[tokio::test]
async fn paid_invoices_cannot_be_deleted() {
    let room = Room::new();
    let invoice = static_invoice(&room).await;
    room.arrive_all(&to(&invoice, payment(1, &[100])));
    let mut room = room;
    for _ in 0..2 {
        room.registry.cancel(&by_hash(&invoice)).await.unwrap();
        let refused = room.registry.delete_canceled(&invoice.payment_hash).await;
        assert!(matches!(refused, Err(InvoiceError::WasPaid)));
        room = room.restart();
    }
    assert_eq!(room.invoices()[0].amt_paid_msat, 100);
}

#[tokio::test]
async fn add_indices_are_not_reused() {
    let room = Room::new();
    static_invoice(&room).await;
    let invoice = static_invoice(&room).await;
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let deleted = room.registry.delete_canceled(&invoice.payment_hash).await;
    deleted.unwrap();
    let room = room.restart();
    room.arrive_all(&payment(1, &[100]));
    let indices: Vec<_> = room.invoices().iter().map(|i| i.add_index).collect();
    assert_eq!(indices, [1, 3]);
}

/// Crash after the deletion was written, and before LDK's own state was.
#[tokio::test]
async fn htlcs_of_a_deleted_invoice_are_failed_after_a_crash() {
    let room = Room::new();
    let invoice = static_invoice(&room).await;
    let held = to(&invoice, payment(1, &[60, 40])).remove(0);
    room.arrive(&held);
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    let deleted = room.registry.delete_canceled(&invoice.payment_hash).await;
    deleted.unwrap();
    assert_eq!(room.port.answers(), fails([&held]));
    // LDK still has the HTLC.
    let room = room.restart();
    assert_eq!(room.port.answers(), fails([&held]));
    // LDK may also report it again.
    assert_eq!(room.arrive(&held), fails([&held]));
    room.port.forget(held.envelope.key());
    room.registry.forget_given_back(u64::MAX).await.unwrap();
    let known = room
        .store
        .given_back(&held.envelope.channel_id.0, held.envelope.htlc_id);
    assert_eq!(known.unwrap(), None);
    let room = room.restart();
    assert_eq!(room.port.answers(), []);
}

/// LDK reports the payment to a hold invoice after that was deleted and created again with the same
/// hash.
#[tokio::test]
async fn failed_payments_do_not_pay_a_new_invoice_with_the_same_hash() {
    let room = Room::new();
    let hash = hash_of(&[5; 32]);
    let new = NewInvoice {
        purpose: Purpose::Hold { hash: hash.0 },
        ..NewInvoice::default()
    };
    let invoice = room.registry.add(new.clone()).await.unwrap();
    assert_eq!(room.pay(hash.0, &[1], 100), []);
    room.registry.cancel(&by_hash(&invoice)).await.unwrap();
    room.registry.delete_canceled(&hash.0).await.unwrap();
    room.registry.add(new).await.unwrap();
    let room = room.restart();
    room.port.answers();
    assert_eq!(room.tell(hash.0, 100), [Answer::Fail(hash)]);
    assert_eq!(room.invoices()[0].state, InvoiceState::Open);
    room.port.forget(crate::invoices::test_payments::key(1));
    assert_eq!(
        room.pay(hash.0, &[2], 100),
        [],
        "another payment must be held"
    );
}
