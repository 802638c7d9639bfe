//! Closes, cooperative and forced, by either end: who is owed what gets it.

use std::time::Duration;

use lnd_api::proto::lnrpc::channel_close_summary::ClosureType;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{ChannelCloseSummary, CloseChannelRequest, Payment};
use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::network::channels::parse_point;
use regtest::node::Software;
use regtest::wait::wait_for;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

use crate::scene::{ALICE, BOB, Hold, PEER, half, in_the_middle, neighbours, peer};
use crate::{SETTLE_LIMIT, with_both};

/// Far more than all transactions of a close cost.
const HELD_MSAT: u64 = 500_000_000;
const MOST_FEES_SAT: u64 = 100_000;
/// Some 300 blocks with Core Lightning, 800 with Eclair.
const SWEEP_LIMIT: Duration = Duration::from_secs(300);
const BLOCKS_AT_ONCE: u32 = 18;
/// While the peer may still claim an HTLC on the chain.
const BLOCKS_UNTIL_CLAIMED: u32 = 6;
const CONFIRMATIONS: u32 = 6;

with_both!(
    cooperative_closes_of_either_end,
    the_peer_forces_and_the_payment_succeeds,
    ampd_forces_and_the_payment_ends,
    a_canceled_payment_comes_back_after_a_forced_close,
);

async fn cooperative_closes_of_either_end(software: Software) -> Result<()> {
    let network = neighbours(software).await?;
    let points = network
        .open(&[half(ALICE, PEER), half(PEER, ALICE)])
        .await?;
    // Each end closes a channel that it opened, and one that the other end opened.
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
            ensure!(fee.sat > 0, "it pays {fee:?}");
        } else {
            peer(&network)?.close(point).await?;
            wait_for_mempool(&network).await?;
        }
        network.mine(CONFIRMATIONS).await?;
        let closed = closed(&network, ALICE, point).await?;
        assert_eq!(closed.close_type(), ClosureType::CooperativeClose);
        ensure!(
            closed.settled_balance.abs_diff(channel.local_balance) < MOST_FEES_SAT,
            "{} sat became {closed:?}",
            channel.local_balance
        );
    }
    ensure!(network[ALICE].api()?.channels().await?.is_empty());
    network.finish();
    Ok(())
}

async fn the_peer_forces_and_the_payment_succeeds(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    let under_way = UnderWay::start(&network).await?;
    peer(&network)?.force_close(&under_way.point).await?;
    wait_for_mempool(&network).await?;
    network.mine(1).await?;
    under_way.hold.settle(&network, BOB).await?;
    // The peer claims the HTLC on the chain, where Alice finds the preimage.
    let payment = under_way.end(&network, 1, SETTLE_LIMIT).await?;
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    network
        .mine_until_swept(BLOCKS_AT_ONCE, SWEEP_LIMIT)
        .await?;
    network.finish();
    Ok(())
}

/// The peer claims the HTLC with the preimage, or is too stingy to get it into a block: then it comes
/// back to Alice when it expires.
async fn ampd_forces_and_the_payment_ends(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    let before = all_sat(&network, ALICE).await?;
    let under_way = UnderWay::start(&network).await?;
    force(&network, &under_way.point).await?;
    network.mine(1).await?;
    under_way.hold.settle(&network, BOB).await?;
    let payment = under_way
        .end(&network, BLOCKS_UNTIL_CLAIMED, SWEEP_LIMIT)
        .await?;
    network
        .mine_until_swept(BLOCKS_AT_ONCE, SWEEP_LIMIT)
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
        before - paid_sat - after <= MOST_FEES_SAT,
        "{before} sat less {paid_sat} became {after}"
    );
    network.finish();
    Ok(())
}

async fn a_canceled_payment_comes_back_after_a_forced_close(software: Software) -> Result<()> {
    let network = in_the_middle(software).await?;
    let before = all_sat(&network, ALICE).await?;
    let under_way = UnderWay::start(&network).await?;
    peer(&network)?.force_close(&under_way.point).await?;
    wait_for_mempool(&network).await?;
    network.mine(1).await?;
    under_way.hold.cancel(&network, BOB).await?;
    // The HTLC comes back when it has expired, some 250 blocks later.
    let payment = under_way.end(&network, BLOCKS_AT_ONCE, SWEEP_LIMIT).await?;
    assert_eq!(payment.status(), PaymentStatus::Failed);
    network
        .mine_until_swept(BLOCKS_AT_ONCE, SWEEP_LIMIT)
        .await?;
    let after = all_sat(&network, ALICE).await?;
    ensure!(
        before - after <= MOST_FEES_SAT,
        "{before} sat became {after}"
    );
    network.finish();
    Ok(())
}

/// A payment of Alice that Bob holds.
struct UnderWay {
    hold: Hold,
    /// Alice's channel that it takes.
    point: String,
    paying: JoinHandle<Result<Payment, Status>>,
}

impl UnderWay {
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
            point: taken.context("no channel holds it")?.channel_point,
            paying,
        })
    }

    /// Mines so many blocks at a time until the payment has ended.
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
        timeout(limit, end).await.context("it did not end")?
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
    updates.message().await?.context("no answer")?;
    wait_for_mempool(network).await
}

async fn wait_for_mempool(network: &Network) -> Result<()> {
    wait_for("a transaction in the mempool", SETTLE_LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(!mempool.is_empty(), "it is empty");
        Ok(())
    })
    .await
}

async fn closed(network: &Network, name: &str, point: &str) -> Result<ChannelCloseSummary> {
    let what = format!("{name} to list it as closed");
    wait_for(&what, SETTLE_LIMIT, async || {
        let closed = network[name].api()?.closed().await?.channels;
        let mut closed = closed.into_iter();
        let found = closed.find(|closed| closed.channel_point == point);
        found.context("it is not listed")
    })
    .await
}

/// In the wallet and in open channels.
async fn all_sat(network: &Network, name: &str) -> Result<u64> {
    let api = network[name].api()?;
    let wallet = u64::try_from(api.wallet().await?.total_balance)?;
    Ok(wallet + api.local_msat().await? / 1_000)
}
