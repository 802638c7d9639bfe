//! Subscriptions to all invoices.

use std::time::Duration;

use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::*;
use crate::invoices::announcer::EVENT_QUEUE_LEN;
use crate::invoices::test_registry::*;
use crate::invoices::{InvoiceView, NewInvoice, Purpose};
use crate::model::invoice::{InvoiceRef, InvoiceState};
use crate::storage::invoices::PutSet;

#[tokio::test]
async fn events_arrive_once_in_order_after_their_commit() {
    let fixture = Fixture::new();
    let mut events = fixture.subscribe(0, 0);
    let shards = payment(1, &[60, 40]);
    fixture.arrive_all(&shards);
    let again: Vec<_> = payment(2, &[70, 30])
        .into_iter()
        .map(|shard| shard.to(payment_addr(1)))
        .collect();
    fixture.arrive_all(&again);
    fixture.registry.add(NewInvoice::default()).await.unwrap();
    assert_eq!(next(&mut events).await, ("added", 1));
    let Some(InvoiceEvent::Settled(view)) = events.next().await.unwrap() else {
        panic!("settled")
    };
    assert_eq!(view.sets, [fixture.store.set(&set_id(1)).unwrap().unwrap()]);
    assert_eq!(view.htlcs.len(), 2, "must contain only this set");
    let Some(InvoiceEvent::Settled(view)) = events.next().await.unwrap() else {
        panic!("settled")
    };
    assert_eq!(
        view.record.amt_paid_msat, 200,
        "must be the total of all sets"
    );
    assert_eq!(view.sets.len(), 1);
    assert_eq!(next(&mut events).await, ("added", 2));
}

#[tokio::test]
async fn held_and_rejected_sets_emit_no_event() {
    let fixture = Fixture::new();
    let mut events = fixture.subscribe(0, 0);
    let bad = payment(1, &[60, 40]);
    fixture.arrive(&bad[0]);
    fixture.arrive(&bad[1].clone().with_wrong_share());
    fixture.arrive_all(&payment(2, &[100]));
    assert_eq!(next(&mut events).await, ("added", 1));
    assert_eq!(next(&mut events).await, ("added", 2));
    assert_eq!(next(&mut events).await, ("settled", 1));
}

#[tokio::test]
async fn missed_events_come_first_without_duplicates() {
    let fixture = Fixture::new();
    for id in 1..=4 {
        fixture.arrive_all(&payment(id, &[100]));
    }
    let mut fixture = fixture;
    for _ in 0..2 {
        fixture.store.flush();
        let mut events = fixture.subscribe(1, 2);
        fixture.arrive_all(&payment(9, &[100]));
        for index in 2..=4 {
            assert_eq!(next(&mut events).await, ("added", index));
        }
        for index in 3..=4 {
            assert_eq!(next(&mut events).await, ("settled", index));
        }
        if fixture.invoices().len() == 5 {
            break;
        }
        fixture = fixture.restart();
    }
}

#[tokio::test]
async fn future_indices_skip_no_later_event() {
    let fixture = Fixture::new();
    fixture.arrive_all(&payment(1, &[100]));
    fixture.store.flush();
    for index in [1, i64::MAX as u64, u64::MAX] {
        let mut events = fixture.subscribe(index, index);
        let missed = events.missed.next().await.unwrap();
        assert!(missed.is_none(), "{index}");
    }
}

/// More events than a page and than the queue of a slow subscriber.
#[tokio::test]
async fn slow_subscribers_miss_no_event() {
    let fixture = Fixture::new();
    let first = payment(1, &[100]);
    fixture.arrive_all(&first);
    fixture.store.flush();
    let (mut from_now, mut resumed) = (fixture.subscribe(0, 0), fixture.subscribe(1, 1));
    let add = |index| {
        let mut set = fixture.store.set(&set_id(1)).unwrap().unwrap();
        let mut id = set.set_id.to_bytes();
        id[..8].copy_from_slice(&u64::to_be_bytes(index));
        set.set_id = SetId::from_bytes(id);
        set.settle_index = Some(index);
        let ticket = fixture.store.submit(PutSet(set.clone()));
        let record = fixture.store.invoice(1).unwrap().unwrap();
        let view = InvoiceView {
            record,
            htlcs: Vec::new(),
            sets: vec![set],
        };
        fixture
            .registry
            .announcer
            .announce(ticket, InvoiceEvent::Settled(view));
    };
    let last = EVENT_QUEUE_LEN as u64 + 100;
    (2..=last).for_each(add);
    fixture.store.flush();
    let (from_late, mut late) = (last / 2, fixture.subscribe(1, last / 2));
    // Only now do events reach subscribers.
    for index in 2..=last {
        assert_eq!(next(&mut from_now).await, ("settled", index));
        assert_eq!(next(&mut resumed).await, ("settled", index));
    }
    for index in from_late + 1..=last {
        assert_eq!(next(&mut late).await, ("settled", index));
    }
}

