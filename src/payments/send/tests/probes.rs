//! Probes always fail; the kind of failure is the result.

use tokio::task::JoinHandle;

use super::*;
use crate::amp::PaymentAddr;
use crate::payments::probe::{Probe, ProbeEnd};
use crate::routing::query::BLOCK_PADDING;

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

impl House {
    fn probe(&self, probe: Probe) -> JoinHandle<Result<ProbeEnd, SendError>> {
        let payments = self.payments.clone();
        tokio::spawn(async move { payments.probe(probe).await })
    }
}

#[tokio::test]
async fn probe_reaching_the_receiver_returns_the_route() {
    let mut house = House::new([Ok(vec![(100, 7)])]);
    let call = house.probe(probe(100));
    let htlc = house.htlc().await;
    house.fail(&htlc, true, None);
    let ProbeEnd::Reached(route) = call.await.unwrap().unwrap() else {
        panic!("expected to reach the receiver");
    };
    assert_eq!(route.iter().map(|hop| hop.fee_msat).sum::<u64>(), 7);
    assert_eq!(
        route[0].expiry + route[0].cltv_delta,
        1_000 + 80 + 40 + BLOCK_PADDING
    );
    // No payment is stored, and no state is kept.
    house.payments.store.flush();
    assert_eq!(house.payments.count().unwrap(), 0);
    assert!(house.is_empty());
}

#[tokio::test]
async fn probes_use_fresh_hashes_and_avoid_failed_channels() {
    let mut house = House::new([Ok(vec![(100, 1)]), Ok(vec![(100, 2)])]);
    let call = house.probe(probe(100));
    let first = house.htlc().await;
    house.fail(&first, false, Some(22));
    let second = house.htlc().await;
    assert_ne!(first.hash, second.hash);
    house.fail(&second, true, None);
    assert!(matches!(call.await.unwrap(), Ok(ProbeEnd::Reached(_))));
    let failed: Vec<_> = house
        .asked()
        .into_iter()
        .map(|a| a.failed_channels)
        .collect();
    assert_eq!(failed, [vec![], vec![22]]);
}

#[tokio::test]
async fn returns_the_failure_reason() {
    for (answer, reason) in [
        (Err(FailureReason::NoRoute), FailureReason::NoRoute),
        (
            Err(FailureReason::InsufficientBalance),
            FailureReason::InsufficientBalance,
        ),
        // Only one part can be probed.
        (Ok(vec![(50, 0), (50, 0)]), FailureReason::NoRoute),
    ] {
        let house = House::new([answer]);
        let end = house.payments.probe(probe(100)).await.unwrap();
        assert_eq!(end, ProbeEnd::Failed(reason));
    }
    let mut house = House::new([]);
    let call = house.probe(probe(100));
    let htlc = house.htlc().await;
    house.fail(&htlc, false, None);
    let end = call.await.unwrap().unwrap();
    assert_eq!(end, ProbeEnd::Failed(FailureReason::Error));
}

#[tokio::test]
async fn stops_waiting_at_the_timeout() {
    let mut house = House::new([]);
    let mut held_up = probe(100);
    held_up.timeout = Duration::ZERO;
    let end = house.payments.probe(held_up).await.unwrap();
    assert_eq!(end, ProbeEnd::Failed(FailureReason::Timeout));
    // Its failure is ignored.
    let htlc = house.htlc().await;
    house.fail(&htlc, true, None);
}

#[tokio::test]
async fn nonsense_is_refused() {
    let house = House::new([]);
    let nothing = house.payments.probe(probe(0)).await;
    assert!(matches!(nothing, Err(SendError::NoAmount)));
    let mut to_us = probe(100);
    to_us.destination = key(1);
    let to_us = house.payments.probe(to_us).await;
    assert!(matches!(to_us, Err(SendError::SelfPayment)));
}
