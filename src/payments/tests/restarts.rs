//! Payments across restarts.

use AttemptState::{Failed, Succeeded};

use super::*;
use crate::storage::payments::PutPayment;

impl Fixture {
    /// The node is killed; LDK of the next one still knows these attempts.
    pub(super) fn restart(
        self,
        known: &[&Htlc],
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        self.payments.store.close().unwrap();
        let known = known.iter().map(|htlc| htlc.id).collect();
        let fixture = Self::open(self.directory, answers, known, false);
        let unfinished = fixture.payments.restore().unwrap();
        fixture.payments.resume(unfinished);
        fixture
    }

    fn follow(&self, identifier: &[u8; 32]) -> watch::Receiver<PaymentView> {
        self.payments.track(identifier).unwrap().unwrap()
    }
}

#[tokio::test]
async fn unsent_attempts_are_sent_once_after_a_restart() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    let htlcs = fixture.htlcs(2).await;
    let mut fixture = fixture.restart(&[&htlcs[0]], []);
    let again = fixture.htlc().await;
    assert_eq!(again.amount_msat(), 40);
    assert!(again.hash != htlcs[1].hash && again.id != htlcs[1].id);
    let mut views = fixture.follow(&identifier);
    fixture.settle(&htlcs[0]);
    fixture.settle(&again);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    assert_eq!(states(&ended), [Succeeded, Failed, Succeeded]);
    assert!(fixture.nothing_more_is_sent() && fixture.is_empty());
}

#[tokio::test]
async fn damaged_payments_fail_once_none_is_in_flight() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    let htlcs = fixture.htlcs(2).await;
    let store = &fixture.payments.store;
    let mut record = store.payment(&identifier).unwrap().unwrap();
    record.terms.destination = None;
    store.submit(PutPayment(record));
    let mut fixture = fixture.restart(&[&htlcs[0]], []);
    let mut views = fixture.follow(&identifier);
    fixture.fail(&htlcs[0], false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::Error);
    assert_eq!(states(&ended), [Failed, Failed]);
    assert!(fixture.asked().is_empty() && fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn complete_payments_wait_for_their_result() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    let htlcs = fixture.htlcs(2).await;
    fixture.settle(&htlcs[0]);
    let mut fixture = fixture.restart(&[&htlcs[0], &htlcs[1]], []);
    let mut views = fixture.follow(&identifier);
    // LDK replays its events.
    fixture.settle(&htlcs[0]);
    fixture.settle(&htlcs[1]);
    let ended = end(&mut views).await;
    assert_eq!(states(&ended), [Succeeded; 2]);
    assert!(fixture.asked().is_empty() && fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn stored_receiver_failure_ends_the_payment() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    let htlcs = fixture.htlcs(2).await;
    fixture.fail(&htlcs[0], true, None);
    let mut fixture = fixture.restart(&[&htlcs[1]], []);
    let mut views = fixture.follow(&identifier);
    fixture.fail(&htlcs[1], false, None);
    let ended = end(&mut views).await;
    let reason = FailureReason::IncorrectPaymentDetails;
    assert_eq!(ended.record.failure_reason, reason);
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn no_route_is_retried_right_after_startup() {
    let mut fixture = Fixture::new([]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    fixture.htlc().await;
    let no_route = || Err(NoPaths::For(FailureReason::InsufficientBalance));
    let mut fixture = fixture.restart(&[], [no_route(), no_route()]);
    let again = fixture.htlc().await;
    assert_eq!(fixture.asked().len(), 3);
    let mut views = fixture.follow(&identifier);
    fixture.settle(&again);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
}

#[tokio::test]
async fn ended_payments_are_untouched_and_indices_continue() {
    let mut fixture = Fixture::new([]);
    let mut views = fixture.send(100).await;
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    let first = end(&mut views).await;
    let mut fixture = fixture.restart(&[&htlc], []);
    assert!(fixture.is_empty());
    let mut views = fixture.send(200).await;
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    let second = end(&mut views).await;
    assert!(second.record.payment_index > first.record.payment_index);
    assert!(second.attempts[0].attempt_id > first.attempts[0].attempt_id);
    assert_eq!(fixture.payments.count().unwrap(), 2);
}

/// Any number of crashes, with any subset of the attempts known to LDK.
#[tokio::test]
async fn payment_survives_many_crashes_and_ends_once() {
    for round in 0..6 {
        let mut fixture = Fixture::new([Ok(vec![(40, 0), (30, 0), (30, 0)])]);
        let identifier = fixture.send(100).await.borrow().record.identifier;
        let mut live = fixture.htlcs(3).await;
        for crash in 0..3 {
            let kept = (round + crash) % (live.len() + 1);
            let lost: u64 = live[kept..].iter().map(Htlc::amount_msat).sum();
            live.truncate(kept);
            let known: Vec<_> = live.iter().collect();
            fixture = fixture.restart(&known, []);
            if lost > 0 {
                let again = fixture.htlc().await;
                assert_eq!(again.amount_msat(), lost);
                live.push(again);
            }
        }
        let mut views = fixture.follow(&identifier);
        live.iter().for_each(|htlc| fixture.settle(htlc));
        let ended = end(&mut views).await;
        assert_eq!(ended.record.state, PaymentState::Succeeded);
        assert_eq!(live.iter().map(Htlc::amount_msat).sum::<u64>(), 100);
        assert!(fixture.nothing_more_is_sent());
    }
}

#[tokio::test]
async fn canceled_payments_stay_canceled() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    let htlcs = fixture.htlcs(2).await;
    fixture.payments.cancel(&identifier);
    let mut fixture = fixture.restart(&[&htlcs[0]], []);
    let mut views = fixture.follow(&identifier);
    fixture.fail(&htlcs[0], false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::Canceled);
    assert!(fixture.nothing_more_is_sent() && fixture.is_empty());
}

/// Limits include attempts in flight before the restart; the deadline counts from the payment's
/// start.
#[tokio::test]
async fn limits_survive_a_restart() {
    let two = Ok(vec![(60, 30), (40, 20)]);
    let mut fixture = Fixture::new([two]);
    let identifier = fixture.send(100).await.borrow().record.identifier;
    let htlcs = fixture.htlcs(2).await;
    let deadline = fixture.follow(&identifier).borrow().record.terms.deadline;
    let mut fixture = fixture.restart(&[&htlcs[0]], []);
    fixture.htlc().await;
    let open = Open {
        amount_msat: 40,
        fee_limit_msat: 70,
        parts: 3,
    };
    assert_eq!(fixture.asked()[0].open, open);
    let terms = &fixture.follow(&identifier).borrow().record.terms.clone();
    assert_eq!(terms.deadline, deadline);
}

#[tokio::test]
async fn keysend_continues_after_a_restart() {
    let mut fixture = Fixture::new([]);
    let mut payment = bolt11(9);
    payment.method = Method::Hash {
        payment_hash: PaymentHash([9; 32]),
        payment_addr: None,
        multi_part: false,
    };
    payment.custom_records = [(5_482_373_484, vec![7; 32])].into();
    fixture.payments.send(payment).await.unwrap();
    let first = fixture.htlc().await;
    let mut fixture = fixture.restart(&[], []);
    let again = fixture.htlc().await;
    assert_eq!((again.hash, &again.onion), (first.hash, &first.onion));
    assert_ne!(again.id, first.id);
    fixture.settle(&again);
    let ended = end(&mut fixture.follow(&first.hash.0)).await;
    assert_eq!(states(&ended), [Failed, Succeeded]);
}
