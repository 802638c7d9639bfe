//! Ends of payments, and retries.

use std::collections::HashSet;

use AttemptState::{Failed, Succeeded};
use ldk_amp::PaymentAddr;
use lightning_types::payment::PaymentPreimage;

use futures_util::FutureExt;

use super::*;

#[tokio::test]
async fn multi_shard_payment_succeeds_once_all_settled() {
    let mut fixture = Fixture::new([Ok(vec![(50, 1), (30, 2), (20, 3)])]);
    let mut views = fixture.send(100).await;
    assert!(!views.borrow().is_final(), "must be seen in flight first");
    let htlcs = fixture.htlcs(3).await;
    for htlc in &htlcs {
        assert!(!views.borrow_and_update().is_final());
        fixture.settle(htlc);
    }
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    assert_eq!(ended.record.failure_reason, FailureReason::None);
    assert_eq!(states(&ended), [Succeeded; 3]);
    assert_eq!(ended.fee_msat(), 6);
    let on_disk = stored(&fixture.payments, &ended);
    assert_eq!(on_disk.record.state, PaymentState::Succeeded);
    assert_eq!(on_disk.record.preimage, ended.record.preimage);
    assert!(on_disk.record.root.is_none());
    assert_eq!(states(&on_disk), [Succeeded; 3]);
    assert!(fixture.is_empty() && fixture.nothing_more_is_sent());
    let hashes: std::collections::HashSet<_> = htlcs.iter().map(|htlc| htlc.hash).collect();
    assert_eq!(hashes.len(), 3);
}

#[tokio::test]
async fn failed_shards_take_another_route_and_hash() {
    let mut fixture = Fixture::new([Ok(vec![(60, 5), (40, 7)]), Ok(vec![(40, 9)])]);
    let mut views = fixture.send(100).await;
    let first = fixture.htlcs(2).await;
    fixture.fail(&first[1], false, Some(22));
    let again = fixture.htlc().await;
    assert_ne!(again.hash, first[1].hash);
    let asked = fixture.asked();
    assert!(asked[0].failed_channels.is_empty());
    let second = Asked {
        open: Open {
            amount_msat: 40,
            fee_limit_msat: 95,
            parts: 3,
        },
        failed_channels: vec![22],
    };
    assert_eq!(asked[1], second);
    fixture.settle(&first[0]);
    fixture.settle(&again);
    let ended = end(&mut views).await;
    assert_eq!(states(&ended), [Succeeded, Failed, Succeeded]);
    assert_eq!(ended.fee_msat(), 14);
    let failure = ended.attempts[1].failure.clone().unwrap();
    assert_eq!((failure.by_receiver, failure.source_index), (false, 1));
}

#[tokio::test]
async fn receiver_failure_ends_it_once_none_is_in_flight() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let mut views = fixture.send(100).await;
    let htlcs = fixture.htlcs(2).await;
    fixture.fail(&htlcs[0], true, None);
    fixture.fail(&htlcs[1], false, Some(11));
    let ended = end(&mut views).await;
    let reason = FailureReason::IncorrectPaymentDetails;
    assert_eq!(ended.record.failure_reason, reason);
    let on_disk = stored(&fixture.payments, &ended);
    assert_eq!(on_disk.record.failure_reason, reason);
    assert!(fixture.nothing_more_is_sent() && fixture.is_empty());
}

#[tokio::test]
async fn router_and_ldk_errors_are_the_failure_reason() {
    use FailureReason::{Error, InsufficientBalance, NoRoute};
    for reason in [NoRoute, InsufficientBalance, Error] {
        let fixture = Fixture::new([Err(NoPaths::For(reason))]);
        let ended = end(&mut fixture.send(100).await).await;
        assert_eq!(ended.record.failure_reason, reason);
        assert!(ended.attempts.is_empty() && fixture.is_empty());
    }
    let fixture = Fixture::new([Ok(vec![])]);
    let ended = end(&mut fixture.send(100).await).await;
    assert_eq!(
        ended.record.failure_reason, NoRoute,
        "must not retry forever"
    );
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(directory, [], Vec::new(), true);
    let ended = end(&mut fixture.send(100).await).await;
    assert_eq!(ended.record.failure_reason, Error);
    assert_eq!(states(&ended), [Failed]);
    assert!(fixture.is_empty());
}

