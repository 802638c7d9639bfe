use AttemptState::{Failed, Succeeded};

use super::*;

impl House {
    /// The node is killed; LDK of the next one still knows these attempts.
    pub(super) fn restart(
        self,
        known: &[&Htlc],
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        self.payments.store.close().unwrap();
        let known = known.iter().map(|htlc| htlc.id).collect();
        let house = Self::open(self.directory, answers, known, false);
        let unfinished = house.payments.restore().unwrap();
        house.payments.resume(unfinished);
        house
    }

    fn follow(&self, identifier: &[u8; 32]) -> watch::Receiver<PaymentView> {
        self.payments.track(identifier).unwrap().unwrap()
    }
}

#[tokio::test]
async fn unsent_attempts_are_sent_once_after_a_restart() {
    let mut house = House::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = house.send(100).await.borrow().record.identifier;
    let htlcs = house.htlcs(2).await;
    let mut house = house.restart(&[&htlcs[0]], []);
    let again = house.htlc().await;
    assert_eq!(again.amount_msat(), 40);
    assert!(again.hash != htlcs[1].hash && again.id != htlcs[1].id);
    let mut views = house.follow(&identifier);
    house.settle(&htlcs[0]);
    house.settle(&again);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    assert_eq!(states(&ended), [Succeeded, Failed, Succeeded]);
    assert!(house.nothing_more_is_sent() && house.is_empty());
}

#[tokio::test]
async fn damaged_payments_fail_once_none_is_in_flight() {
    let mut house = House::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = house.send(100).await.borrow().record.identifier;
    let htlcs = house.htlcs(2).await;
    let store = &house.payments.store;
    let mut record = store.payment(&identifier).unwrap().unwrap();
    record.terms.destination = "not a key".into();
    store.submit(PutPayment(record));
    let mut house = house.restart(&[&htlcs[0]], []);
    let mut views = house.follow(&identifier);
    house.fail(&htlcs[0], false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::Error);
    assert_eq!(states(&ended), [Failed, Failed]);
    assert!(house.asked().is_empty() && house.nothing_more_is_sent());
}

#[tokio::test]
async fn complete_payments_wait_for_their_result() {
    let mut house = House::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = house.send(100).await.borrow().record.identifier;
    let htlcs = house.htlcs(2).await;
    house.settle(&htlcs[0]);
    let mut house = house.restart(&[&htlcs[0], &htlcs[1]], []);
    let mut views = house.follow(&identifier);
    // LDK replays its events.
    house.settle(&htlcs[0]);
    house.settle(&htlcs[1]);
    let ended = end(&mut views).await;
    assert_eq!(states(&ended), [Succeeded; 2]);
    assert!(house.asked().is_empty() && house.nothing_more_is_sent());
}

#[tokio::test]
async fn stored_receiver_failure_ends_the_payment() {
    let mut house = House::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = house.send(100).await.borrow().record.identifier;
    let htlcs = house.htlcs(2).await;
    house.fail(&htlcs[0], true, None);
    let mut house = house.restart(&[&htlcs[1]], []);
    let mut views = house.follow(&identifier);
    house.fail(&htlcs[1], false, None);
    let ended = end(&mut views).await;
    let reason = FailureReason::IncorrectPaymentDetails;
    assert_eq!(ended.record.failure_reason, reason);
    assert!(house.nothing_more_is_sent());
}

#[tokio::test]
async fn no_route_is_retried_right_after_startup() {
    let mut house = House::new([]);
    let identifier = house.send(100).await.borrow().record.identifier;
    house.htlc().await;
    let no_route = || Err(FailureReason::InsufficientBalance);
    let mut house = house.restart(&[], [no_route(), no_route()]);
    let again = house.htlc().await;
    assert_eq!(house.asked().len(), 3);
    let mut views = house.follow(&identifier);
    house.settle(&again);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
}

