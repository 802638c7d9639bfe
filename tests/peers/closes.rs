//! Cooperative and forced closes by either end: each end gets what it is owed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::channel_close_summary::ClosureType;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{ChannelCloseSummary, CloseChannelRequest, Payment};
use regtest::channel_point::parse_point;
use regtest::network::Network;
use regtest::node::Software;
use regtest::wait::wait_for;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

use crate::scene::{ALICE, BOB, Hold, PEER, half, in_the_middle, neighbours, peer};
use crate::{SETTLE_LIMIT, with_both};

/// Far more than the fees of all transactions of a close.
const HELD_MSAT: u64 = 500_000_000;
const MAX_FEES_SAT: u64 = 100_000;
/// For some 300 blocks with Core Lightning, 800 with Eclair.
const SWEEP_LIMIT: Duration = Duration::from_secs(300);
const BLOCKS_PER_STEP: u32 = 18;
/// Fewer blocks at a time while the peer can still claim an HTLC on chain.
const BLOCKS_UNTIL_CLAIMED: u32 = 6;
const CONFIRMATIONS: u32 = 6;

with_both!(
    either_end_can_close_cooperatively,
    payment_succeeds_after_a_forced_close_by_the_peer,
    payment_completes_after_a_forced_close_by_ampd,
    canceled_payment_is_refunded_after_a_forced_close,
);

async fn either_end_can_close_cooperatively(software: Software) -> Result<()> {
    let network = neighbours(software).await?;
    let points = network
        .open(&[half(ALICE, PEER), half(PEER, ALICE)])
        .await?;
    // Each end closes one channel that it opened and one that the other end opened.
    let all = network[ALICE].api()?.channels().await?;
    let mine = all.iter().filter(|channel| channel.initiator);
    let theirs = all.iter().filter(|channel| !channel.initiator);
    ensure!(points.len() == 2 && all.len() == 4, "{all:?}");
    let closes = mine.zip(theirs).enumerate().flat_map(|(number, pair)| {
        let closer = if number == 0 { ALICE } else { PEER };
        [(closer, pair.0), (closer, pair.1)]
    });
    for (closer, channel) in closes {
        let point = &channel.channel_point;
        if closer == ALICE {
            let fee = network.close_for(ALICE, point, 0).await?;
            ensure!(fee.sat > 0, "the closing fee is {fee:?}");
        } else {
            peer(&network)?.close(point).await?;
            wait_for_mempool(&network).await?;
        }
        network.mine(CONFIRMATIONS).await?;
        let closed = closed(&network, ALICE, point).await?;
        assert_eq!(closed.close_type(), ClosureType::CooperativeClose);
        ensure!(
            closed.settled_balance.abs_diff(channel.local_balance) < MAX_FEES_SAT,
            "{} sat became {closed:?}",
            channel.local_balance
        );
    }
    ensure!(network[ALICE].api()?.channels().await?.is_empty());
    network.finish();
    Ok(())
}

async fn payment_succeeds_after_a_forced_close_by_the_peer(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    let under_way = HeldPayment::start(&network).await?;
    peer(&network)?.force_close(&under_way.point).await?;
    wait_for_mempool(&network).await?;
    network.mine(1).await?;
    under_way.hold.settle(&network, BOB).await?;
    // The peer claims the HTLC on chain, from which Alice learns the preimage.
    let payment = under_way.end(&network, 1, SETTLE_LIMIT).await?;
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    network
        .mine_until_swept(BLOCKS_PER_STEP, SWEEP_LIMIT)
        .await?;
    network.finish();
    Ok(())
}