#[tokio::test]
async fn searches_again_while_our_channels_are_full() {
    let mut fixture = Fixture::new([Err(NoPaths::ChannelsFull), Ok(vec![(100, 0)])]);
    let mut views = fixture.send(100).await;
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    assert_eq!(fixture.asked().len(), 2);
}

#[tokio::test]
async fn htlc_that_left_its_channel_wakes_a_waiting_payment() {
    let fixture = Fixture::new([]);
    let waiting = fixture.payments.slots.next();
    fixture.payments.handle(Event::PaymentPathSuccessful {
        payment_id: PaymentId([1; 32]),
        payment_hash: None,
        path: path((100, 0)),
        hold_times: Vec::new(),
    });
    assert_eq!(waiting.now_or_never(), Some(()));
}

#[tokio::test]
async fn payment_fails_while_our_channels_are_full_and_no_htlc_ends() {
    let full = (0..100).map(|_| Err(NoPaths::ChannelsFull));
    let mut fixture = Fixture::new(full);
    let ended = end(&mut fixture.send(100).await).await;
    assert_eq!(ended.record.failure_reason, FailureReason::NoRoute);
    assert!(fixture.nothing_more_is_sent() && fixture.is_empty());
}

/// lnd would give up, and the other shard would be held for two minutes.
#[tokio::test]
async fn retries_no_route_while_a_shard_is_held() {
    let two = Ok(vec![(60, 0), (40, 0)]);
    let mut fixture = Fixture::new([
        two,
        Err(NoPaths::For(FailureReason::NoRoute)),
        Ok(vec![(60, 0)]),
    ]);
    let mut views = fixture.send(100).await;
    let htlcs = fixture.htlcs(2).await;
    fixture.fail(&htlcs[0], false, Some(22));
    let again = fixture.htlc().await;
    let asked = fixture.asked();
    assert_eq!(asked[1].failed_channels, [22]);
    assert!(asked[2].failed_channels.is_empty(), "must be retried");
    fixture.settle(&again);
    fixture.settle(&htlcs[1]);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn no_route_ends_the_payment_if_none_is_in_flight() {
    let mut fixture = Fixture::new([
        Ok(vec![(100, 0)]),
        Err(NoPaths::For(FailureReason::NoRoute)),
    ]);
    let mut views = fixture.send(100).await;
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::NoRoute);
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn sends_nothing_after_the_timeout() {
    let mut fixture = Fixture::new([]);
    let mut payment = amp(100);
    payment.limits.timeout_seconds = 1;
    let mut views = fixture.payments.send(payment).await.unwrap();
    let htlc = fixture.htlc().await;
    let deadline = views.borrow().record.terms.deadline;
    while unix_seconds() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fixture.fail(&htlc, false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::Timeout);
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn canceled_payments_send_nothing_more() {
    let mut fixture = Fixture::new([]);
    let mut views = fixture.send(100).await;
    let htlc = fixture.htlc().await;
    let identifier = views.borrow().record.identifier;
    fixture.payments.cancel(&identifier);
    assert!(!views.borrow_and_update().is_final());
    fixture.fail(&htlc, false, None);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.failure_reason, FailureReason::Canceled);
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn invoice_is_paid_once() {
    let mut fixture = Fixture::new([]);
    let mut views = fixture.payments.send(bolt11(9)).await.unwrap();
    let again = fixture.payments.send(bolt11(9)).await;
    assert!(matches!(again, Err(SendError::InFlight)));
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    end(&mut views).await;
    let again = fixture.payments.send(bolt11(9)).await;
    assert!(matches!(again, Err(SendError::AlreadyPaid)));
    assert_eq!(fixture.payments.count().unwrap(), 1);
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn already_paid_takes_precedence_over_expired() {
    let mut fixture = Fixture::new([]);
    let paid_at = |expires_at| NewPayment {
        invoice: Some(invoice(expires_at)),
        ..bolt11(9)
    };
    let mut views = fixture.payments.send(paid_at(u64::MAX)).await.unwrap();
    let again = fixture.payments.send(paid_at(1)).await.err();
    assert!(matches!(again, Some(SendError::InFlight)), "{again:?}");
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    end(&mut views).await;
    let again = fixture.payments.send(paid_at(1)).await.err();
    assert!(matches!(again, Some(SendError::AlreadyPaid)), "{again:?}");
}

#[tokio::test]
async fn amp_invoice_can_be_paid_concurrently() {
    let mut fixture = Fixture::new([]);
    let mut payment = amp(100);
    payment.method = Method::Amp {
        payment_addr: Some(PaymentAddr::from_bytes([5; 32])),
    };
    payment.invoice = Some(invoice(u64::MAX));
    let mut followers = Vec::new();
    for _ in 0..3 {
        followers.push(fixture.payments.send(payment.clone()).await.unwrap());
    }
    let htlcs = fixture.htlcs(3).await;
    let identifiers: HashSet<_> = followers
        .iter()
        .map(|views| views.borrow().record.identifier)
        .collect();
    let hashes: HashSet<_> = htlcs.iter().map(|htlc| htlc.hash).collect();
    assert_eq!((identifiers.len(), hashes.len()), (3, 3));
    htlcs.iter().for_each(|htlc| fixture.settle(htlc));
    for mut views in followers {
        let ended = end(&mut views).await;
        assert_eq!(ended.record.state, PaymentState::Succeeded);
        let on_disk = stored(&fixture.payments, &ended).record;
        assert_eq!(
            on_disk.terms.payment_addr,
            Some(PaymentAddr::from_bytes([5; 32]))
        );
        assert_eq!(on_disk.terms.payment_request, "lnbcrt1");
    }
    assert_eq!(fixture.payments.count().unwrap(), 3);
}

#[tokio::test]
async fn failed_payments_can_be_retried() {
    let mut fixture = Fixture::new([Ok(vec![(60, 0), (40, 0)])]);
    let mut views = fixture.payments.send(bolt11(9)).await.unwrap();
    for htlc in fixture.htlcs(2).await {
        fixture.fail(&htlc, true, None);
    }
    end(&mut views).await;
    let mut views = fixture.payments.send(bolt11(9)).await.unwrap();
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    assert_eq!(
        fixture.payments.count().unwrap(),
        1,
        "must replace the failed one"
    );
    assert_eq!(states(&stored(&fixture.payments, &ended)), [Succeeded]);
}

#[tokio::test]
async fn invalid_requests_store_nothing() {
    let mut fixture = Fixture::new([]);
    let mut to_us = amp(100);
    to_us.destination = key(1);
    let mut records = amp(100);
    records.custom_records.insert(65_535, Vec::new());
    let mut too_short = amp(100);
    too_short.limits.cltv_limit = 83;
    let mut expired = bolt11(9);
    expired.invoice = Some(invoice(1));
    let mut expired_amp = amp(100);
    expired_amp.invoice = Some(invoice(unix_seconds() - 1));
    let mut too_long = amp(100);
    too_long.limits.cltv_limit = 2_017;
    let mut without_limit = amp(100);
    without_limit.final_cltv_delta = 2_013;
    let mut in_small_shards = amp(100);
    (
        in_small_shards.limits.max_parts,
        in_small_shards.limits.max_shard_msat,
    ) = (3, 33);
    let mut to_us_allowed = to_us.clone();
    to_us_allowed.allow_self_payment = true;
    let refused = [
        fixture.payments.send(too_long).await,
        fixture.payments.send(without_limit).await,
        fixture.payments.send(in_small_shards).await,
        fixture.payments.send(to_us_allowed).await,
        fixture.payments.send(to_us).await,
        fixture.payments.send(records).await,
        fixture.payments.send(too_short).await,
        fixture.payments.send(amp(0)).await,
        fixture.payments.send(expired).await,
        fixture.payments.send(expired_amp).await,
    ];
    assert!(refused.iter().all(Result::is_err));
    assert_eq!(fixture.payments.count().unwrap(), 0);
    assert!(fixture.nothing_more_is_sent() && fixture.is_empty());
}

#[tokio::test]
async fn events_of_ended_payments_change_nothing() {
    let mut fixture = Fixture::new([]);
    let mut views = fixture.send(100).await;
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    fixture.settle(&htlc);
    fixture.fail(&htlc, true, None);
    let ended = end(&mut views).await;
    fixture.fail(&htlc, true, None);
    assert_eq!(ended.record.state, PaymentState::Succeeded);
    let on_disk = stored(&fixture.payments, &ended);
    assert_eq!(on_disk.record.state, PaymentState::Succeeded);
    assert_eq!(states(&on_disk), [Succeeded]);
}

/// The end is on disk when it is announced, and visible to those who track the payment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_payments_all_end_on_disk() {
    const PAYMENTS: usize = 64;
    let mut fixture = Fixture::new([]);
    let mut followers = tokio::task::JoinSet::new();
    for n in 0..PAYMENTS {
        let payments = fixture.payments.clone();
        followers.spawn(async move {
            let mut views = payments.send(amp(100 + n as u64)).await.unwrap();
            let ended = end(&mut views).await;
            assert_eq!(ended.record.state, PaymentState::Succeeded);
            let on_disk = stored(&payments, &ended);
            assert_eq!(on_disk.record.state, PaymentState::Succeeded);
            assert_eq!(states(&on_disk), states(&ended));
            let tracked = payments.track(&ended.record.identifier).unwrap();
            assert!(tracked.unwrap().borrow().is_final());
        });
    }
    let mut settled = 0;
    let mut failed_once = HashSet::new();
    while settled < PAYMENTS {
        let htlc = fixture.htlc().await;
        let amount = htlc.amount_msat();
        // Every third one fails first.
        if amount.is_multiple_of(3) && failed_once.insert(amount) {
            fixture.fail(&htlc, false, Some(22));
        } else {
            fixture.settle(&htlc);
            settled += 1;
        }
    }
    while let Some(ended) = followers.join_next().await {
        ended.unwrap();
    }
    assert!(fixture.is_empty());
}

/// Its only record is the preimage; everything else is as for any other payment.
#[tokio::test]
async fn keysend_sends_one_htlc_without_payment_address() {
    let record = (5_482_373_484, vec![7; 32]);
    let mut fixture = Fixture::new([]);
    let mut payment = amp(100);
    payment.custom_records = [record.clone()].into();
    payment.method = Method::Hash {
        payment_hash: PaymentPreimage([7; 32]).into(),
        payment_addr: None,
        multi_part: false,
    };
    let mut views = fixture.payments.send(payment).await.unwrap();
    let htlc = fixture.htlc().await;
    assert_eq!(fixture.asked()[0].open.parts, 1);
    assert_eq!(htlc.hash, PaymentPreimage([7; 32]).into());
    assert_eq!(htlc.onion.payment_secret, None);
    assert_eq!(htlc.onion.custom_tlvs(), &vec![record]);
    fixture.settle(&htlc);
    let ended = end(&mut views).await;
    assert_eq!(ended.record.identifier, htlc.hash.0);
    let terms = stored(&fixture.payments, &ended).record.terms;
    assert_eq!((terms.payment_addr, terms.max_parts), (None, 1));
}

/// A node fails every HTLC at once.
#[tokio::test]
async fn failing_payments_back_off() {
    let mut fixture = Fixture::new([]);
    let mut payment = amp(100);
    payment.limits.timeout_seconds = 3;
    let mut views = fixture.payments.send(payment).await.unwrap();
    let mut attempts = 0;
    loop {
        tokio::select! {
            htlc = fixture.sent.recv() => {
                attempts += 1;
                fixture.fail(&htlc.unwrap(), false, None);
            }
            _ = end(&mut views) => break,
        }
    }
    let reason = views.borrow().record.failure_reason;
    assert_eq!(reason, FailureReason::Timeout);
    // Thirty-three without delay, then one every half second.
    assert!((2..=40).contains(&attempts), "{attempts}");
}
