//! Subscriptions to a single invoice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lightning_types::payment::PaymentHash;

use super::*;
use crate::invoices::followers::{EVENT_QUEUE_LEN, Followers};
use crate::invoices::test_registry::{Fixture, Sent, payment, payment_addr, set_id};
use crate::invoices::{Claimable, NewInvoice};
use crate::storage::invoices::PutInvoiceState;

const LIMIT: Duration = Duration::from_secs(60);

impl Fixture {
    fn follow(&self, by: InvoiceRef) -> SingleSubscription {
        self.store.flush();
        self.registry.subscribe_single(&by).unwrap()
    }

    /// All shards of a payment with this set id to the invoice with address 1.
    fn pay_the_first(&self, id: u8) {
        let shards = payment(id, &[60, 40]).into_iter();
        let shards: Vec<Sent> = shards.map(|shard| shard.to(payment_addr(1))).collect();
        self.arrive_all(&shards);
    }

    fn change(&self, view: &InvoiceView, state: InvoiceState) {
        let mut view = view.clone();
        view.record.state = state;
        let ticket = self.store.submit(PutInvoiceState {
            add_index: view.record.add_index,
            state,
        });
        let event = match state {
            InvoiceState::Accepted => InvoiceEvent::Accepted(view),
            InvoiceState::Canceled => InvoiceEvent::Canceled(view),
            other => panic!("unexpected event {other:?}"),
        };
        self.registry.announcer.announce(ticket, event);
    }
}

async fn next(changes: &mut SingleSubscription) -> Option<InvoiceView> {
    let next = tokio::time::timeout(LIMIT, changes.next());
    next.await.expect("no event arrived").unwrap()
}

/// The settle indices of the next message's sets, and the amount paid so far.
async fn sets(changes: &mut SingleSubscription) -> (Vec<u64>, u64) {
    let view = next(changes).await.unwrap();
    let sets = view.sets.iter().filter_map(|set| set.settle_index);
    (sets.collect(), view.record.amt_paid_msat)
}

#[tokio::test]
async fn single_invoice_subscriber_sees_every_settled_set() {
    let fixture = Fixture::new();
    fixture.pay_the_first(1);
    let mut changes = fixture.follow(InvoiceRef::Addr(payment_addr(1)));
    assert_eq!(sets(&mut changes).await, (vec![1], 100));
    // Nothing is read before all are on disk.
    for id in 2..=4 {
        fixture.pay_the_first(id);
        fixture.arrive_all(&payment(id + 100, &[50]));
    }
    fixture.store.flush();
    assert_eq!(sets(&mut changes).await, (vec![2], 200));
    assert_eq!(sets(&mut changes).await, (vec![4], 300));
    let view = next(&mut changes).await.unwrap();
    assert_eq!(view.record.amt_paid_msat, 400);
    assert_eq!((view.sets[0].set_id, view.htlcs.len()), (set_id(4), 2));
}

#[tokio::test]
async fn initial_state_is_not_repeated() {
    let fixture = Fixture::new();
    // Announced after the subscription, but on disk before it.
    fixture.pay_the_first(1);
    fixture.pay_the_first(2);
    let mut changes = fixture.follow(InvoiceRef::SetId(set_id(2)));
    fixture.pay_the_first(3);
    assert_eq!(sets(&mut changes).await, (vec![1, 2], 200));
    assert_eq!(sets(&mut changes).await, (vec![3], 300));
}

#[tokio::test]
async fn bolt11_subscription_ends_with_the_settlement() {
    let fixture = Fixture::new();
    let record = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let by_hash = InvoiceRef::Hash(record.payment_hash);
    let mut changes = fixture.follow(by_hash);
    fixture.arrive_all(&payment(9, &[50]));
    fixture.registry.accept_bolt11(Claimable {
        payment_hash: record.payment_hash,
        amount_msat: 70,
        claim_deadline: None,
        channels: Vec::new(),
        custom_records: BTreeMap::new(),
    });
    let state = next(&mut changes).await.unwrap().record.state;
    assert_eq!(state, InvoiceState::Open);
    let settled = next(&mut changes).await.unwrap();
    assert_eq!(settled.record.state, InvoiceState::Settled);
    assert_eq!(settled.record.amt_paid_msat, 70);
    assert!(next(&mut changes).await.is_none());
    assert!(next(&mut changes).await.is_none());

    let mut late = fixture.follow(by_hash);
    assert_eq!(next(&mut late).await.unwrap().record, settled.record);
    assert!(next(&mut late).await.is_none());
}

#[tokio::test]
async fn single_invoice_subscriber_sees_accept_and_cancel() {
    let fixture = Fixture::new();
    let record = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let mut changes = fixture.follow(InvoiceRef::Hash(record.payment_hash));
    let open = next(&mut changes).await.unwrap();
    fixture.change(&open, InvoiceState::Accepted);
    let accepted = next(&mut changes).await.unwrap();
    assert_eq!(accepted.record.state, InvoiceState::Accepted);

    let mut late = fixture.follow(InvoiceRef::Addr(record.payment_addr));
    fixture.change(&open, InvoiceState::Canceled);
    assert_eq!(next(&mut late).await.unwrap(), accepted);
    for changes in [&mut changes, &mut late] {
        let canceled = next(changes).await.unwrap();
        assert_eq!(canceled.record.state, InvoiceState::Canceled);
        assert!(next(changes).await.is_none());
    }
    let mut later = fixture.follow(InvoiceRef::Hash(record.payment_hash));
    assert!(next(&mut later).await.is_some());
    assert!(next(&mut later).await.is_none());
}