/// The peer claims the HTLC with the preimage, or pays too low a fee to confirm the claim: the HTLC is
/// then refunded to Alice when it expires.
async fn payment_completes_after_a_forced_close_by_ampd(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    let before = all_sat(&network, ALICE).await?;
    let under_way = HeldPayment::start(&network).await?;
    force(&network, &under_way.point).await?;
    network.mine(1).await?;
    under_way.hold.settle(&network, BOB).await?;
    let payment = under_way
        .end(&network, BLOCKS_UNTIL_CLAIMED, SWEEP_LIMIT)
        .await?;
    network
        .mine_until_swept(BLOCKS_PER_STEP, SWEEP_LIMIT)
        .await?;
    let paid_sat = match payment.status() {
        PaymentStatus::Succeeded => u64::try_from(payment.value_msat + payment.fee_msat)? / 1_000,
        _ => 0,
    };
    if software == Software::Eclair {
        assert_ne!(paid_sat, 0);
    }
    let after = all_sat(&network, ALICE).await?;
    ensure!(
        before - paid_sat - after <= MAX_FEES_SAT,
        "{before} sat less {paid_sat} became {after}"
    );
    network.finish();
    Ok(())
}

async fn canceled_payment_is_refunded_after_a_forced_close(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    let before = all_sat(&network, ALICE).await?;
    let under_way = HeldPayment::start(&network).await?;
    peer(&network)?.force_close(&under_way.point).await?;
    wait_for_mempool(&network).await?;
    network.mine(1).await?;
    under_way.hold.cancel(&network, BOB).await?;
    // The HTLC is refunded after it expires, some 250 blocks later.
    let payment = under_way
        .end(&network, BLOCKS_PER_STEP, SWEEP_LIMIT)
        .await?;
    assert_eq!(payment.status(), PaymentStatus::Failed);
    network
        .mine_until_swept(BLOCKS_PER_STEP, SWEEP_LIMIT)
        .await?;
    let after = all_sat(&network, ALICE).await?;
    ensure!(
        before - after <= MAX_FEES_SAT,
        "{before} sat became {after}"
    );
    network.finish();
    Ok(())
}

/// A payment of Alice that Bob holds.
struct HeldPayment {
    hold: Hold,
    /// Alice's channel that holds the HTLC.
    point: String,
    paying: JoinHandle<Result<Payment, Status>>,
}

impl HeldPayment {
    async fn start(network: &Network) -> Result<Self> {
        let hold = Hold::new(network, BOB, HELD_MSAT).await?;
        let (api, mut request) = (network[ALICE].api()?, hold.request());
        request.max_parts = 1;
        let paying = tokio::spawn(async move { api.pay(request).await });
        hold.is_accepted(network, BOB).await?;
        let channels = network[ALICE].api()?.channels().await?;
        let mut channels = channels.into_iter();
        let taken = channels.find(|channel| !channel.pending_htlcs.is_empty());
        Ok(Self {
            hold,
            point: taken.context("no channel has the HTLC")?.channel_point,
            paying,
        })
    }

    /// Mines `blocks` blocks at a time until the payment has completed.
    async fn end(self, network: &Network, blocks: u32, limit: Duration) -> Result<Payment> {
        let mut paying = self.paying;
        let end = async {
            loop {
                tokio::select! {
                    payment = &mut paying => return anyhow::Ok(payment??),
                    () = tokio::time::sleep(Duration::from_millis(500)) => network.mine(blocks).await?,
                }
            }
        };
        timeout(limit, end)
            .await
            .context("the payment did not complete")?
    }
}

async fn force(network: &Network, point: &str) -> Result<()> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        force: true,
        ..Default::default()
    };
    let mut lightning = network[ALICE].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    updates
        .message()
        .await?
        .context("the node sent no update")?;
    wait_for_mempool(network).await
}

async fn wait_for_mempool(network: &Network) -> Result<()> {
    wait_for("a transaction in the mempool", SETTLE_LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(!mempool.is_empty(), "the mempool is empty");
        Ok(())
    })
    .await
}

async fn closed(network: &Network, name: &str, point: &str) -> Result<ChannelCloseSummary> {
    let what = format!("{name} to list the channel as closed");
    wait_for(&what, SETTLE_LIMIT, async || {
        let closed = network[name].api()?.closed().await?.channels;
        let mut closed = closed.into_iter();
        let found = closed.find(|closed| closed.channel_point == point);
        found.context("the channel is not listed as closed")
    })
    .await
}

/// Total of the wallet and open channels.
async fn all_sat(network: &Network, name: &str) -> Result<u64> {
    let api = network[name].api()?;
    let wallet = u64::try_from(api.wallet().await?.total_balance)?;
    Ok(wallet + api.local_msat().await? / 1_000)
}
