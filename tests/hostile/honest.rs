//! Sequential honest payments from Alice through the victim to Bob.

use std::time::{Duration, Instant};

use anyhow::Result;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::amp_to;
use regtest::network::Network;

const MSAT: u64 = 10_000;

/// Results of payments during a period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payments {
    pub failed: u32,
    pub longest: Duration,
    pub per_second: f64,
}

/// Pays for this long. The last payment may take longer and is included.
pub(crate) async fn pay(network: &Network, duration: Duration) -> Result<Payments> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].key());
    let (mut succeeded, mut failed, mut longest) = (0, 0, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed() < duration {
        let begun = Instant::now();
        let payment = alice.pay(amp_to(bob, MSAT)?).await?;
        longest = longest.max(begun.elapsed());
        match payment.status() {
            PaymentStatus::Succeeded => succeeded += 1,
            _ => failed += 1,
        }
    }
    Ok(Payments {
        failed,
        longest,
        per_second: f64::from(succeeded) / start.elapsed().as_secs_f64(),
    })
}
