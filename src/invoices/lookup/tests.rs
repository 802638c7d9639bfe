//! Looking up and listing invoices.

use lightning_types::payment::PaymentHash;

use crate::invoices::test_registry::{Fixture, payment, payment_addr, set_id};
use crate::invoices::{InvoiceError, InvoiceView, NewInvoice};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{HtlcSelection, InvoiceRef};

fn find(fixture: &Fixture, by: InvoiceRef, selection: HtlcSelection) -> InvoiceView {
    fixture.registry.lookup(&by, selection).unwrap()
}

#[tokio::test]
async fn announced_invoices_can_be_looked_up() {
    let fixture = Fixture::new();
    for _ in 0..20 {
        let record = fixture.registry.add(NewInvoice::default()).await.unwrap();
        for by in [
            InvoiceRef::Hash(record.payment_hash),
            InvoiceRef::Addr(record.payment_addr),
        ] {
            assert_eq!(find(&fixture, by, HtlcSelection::All).record, record);
        }
    }
}

#[tokio::test]
async fn announced_sets_can_be_looked_up() {
    let fixture = Fixture::new();
    let mut events = fixture.subscribe(0, 0);
    for id in 1..=20 {
        fixture.arrive_all(&payment(id, &[60, 40]));
        let set = loop {
            let event = events.next().await.unwrap().unwrap();
            if let Some(set) = event.into_view().sets.pop() {
                break set;
            }
        };
        let by_set = InvoiceRef::SetId(set_id(id));
        let found = find(&fixture, by_set, HtlcSelection::SetOnly);
        assert_eq!(found.sets, [set]);
        assert_eq!(found.htlcs.len(), 2);
        assert_eq!(found.record.amt_paid_msat, 100);
    }
}

#[tokio::test]
async fn lookup_shows_held_sets() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    fixture.store.flush();
    for by in [
        InvoiceRef::SetId(set_id(1)),
        InvoiceRef::Addr(payment_addr(1)),
        InvoiceRef::Hash(shards[0].hash()),
    ] {
        let found = find(&fixture, by, HtlcSelection::All);
        assert_eq!(found.sets[0].state, HtlcState::Accepted);
        assert_eq!(found.htlcs[0].amount_msat, 60);
        assert_eq!(
            found.record.amt_paid_msat, 0,
            "held HTLCs must not count as paid"
        );
        assert!(!found.is_paid());
    }
}

#[tokio::test]
async fn lookup_by_set_id_shows_only_that_set() {
    let fixture = Fixture::new();
    for id in 1..=3 {
        let to_the_first = payment(id, &[70, 30])
            .into_iter()
            .map(|shard| shard.to(payment_addr(1)));
        fixture.arrive_all(&to_the_first.collect::<Vec<_>>());
    }
    fixture.store.flush();
    let by_set = InvoiceRef::SetId(set_id(2));
    let only = find(&fixture, by_set, HtlcSelection::SetOnly);
    let ids = |view: &InvoiceView| {
        view.sets
            .iter()
            .map(|set| set.set_id.as_bytes()[0])
            .collect::<Vec<_>>()
    };
    assert_eq!((ids(&only), only.htlcs.len()), (vec![2], 2));
    assert_eq!(
        only.record.amt_paid_msat, 300,
        "must be the total of all sets"
    );
    let blank = find(
        &fixture,
        InvoiceRef::Addr(payment_addr(1)),
        HtlcSelection::None,
    );
    assert_eq!((ids(&blank), blank.htlcs.len()), (vec![1, 2, 3], 0));
    assert!(blank.is_paid());
    let all = find(&fixture, by_set, HtlcSelection::All);
    assert_eq!((ids(&all), all.htlcs.len()), (vec![1, 2, 3], 6));
}

#[tokio::test]
async fn unknown_invoices_are_not_found() {
    let fixture = Fixture::new();
    for by in [
        InvoiceRef::Hash(PaymentHash([9; 32])),
        InvoiceRef::Addr(payment_addr(9)),
        InvoiceRef::SetId(set_id(9)),
    ] {
        let error = fixture
            .registry
            .lookup(&by, HtlcSelection::All)
            .unwrap_err();
        assert!(matches!(error, InvoiceError::NotFound));
    }
}
