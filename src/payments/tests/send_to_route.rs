//! `SendToRoute`: each call sends one HTLC and returns its result.

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use tokio::task::JoinHandle;

use super::*;
use crate::payments::send_to_route::{EndedAttempt, RouteAttempt};
use crate::payments::{GivenHop, GivenRoute, SendToRouteError};
use ldk_amp::{AmpRecord, MppRecord, PaymentAddr, SetId, Share};

type Answering = JoinHandle<Result<EndedAttempt, SendToRouteError>>;

const SET: [u8; 32] = [9; 32];

fn route(amount_msat: u64) -> GivenRoute {
    let hop = |n, scid| GivenHop {
        node: key(n),
        scid,
        forward_msat: amount_msat,
        expiry: 1_100,
    };
    GivenRoute {
        total_msat: amount_msat + 5,
        total_time_lock: 1_180,
        hops: vec![hop(2, 11), hop(3, 22)],
    }
}

/// A shard of an AMP payment of 100 msat.
fn shard(index: u32, amount_msat: u64) -> RouteAttempt {
    RouteAttempt {
        payment_hash: PaymentHash([index as u8; 32]),
        route: route(amount_msat),
        mpp: Some(MppRecord {
            payment_addr: PaymentAddr::from_bytes([8; 32]),
            total_msat: 100,
        }),
        amp: Some(AmpRecord {
            share: Share::from_bytes([3; 32]),
            set_id: SetId::from_bytes(SET),
            child_index: index,
        }),
        metadata: None,
        custom_records: [(65_536, vec![index as u8])].into(),
        skip_temp_err: false,
    }
}

fn forgiving(shard: RouteAttempt) -> RouteAttempt {
    RouteAttempt {
        skip_temp_err: true,
        ..shard
    }
}

impl Fixture {
    fn send_to_route(&self, attempt: RouteAttempt) -> Answering {
        let payments = self.payments.clone();
        tokio::spawn(async move { payments.send_to_route(attempt).await })
    }

    async fn refused(&self, attempt: RouteAttempt) -> String {
        let refused = self.payments.send_to_route(attempt).await;
        refused.err().unwrap().to_string()
    }

    /// The stored state of the payment.
    fn state(&self) -> PaymentState {
        self.payments.store.payment(&SET).unwrap().unwrap().state
    }
}

async fn ended(answering: Answering) -> EndedAttempt {
    let ended = tokio::time::timeout(Duration::from_secs(20), answering);
    ended.await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn shards_of_several_calls_form_one_payment() {
    let mut fixture = Fixture::new([]);
    let calls: Vec<_> = [(0, 40), (1, 30), (2, 30)]
        .map(|(index, amount)| fixture.send_to_route(shard(index, amount)))
        .into_iter()
        .collect();
    let htlcs = fixture.htlcs(3).await;
    htlcs.iter().for_each(|htlc| fixture.settle(htlc));
    for (index, call) in calls.into_iter().enumerate() {
        let end = ended(call).await;
        assert_eq!(end.attempt.payment_hash, PaymentHash([index as u8; 32]));
        assert_eq!(
            end.attempt.preimage,
            Some(PaymentPreimage([!(index as u8); 32]))
        );
        assert_eq!(end.attempt.shard.unwrap().1, index as u32);
        let last = end.attempt.route.last().unwrap();
        assert_eq!(last.custom_records[&65_536], [index as u8]);
        assert_eq!(end.payment.identifier, SET);
    }
    // The last call returned once everything was on disk.
    let view = fixture.payments.track(&SET).unwrap().unwrap();
    let view = view.borrow().clone();
    assert_eq!(view.record.state, PaymentState::Succeeded);
    assert_eq!(stored(&fixture.payments, &view).attempts.len(), 3);
    assert!(fixture.is_empty() && fixture.asked().is_empty());
    assert_eq!(
        fixture.refused(shard(3, 1)).await,
        "invoice is already paid"
    );
    assert!(fixture.nothing_more_is_sent());
}

#[tokio::test]
async fn sends_over_the_given_path() {
    let mut fixture = Fixture::new([]);
    let call = fixture.send_to_route(shard(0, 100));
    let htlc = fixture.htlc().await;
    assert_eq!(htlc.hash, PaymentHash([0; 32]));
    let hops = htlc.path.hops.iter();
    let hops: Vec<_> = hops
        .map(|h| (h.pubkey, h.short_channel_id, h.fee_msat))
        .collect();
    assert_eq!(hops, [(key(2), 11, 5), (key(3), 22, 100)]);
    fixture.settle(&htlc);
    ended(call).await;
}

#[tokio::test]
async fn rejects_total_mismatch_and_overpayment() {
    let mut fixture = Fixture::new([]);
    let call = fixture.send_to_route(shard(0, 60));
    let htlc = fixture.htlc().await;
    let too_much = fixture.refused(shard(1, 41)).await;
    assert_eq!(too_much, "attempted value exceeds payment amount");
    let mut other_total = shard(1, 40);
    other_total.mpp.as_mut().unwrap().total_msat = 101;
    let other_total = fixture.refused(other_total).await;
    assert_eq!(other_total, "mp payment total amount mismatch");
    let mut ordinary = shard(1, 40);
    ordinary.amp = None;
    ordinary.mpp = None;
    ordinary.payment_hash = PaymentHash(SET);
    assert_eq!(fixture.refused(ordinary).await, "payment has MPP attempts");
    let twice = fixture.payments.send(bolt11(9)).await;
    assert!(matches!(twice, Err(SendError::InFlight)));
    assert!(fixture.nothing_more_is_sent());
    fixture.settle(&htlc);
    ended(call).await;
}

#[tokio::test]
async fn invalid_attempts_store_nothing() {
    let mut fixture = Fixture::new([]);
    let mut without_address = shard(0, 100);
    without_address.mpp = None;
    let mut foreign_channel = shard(0, 100);
    foreign_channel.route.hops[0].scid = 12;
    let mut other_peer = shard(0, 100);
    other_peer.route.hops[0].node = key(3);
    let mut reserved = shard(0, 100);
    reserved.custom_records = [(65_535, vec![])].into();
    let mut over = shard(0, 100);
    over.route.hops[1].expiry = 1_000;
    over.route.hops[0].expiry = 1_000;
    for (attempt, text) in [
        (without_address, "cannot send AMP without MPP record"),
        (foreign_channel, "channel 12 is not a usable channel"),
        (other_peer, "channel 11 is not a usable channel"),
        (reserved, "custom record 65535 is not allowed"),
        (shard(0, 101), "attempted value exceeds payment amount"),
        (over, "expiry 1000 of the last hop is too soon"),
    ] {
        let refused = fixture.refused(attempt).await;
        assert!(refused.starts_with(text), "{refused}");
    }
    fixture.payments.store.flush();
    assert!(fixture.payments.store.payment(&SET).unwrap().is_none());
    assert!(fixture.nothing_more_is_sent() && fixture.is_empty());
}

#[tokio::test]
async fn failures_end_the_payment_unless_skipped() {
    let mut fixture = Fixture::new([]);
    let call = fixture.send_to_route(forgiving(shard(0, 100)));
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, false, Some(22));
    let end = ended(call).await;
    assert_eq!(end.attempt.state, AttemptState::Failed);
    assert_eq!(end.attempt.failure.unwrap().source_index, 1);
    assert_eq!(fixture.state(), PaymentState::InFlight);

    let call = fixture.send_to_route(shard(1, 100));
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, false, Some(22));
    assert_eq!(ended(call).await.attempt.state, AttemptState::Failed);
    assert_eq!(fixture.state(), PaymentState::Failed);

    // A failed payment can be started again.
    let call = fixture.send_to_route(shard(2, 100));
    let htlc = fixture.htlc().await;
    fixture.settle(&htlc);
    let end = ended(call).await;
    assert_eq!(end.payment.state, PaymentState::Succeeded);
    assert_eq!(fixture.state(), PaymentState::Succeeded);
    assert!(fixture.is_empty());
}