/// Payments continue while subscribers connect at any moment and resume from any index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_subscriptions_are_complete_under_load() {
    const PAYMENTS: u64 = 60;
    let fixture = Arc::new(Fixture::new());
    let load = {
        let fixture = fixture.clone();
        std::thread::spawn(move || {
            for id in 1..=PAYMENTS {
                fixture.arrive_all(&payment(id as u8, &[60, 40]));
            }
        })
    };
    let mut followers = tokio::task::JoinSet::new();
    for resume in 1..=10 {
        let fixture = fixture.clone();
        followers.spawn(async move {
            while fixture.store.invoice(resume).unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut events = fixture.subscribe(resume, resume);
            let (mut added, mut settled) = (resume, resume);
            while settled < PAYMENTS {
                match next(&mut events).await {
                    ("added", index) => {
                        added += 1;
                        assert_eq!(index, added);
                    }
                    (_, index) => {
                        settled += 1;
                        assert_eq!(index, settled);
                        assert!(added >= settled, "must be added before it is settled");
                    }
                }
            }
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), followers.join_all());
    all.await.unwrap();
    load.join().unwrap();
}

/// As in lnd: the total amount now, not as of then. The set has its own amount.
#[tokio::test]
async fn missed_sets_carry_the_current_invoice() {
    let fixture = Fixture::new();
    for id in 1..=3 {
        let shards = payment(id, &[60, 40]).into_iter();
        fixture.arrive_all(
            &shards
                .map(|shard| shard.to(payment_addr(1)))
                .collect::<Vec<_>>(),
        );
        fixture.arrive_all(&payment(100 + id, &[50]));
    }
    fixture.store.flush();
    let mut events = fixture.subscribe(4, 1);
    let mut paid = Vec::new();
    for _ in 2..=6 {
        let view = events.next().await.unwrap().unwrap().into_view();
        paid.push((
            view.sets[0].settle_index.unwrap(),
            view.record.amt_paid_msat,
        ));
    }
    assert_eq!(paid, [(2, 50), (3, 300), (4, 50), (5, 300), (6, 50)]);
}

/// A client that resumes by add index must not take a paid invoice for an unpaid one.
#[tokio::test]
async fn resuming_by_add_index_shows_the_current_state() {
    let fixture = Fixture::new();
    let mut hashes = Vec::new();
    for preimage in 1..=5_u8 {
        let purpose = match preimage {
            3 => Purpose::Hold {
                hash: hash_of(&[3; 32]),
            },
            _ => Purpose::Once {
                preimage: Some(PaymentPreimage([preimage; 32])),
            },
        };
        let new = NewInvoice {
            purpose,
            ..NewInvoice::default()
        };
        let made = fixture.registry.add(new).await.unwrap();
        hashes.push(made.payment_hash);
    }
    // The second is paid, the third held, the fourth canceled, the fifth still open.
    for index in [1, 2] {
        fixture.pay(hashes[index], &[index as u64], 100);
    }
    let fourth = InvoiceRef::Hash(hashes[3]);
    fixture.registry.cancel(&fourth).await.unwrap();
    fixture.store.flush();

    let mut events = fixture.subscribe(1, 0);
    let mut told = Vec::new();
    for _ in 0..2 {
        let view = events.next().await.unwrap().unwrap().into_view();
        let record = view.record;
        told.push((record.add_index, record.state, record.settle_index));
        assert_eq!(view.htlcs.len(), usize::from(record.add_index == 2));
    }
    let expected = [
        (2, InvoiceState::Settled, Some(1)),
        (5, InvoiceState::Open, None),
    ];
    assert_eq!(told, expected);
    // Live events continue where the backlog ended.
    fixture
        .registry
        .settle_hold(PaymentPreimage([3; 32]))
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, ("settled", 2));
}

/// Whole pages of invoices may be left out.
#[tokio::test]
async fn canceled_invoices_do_not_end_the_backlog() {
    let fixture = Fixture::new();
    let first = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let mut changes: Vec<Box<dyn crate::storage::Change>> = Vec::new();
    for add_index in 2..=600 {
        let state = match add_index {
            600 => InvoiceState::Open,
            _ => InvoiceState::Canceled,
        };
        let mut name = [0; 32];
        name[..8].copy_from_slice(&u64::to_be_bytes(add_index));
        changes.push(Box::new(crate::storage::invoices::PutInvoice(
            crate::model::invoice::InvoiceRecord {
                add_index,
                state,
                payment_hash: PaymentHash(name),
                payment_addr: PaymentAddr::from_bytes(name),
                ..first.clone()
            },
        )));
    }
    fixture.store.submit(changes);
    fixture.store.flush();
    let mut events = fixture.subscribe(1, 0);
    assert_eq!(next(&mut events).await, ("added", 600));
}
