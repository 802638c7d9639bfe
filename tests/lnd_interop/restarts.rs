//! Either side restarts while the receiver holds half of a set; then the other half completes it.

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{HtlcAttempt, Payment, PaymentFailureReason};
use lnd_api::proto::routerrpc::TrackPaymentRequest;
use regtest::api::amp_to;
use regtest::manual_amp::{Set, Shard};
use regtest::network::Network;
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::trials;
use regtest::wait::wait_for;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

use crate::SETTLE_LIMIT;
use crate::manual_shards::two_shards;
use crate::scene::{Scene, row};

const SHARD_MSAT: i64 = 30_000_000;
const LATER_MSAT: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Stop,
}

pub(crate) fn trials() -> trials::Trials {
    trials![
        half_a_set_from_lnd_survives_restarts,
        half_a_set_from_ampd_survives_restarts,
    ]
}

async fn half_a_set_from_lnd_survives_restarts() -> Result<()> {
    survives_restarts(Lnd, Ampd).await
}

async fn half_a_set_from_ampd_survives_restarts() -> Result<()> {
    survives_restarts(Ampd, Lnd).await
}

async fn survives_restarts(payer: Software, payee: Software) -> Result<()> {
    let nodes = [("payer", payer), ("payee", payee), ("helper", Ampd)];
    let mut network = row(&nodes).await?;
    for who in ["payee", "payer"] {
        for end in [End::Kill, End::Stop] {
            let settled = is_settled_after(&mut network, who, end).await;
            settled.with_context(|| format!("{end:?} of the {who}"))?;
        }
    }
    network.finish();
    Ok(())
}

async fn is_settled_after(network: &mut Network, who: &str, end: End) -> Result<()> {
    let half = Half::held(scene(network)).await?;
    restart(network, who, end).await?;

    let scene = scene(network);
    let sent = if who == "payer" && network[who].software() == Lnd {
        half.cannot_be_completed_by_lnd(scene).await?;
        half.is_completed_by(Scene::new(network, "helper", &["payee"]))
            .await?;
        1
    } else {
        half.is_completed_by(scene).await?;
        2
    };
    let payment = tracked(scene, &half.set).await?;
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    let arrived = payment.htlcs.iter().map(|attempt| &attempt.preimage);
    let shards = half.set.shards.iter().map(|shard| &shard.preimage[..]);
    ensure!(arrived.eq(shards.take(sent)), "{payment:?}");
    // Nobody waits for the response to a payer that was stopped.
    if who == "payee" {
        is_settled(&half.first.await??, &half.set.shards[0]);
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    Ok(())
}

fn scene(network: &Network) -> Scene<'_> {
    Scene::new(network, "payer", &["payee"])
}

async fn restart(network: &mut Network, who: &str, end: End) -> Result<()> {
    match end {
        End::Kill => network[who].kill()?,
        End::Stop => {
            let status = network[who].stop().await?;
            ensure!(status.success(), "{who} exited with {status}");
        }
    }
    network.restart(&[who]).await?;
    network.wait_usable().await
}

/// A set whose first shard is held by the payee.
struct Half {
    set: Set,
    first: JoinHandle<Result<HtlcAttempt, Status>>,
}

impl Half {
    async fn held(scene: Scene<'_>) -> Result<Self> {
        let invoice = scene.amp_invoice(2 * SHARD_MSAT).await?;
        let set = two_shards(&invoice, SHARD_MSAT)?;
        let request = set.request(0, scene.known_route(SHARD_MSAT).await?)?;
        let payer = scene.payer()?;
        let first = tokio::spawn(async move { payer.send_to_route(request).await });
        scene.wait_held(&set, 1).await?;
        // If lnd dies before its channel has recorded that the HTLC was processed, it treats the HTLC as a
        // replay and fails it (docs/lnd-compatibility.md). Later HTLCs are processed after that.
        let later = amp_to(scene.payee_key(), LATER_MSAT)?;
        scene.network.pay(scene.payer, &later).await?;
        Ok(Self { set, first })
    }

    async fn is_completed_by(&self, scene: Scene<'_>) -> Result<()> {
        let request = self.set.request(1, scene.known_route(SHARD_MSAT).await?)?;
        let second = scene.payer()?.send_to_route(request).await?;
        is_settled(&second, &self.set.shards[1]);
        Ok(())
    }

    /// A restarted lnd waits for shards in flight, but already considers their payment failed, because it no
    /// longer knows the root.
    async fn cannot_be_completed_by_lnd(&self, scene: Scene<'_>) -> Result<()> {
        wait_for("lnd to give up", SETTLE_LIMIT, async || {
            let payments = scene.payer()?.payments(0).await?.payments;
            let set_id = self.set.set_id.to_lower_hex_string();
            let mut payments = payments.into_iter();
            let payment = payments.find(|payment| payment.payment_hash == set_id);
            let payment = payment.context("lnd does not list the payment")?;
            assert_eq!(payment.status(), PaymentStatus::InFlight);
            let why = payment.failure_reason();
            ensure!(
                why == PaymentFailureReason::FailureReasonNoRoute,
                "the failure reason is {why:?}"
            );
            Ok(())
        })
        .await?;
        let request = self.set.request(1, scene.route(SHARD_MSAT).await?)?;
        let refused = scene.payer()?.send_to_route(request).await;
        let refused = refused.expect_err("lnd accepted another shard for a failed payment");
        assert_eq!(refused.message(), "payment has failure reason");
        Ok(())
    }
}

fn is_settled(attempt: &HtlcAttempt, shard: &Shard) {
    assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
    assert_eq!(attempt.preimage, shard.preimage);
}

/// The final state of the payment as reported by the payer.
async fn tracked(scene: Scene<'_>, set: &Set) -> Result<Payment> {
    let request = TrackPaymentRequest {
        payment_hash: set.set_id.to_vec(),
        no_inflight_updates: true,
    };
    let updates = scene.payer()?.router.track_payment_v2(request).await?;
    let end = timeout(SETTLE_LIMIT, updates.into_inner().message()).await;
    end.context("timed out waiting for the final state")??
        .context("the stream has ended")
}
