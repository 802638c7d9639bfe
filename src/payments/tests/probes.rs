//! Probes always fail; the kind of failure is the result.

use tokio::task::JoinHandle;

use super::*;
use crate::payments::probe::{Probe, ProbeEnd};
use crate::routing::query::BLOCK_PADDING;
use ldk_amp::PaymentAddr;

fn probe(amount_msat: u64) -> Probe {
    Probe {
        destination: key(3),
        amount_msat,
        payment_addr: PaymentAddr::from_bytes([1; 32]),
        metadata: None,
        route_hints: Vec::new(),
        final_cltv_delta: 40,
        fee_limit_msat: 100,
        outgoing_channels: Vec::new(),
        timeout: Duration::from_secs(20),
    }
}

impl Fixture {
    fn probe(&self, probe: Probe) -> JoinHandle<Result<ProbeEnd, SendError>> {
        let payments = self.payments.clone();
        tokio::spawn(async move { payments.probe(probe).await })
    }
}

#[tokio::test]
async fn probe_reaching_the_receiver_returns_the_route() {
    let mut fixture = Fixture::new([Ok(vec![(100, 7)])]);
    let call = fixture.probe(probe(100));
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, true, None);
    let ProbeEnd::Reached(route) = call.await.unwrap().unwrap() else {
        panic!("expected to reach the receiver");
    };
    assert_eq!(route.iter().map(|hop| hop.fee_msat).sum::<u64>(), 7);
    assert_eq!(
        route[0].expiry + route[0].cltv_delta,
        1_000 + 80 + 40 + BLOCK_PADDING
    );
    // No payment is stored, and no state is kept.
    fixture.payments.store.flush();
    assert_eq!(fixture.payments.count().unwrap(), 0);
    assert!(fixture.is_empty());
}

#[tokio::test]
async fn probes_use_fresh_hashes_and_avoid_failed_channels() {
    let mut fixture = Fixture::new([Ok(vec![(100, 1)]), Ok(vec![(100, 2)])]);
    let call = fixture.probe(probe(100));
    let first = fixture.htlc().await;
    fixture.fail(&first, false, Some(22));
    let second = fixture.htlc().await;
    assert_ne!(first.hash, second.hash);
    fixture.fail(&second, true, None);
    assert!(matches!(call.await.unwrap(), Ok(ProbeEnd::Reached(_))));
    let failed: Vec<_> = fixture
        .asked()
        .into_iter()
        .map(|a| a.failed_channels)
        .collect();
    assert_eq!(failed, [vec![], vec![22]]);
}

#[tokio::test]
async fn returns_the_failure_reason() {
    for (answer, reason) in [
        (
            Err(NoPaths::For(FailureReason::NoRoute)),
            FailureReason::NoRoute,
        ),
        (
            Err(NoPaths::For(FailureReason::InsufficientBalance)),
            FailureReason::InsufficientBalance,
        ),
        // Only one part can be probed.
        (Ok(vec![(50, 0), (50, 0)]), FailureReason::NoRoute),
    ] {
        let fixture = Fixture::new([answer]);
        let end = fixture.payments.probe(probe(100)).await.unwrap();
        assert_eq!(end, ProbeEnd::Failed(reason));
    }
    let mut fixture = Fixture::new([]);
    let call = fixture.probe(probe(100));
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, false, None);
    let end = call.await.unwrap().unwrap();
    assert_eq!(end, ProbeEnd::Failed(FailureReason::Error));
}

#[tokio::test]
async fn stops_waiting_at_the_timeout() {
    let mut fixture = Fixture::new([]);
    let mut held_up = probe(100);
    held_up.timeout = Duration::ZERO;
    let end = fixture.payments.probe(held_up).await.unwrap();
    assert_eq!(end, ProbeEnd::Failed(FailureReason::Timeout));
    // Its failure is ignored.
    let htlc = fixture.htlc().await;
    fixture.fail(&htlc, true, None);
}

#[tokio::test]
async fn rejects_invalid_requests() {
    let fixture = Fixture::new([]);
    let nothing = fixture.payments.probe(probe(0)).await;
    assert!(matches!(nothing, Err(SendError::NoAmount)));
    let mut to_us = probe(100);
    to_us.destination = key(1);
    let to_us = fixture.payments.probe(to_us).await;
    assert!(matches!(to_us, Err(SendError::SelfPayment)));
}