#[tokio::test]
async fn receiver_failure_ends_it_even_if_skipped() {
    let mut fixture = Fixture::new([]);
    let calls = [
        fixture.send_to_route(forgiving(shard(0, 60))),
        fixture.send_to_route(forgiving(shard(1, 40))),
    ];
    for htlc in fixture.htlcs(2).await {
        fixture.fail(&htlc, true, None);
    }
    for call in calls {
        assert!(ended(call).await.attempt.failure.unwrap().by_receiver);
    }
    assert_eq!(fixture.state(), PaymentState::Failed);
}

#[tokio::test]
async fn unsent_attempts_fail_at_this_node() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(directory, [], Vec::new(), true);
    let end = ended(fixture.send_to_route(shard(0, 100))).await;
    assert_eq!(end.attempt.state, AttemptState::Failed);
    assert_eq!(end.attempt.failure.unwrap().source_index, 0);
    assert_eq!(fixture.state(), PaymentState::Failed);
}

#[tokio::test]
async fn payments_without_address_have_one_attempt_at_a_time() {
    let mut fixture = Fixture::new([]);
    let whole = || RouteAttempt {
        payment_hash: PaymentHash(SET),
        mpp: None,
        amp: None,
        ..shard(0, 100)
    };
    let call = fixture.send_to_route(whole());
    let htlc = fixture.htlc().await;
    assert_eq!(fixture.refused(whole()).await, "payment is in transition");
    fixture.settle(&htlc);
    assert_eq!(ended(call).await.payment.terms.payment_addr, None);
    assert_eq!(fixture.refused(whole()).await, "invoice is already paid");
}

#[tokio::test]
async fn attempts_survive_a_restart_unless_never_sent() {
    for (known, state) in [
        (true, PaymentState::Succeeded),
        (false, PaymentState::Failed),
    ] {
        let mut fixture = Fixture::new([]);
        let mut attempt = shard(0, 100);
        // Also without a payment address: nothing else is derived from the row.
        attempt.mpp = None;
        attempt.amp = None;
        attempt.payment_hash = PaymentHash(SET);
        let call = fixture.send_to_route(attempt);
        let htlc = fixture.htlc().await;
        call.abort();
        let left: Vec<&Htlc> = known.then_some(&htlc).into_iter().collect();
        let mut fixture = fixture.restart(&left, []);
        let mut views = fixture.payments.track(&SET).unwrap().unwrap();
        if known {
            fixture.settle(&htlc);
        }
        assert_eq!(end(&mut views).await.record.state, state);
        assert!(fixture.nothing_more_is_sent() && fixture.asked().is_empty());
    }
}
