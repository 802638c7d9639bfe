//! Tracking all payments, and deleting ended ones.

use PaymentState::{Failed, InFlight, Succeeded};

use super::*;
use crate::model::payment::PaymentPage;
use crate::payments::{AllUpdates, DeleteError, Deletion};

async fn next(updates: &mut AllUpdates) -> PaymentView {
    let next = tokio::time::timeout(Duration::from_secs(20), updates.next());
    next.await.unwrap().unwrap()
}

/// The ends of this many payments: the index and the state of each.
async fn ends(updates: &mut AllUpdates, count: usize) -> Vec<(u64, PaymentState)> {
    let mut ends = Vec::new();
    while ends.len() < count {
        let view = next(updates).await;
        if view.is_final() {
            ends.push((view.record.payment_index, view.record.state));
        }
    }
    ends.sort_by_key(|(index, _)| *index);
    ends
}

/// The stored payments: the index of each, and the states of its attempts.
fn listed(fixture: &Fixture) -> Vec<(u64, Vec<AttemptState>)> {
    let page = PaymentPage {
        limit: 100,
        include_incomplete: true,
        ..Default::default()
    };
    let found = fixture.payments.list(&page).unwrap();
    let index_and_states = |view: &PaymentView| (view.record.payment_index, states(view));
    found.iter().map(index_and_states).collect()
}

/// One that succeeded after a failed attempt, one that failed, one in flight.
async fn three_payments() -> (Fixture, [[u8; 32]; 3]) {
    let mut fixture = Fixture::new([]);
    let mut first = fixture.send(100).await;
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, false, Some(22));
    let again = fixture.htlc().await;
    fixture.settle(&again);
    let first = end(&mut first).await.record.identifier;

    let mut second = fixture.payments.send(bolt11(2)).await.unwrap();
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, true, None);
    let second = end(&mut second).await.record.identifier;

    let third = fixture.send(100).await;
    fixture.htlc().await;
    fixture.payments.store.flush();
    let third = third.borrow().record.identifier;
    (fixture, [first, second, third])
}

#[tokio::test]
async fn track_all_starts_with_payments_in_flight() {
    let mut fixture = Fixture::new([]);
    let _before = fixture.send(100).await;
    let before = fixture.htlc().await;
    let mut updates = fixture.payments.track_all();
    let first = next(&mut updates).await;
    assert_eq!((first.record.payment_index, first.is_final()), (1, false));
    let _after = fixture.send(200).await;
    let after = fixture.htlc().await;
    fixture.settle(&after);
    fixture.fail(&before, true, None);
    let expected = [(1, Failed), (2, Succeeded)];
    assert_eq!(ends(&mut updates, 2).await, expected);
}

#[tokio::test]
async fn track_all_sees_the_start_before_the_end() {
    let fixture = Fixture::new([Err(NoPaths::For(FailureReason::NoRoute))]);
    let mut updates = fixture.payments.track_all();
    let mut payment = fixture.send(100).await;
    end(&mut payment).await;
    assert_eq!(next(&mut updates).await.record.state, InFlight);
    assert_eq!(ends(&mut updates, 1).await, [(1, Failed)]);
}

#[tokio::test]
async fn slow_subscribers_see_every_end() {
    const PAYMENTS: u64 = 300;
    let mut fixture = Fixture::new([]);
    let mut updates = fixture.payments.track_all();
    let mut payments = Vec::new();
    for _ in 0..PAYMENTS {
        payments.push(fixture.send(100).await);
        let htlc = fixture.htlc().await;
        if payments.len() % 2 == 0 {
            fixture.settle(&htlc);
        } else {
            fixture.fail(&htlc, true, None);
        }
    }
    for payment in &mut payments {
        end(payment).await;
    }
    let ends = ends(&mut updates, payments.len()).await;
    let state = |index| if index % 2 == 0 { Succeeded } else { Failed };
    let expected: Vec<_> = (1..=PAYMENTS).map(|index| (index, state(index))).collect();
    assert_eq!(ends, expected);
    // From then on each update is sent again.
    fixture.send(100).await;
    let last = next(&mut updates).await;
    assert_eq!(last.record.payment_index, PAYMENTS + 1);
    assert!(!last.is_final());
}

#[tokio::test]
async fn ended_payments_can_be_deleted_and_repeated() {
    let (mut fixture, [first, second, _]) = three_payments().await;
    for identifier in [first, second] {
        let deleted = fixture
            .payments
            .delete(&identifier, Deletion::Payment)
            .await;
        deleted.unwrap();
        assert!(fixture.payments.track(&identifier).unwrap().is_none());
        let again = fixture
            .payments
            .delete(&identifier, Deletion::Payment)
            .await;
        assert!(matches!(again, Err(DeleteError::Unknown)));
    }
    assert_eq!(listed(&fixture), [(3, vec![AttemptState::InFlight])]);
    let mut again = fixture.payments.send(bolt11(2)).await.unwrap();
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    assert_eq!(end(&mut again).await.record.payment_index, 4);
}

#[tokio::test]
async fn failed_attempts_can_be_deleted_separately() {
    let (fixture, [first, ..]) = three_payments().await;
    let delete = fixture.payments.delete(&first, Deletion::FailedAttempts);
    delete.await.unwrap();
    assert_eq!(listed(&fixture)[0], (1, vec![AttemptState::Succeeded]));
    let delete = fixture.payments.delete_all(false, Deletion::FailedAttempts);
    assert_eq!(delete.await.unwrap(), 2);
    let expected = [
        (1, vec![AttemptState::Succeeded]),
        (2, vec![]),
        (3, vec![AttemptState::InFlight]),
    ];
    assert_eq!(listed(&fixture), expected);
}

#[tokio::test]
async fn payments_in_flight_cannot_be_deleted() {
    let (mut fixture, [_, _, third]) = three_payments().await;
    for what in [Deletion::Payment, Deletion::FailedAttempts] {
        let refused = fixture.payments.delete(&third, what).await.unwrap_err();
        let text = refused.to_string();
        assert!(text.ends_with("payment is in transition"), "{text}");
    }
    let all = fixture.payments.delete_all(false, Deletion::Payment);
    assert_eq!(all.await.unwrap(), 2);
    assert_eq!(listed(&fixture), [(3, vec![AttemptState::InFlight])]);

    // A failed payment is in flight again as soon as it is retried.
    let mut payment = fixture.payments.send(bolt11(2)).await.unwrap();
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, true, None);
    let hash = end(&mut payment).await.record.identifier;
    let _again = fixture.payments.send(bolt11(2)).await.unwrap();
    let refused = fixture.payments.delete(&hash, Deletion::Payment).await;
    assert!(matches!(refused, Err(DeleteError::InFlight(_))));
}

#[tokio::test]
async fn deletes_all_failed_payments() {
    let (fixture, _) = three_payments().await;
    let delete = fixture.payments.delete_all(true, Deletion::Payment);
    assert_eq!(delete.await.unwrap(), 1);
    let left: Vec<_> = listed(&fixture)
        .into_iter()
        .map(|(index, _)| index)
        .collect();
    assert_eq!(left, [1, 3]);
}