#[tokio::test]
async fn canceled_amp_invoice_shows_its_total() {
    let fixture = Fixture::new();
    fixture.pay_the_first(1);
    let mut changes = fixture.follow(InvoiceRef::Addr(payment_addr(1)));
    let mut known = next(&mut changes).await.unwrap();
    fixture.pay_the_first(2);
    // The cancellation uses the uncommitted record.
    (known.sets, known.record.amt_paid_msat) = (Vec::new(), 0);
    fixture.change(&known, InvoiceState::Canceled);
    assert_eq!(sets(&mut changes).await, (vec![2], 200));
    let canceled = next(&mut changes).await.unwrap();
    assert_eq!(canceled.record.state, InvoiceState::Canceled);
    assert_eq!(canceled.record.amt_paid_msat, 200);
    assert!(next(&mut changes).await.is_none());
}

#[tokio::test]
async fn only_single_invoice_subscribers_see_cancellations() {
    let fixture = Fixture::new();
    let mut events = fixture.subscribe(0, 0);
    let record = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let view = fixture.follow(InvoiceRef::Hash(record.payment_hash)).first;
    fixture.change(&view.unwrap(), InvoiceState::Canceled);
    fixture.registry.add(NewInvoice::default()).await.unwrap();
    for expected in 1..=2 {
        let event = events.next().await.unwrap().unwrap();
        let InvoiceEvent::Added(view) = event else {
            panic!("{event:?}")
        };
        assert_eq!(view.record.add_index, expected);
    }
}

#[tokio::test]
async fn unknown_invoices_are_not_found() {
    let fixture = Fixture::new();
    let unknown = fixture
        .registry
        .subscribe_single(&InvoiceRef::Hash(PaymentHash([9; 32])));
    assert!(matches!(unknown, Err(InvoiceError::NotFound)));
}

#[tokio::test]
async fn subscription_ends_at_shutdown() {
    let fixture = Fixture::new();
    fixture.pay_the_first(1);
    let mut changes = fixture.follow(InvoiceRef::Addr(payment_addr(1)));
    drop(fixture);
    assert!(next(&mut changes).await.is_some());
    assert!(next(&mut changes).await.is_none());
}

/// Payments to one invoice continue while subscribers connect at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_are_complete_under_load() {
    const PAYMENTS: u8 = 80;
    let fixture = Arc::new(Fixture::new());
    fixture.pay_the_first(1);
    fixture.store.flush();
    let load = {
        let fixture = fixture.clone();
        std::thread::spawn(move || (2..=PAYMENTS).for_each(|id| fixture.pay_the_first(id)))
    };
    let mut followers = tokio::task::JoinSet::new();
    for after in (1..=70).step_by(7) {
        let fixture = fixture.clone();
        followers.spawn(async move {
            while fixture.store.set(&set_id(after)).unwrap().is_none() {
                tokio::task::yield_now().await;
            }
            let by = InvoiceRef::Addr(payment_addr(1));
            let mut changes = fixture.registry.subscribe_single(&by).unwrap();
            let (known, _) = sets(&mut changes).await;
            let mut last = known.len() as u64;
            assert_eq!(known, (1..=last).collect::<Vec<_>>());
            while last < u64::from(PAYMENTS) {
                last += 1;
                assert_eq!(sets(&mut changes).await, (vec![last], last * 100));
            }
        });
    }
    followers.join_all().await;
    load.join().unwrap();
}

fn subscription(fixture: &Fixture, followers: &Followers) -> SingleSubscription {
    SingleSubscription {
        live: followers.follow(1),
        ..fixture.follow(InvoiceRef::Addr(payment_addr(1)))
    }
}

#[tokio::test]
async fn only_slow_subscribers_are_disconnected() {
    let fixture = Fixture::new();
    fixture.pay_the_first(1);
    let followers = Followers::default();
    let mut slow = subscription(&fixture, &followers);
    let mut view = next(&mut slow).await.unwrap();
    let mut fast = subscription(&fixture, &followers);
    next(&mut fast).await.unwrap();
    for index in 2..=2_000 {
        view.sets[0].settle_index = Some(index);
        followers.notify(&InvoiceEvent::Settled(view.clone()));
        assert_eq!(sets(&mut fast).await.0, [index]);
    }
    for index in 2..=EVENT_QUEUE_LEN as u64 {
        assert_eq!(
            sets(&mut slow).await.0,
            [index],
            "queued events must be delivered"
        );
    }
    let error = slow.next().await.unwrap_err().to_string();
    assert!(error.contains("subscribe again"), "{error}");
    assert!(next(&mut slow).await.is_none());
}