#[tokio::test]
async fn ended_payments_are_untouched_and_indices_continue() {
    let mut house = House::new([]);
    let mut views = house.send(100).await;
    let htlc = house.htlc().await;
    house.settle(&htlc);
    let first = end(&mut views).await;
    let mut house = house.restart(&[&htlc], []);
    assert!(house.is_empty());
    let mut views = house.send(200).await;
    let htlc = house.htlc().await;
    house.settle(&htlc);
    let second = end(&mut views).await;
    assert!(second.record.payment_index > first.record.payment_index);
    assert!(second.attempts[0].attempt_id > first.attempts[0].attempt_id);
    assert_eq!(house.payments.count().unwrap(), 2);
}

/// Any number of crashes, with any subset of the attempts known to LDK.
#[tokio::test]
async fn payment_survives_many_crashes_and_ends_once() {
    for round in 0..6 {
        let mut house = House::new([Ok(vec![(40, 0), (30, 0), (30, 0)])]);
        let identifier = house.send(100).await.borrow().record.identifier;
        let mut live = house.htlcs(3).await;
        for crash in 0..3 {
            let kept = (round + crash) % (live.len() + 1);
            let lost: u64 = live[kept..].iter().map(Htlc::amount_msat).sum();
            live.truncate(kept);
            let known: Vec<_> = live.iter().collect();
            house = house.restart(&known, []);
            if lost > 0 {
                let again = house.htlc().await;
                assert_eq!(again.amount_msat(), lost);
                live.push(again);
            }
        }
        let mut views = house.follow(&identifier);
        live.iter().for_each(|htlc| house.settle(htlc));
        let ended = end(&mut views).await;
        assert_eq!(ended.record.state, PaymentState::Succeeded);
        assert_eq!(live.iter().map(Htlc::amount_msat).sum::<u64>(), 100);
        assert!(house.nothing_more_is_sent());
    }
}

#[tokio::test]
async fn canceled_payments_stay_canceled() {
    let mut house = House::new([Ok(vec![(60, 0), (40, 0)])]);
    let identifier = house.send(100).await.borrow().record.identifier;
    let htlcs = house.htlcs(2).await;
    house.payments.cancel(&identifier);
    let mut house = house.restart(&[&htlcs[0]], []);
    let mut views = house.follow(&identifier);
    house.fail(&htlcs[0], false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::Canceled);
    assert!(house.nothing_more_is_sent() && house.is_empty());
}

/// Limits include attempts in flight before the restart; the deadline counts from the payment's
/// start.
#[tokio::test]
async fn limits_survive_a_restart() {
    let two = Ok(vec![(60, 30), (40, 20)]);
    let mut house = House::new([two]);
    let identifier = house.send(100).await.borrow().record.identifier;
    let htlcs = house.htlcs(2).await;
    let deadline = house.follow(&identifier).borrow().record.terms.deadline;
    let mut house = house.restart(&[&htlcs[0]], []);
    house.htlc().await;
    let open = Open {
        amount_msat: 40,
        fee_limit_msat: 70,
        parts: 3,
    };
    assert_eq!(house.asked()[0].open, open);
    let terms = &house.follow(&identifier).borrow().record.terms.clone();
    assert_eq!(terms.deadline, deadline);
}

#[tokio::test]
async fn keysend_continues_after_a_restart() {
    let mut house = House::new([]);
    let mut payment = bolt11(9);
    payment.method = Method::Hash {
        payment_hash: PaymentHash([9; 32]),
        payment_addr: None,
        multi_part: false,
    };
    payment.custom_records = [(5_482_373_484, vec![7; 32])].into();
    house.payments.send(payment).await.unwrap();
    let first = house.htlc().await;
    let mut house = house.restart(&[], []);
    let again = house.htlc().await;
    assert_eq!((again.hash, &again.onion), (first.hash, &first.onion));
    assert_ne!(again.id, first.id);
    house.settle(&again);
    let ended = end(&mut house.follow(&first.hash.0)).await;
    assert_eq!(states(&ended), [Failed, Succeeded]);
}
