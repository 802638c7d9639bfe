//! A cooperative close started while an HTLC is held waits until the HTLC is resolved.

use anyhow::{Context, Result, bail, ensure};
use lnd_api::proto::lnrpc::channel_close_summary::ClosureType;
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::proto::lnrpc::{CloseChannelRequest, CloseStatusUpdate};
use regtest::network::Network;
use regtest::trials;
use regtest::wait::wait_for;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::balance::Balance;
use super::held::{Held, SHARD_SAT, route};
use super::{AMPD, CASES, LIMIT, LND, close_of, neighbours, wait_for_mempool};

#[derive(Clone, Copy)]
enum End {
    Completed,
    Canceled,
}

pub(crate) fn trials() -> trials::Trials {
    trials![
        cooperative_close_waits_until_a_held_set_completes,
        cooperative_close_waits_until_a_held_set_is_canceled,
    ]
}

async fn cooperative_close_waits_until_a_held_set_completes() -> Result<()> {
    closes_after(End::Completed).await
}

async fn cooperative_close_waits_until_a_held_set_is_canceled() -> Result<()> {
    closes_after(End::Canceled).await
}

async fn closes_after(end: End) -> Result<()> {
    let (network, points) = neighbours().await?;
    let (open, closing) = points.split_last().context("no channels")?;
    for ((closer, payer), point) in CASES.into_iter().zip(closing) {
        close(&network, closer, payer, point, (end, open))
            .await
            .with_context(|| format!("{closer} closes, {payer} pays"))?;
    }
    network.finish();
    Ok(())
}

async fn close(
    network: &Network,
    closer: &str,
    payer: &str,
    point: &str,
    (end, open): (End, &str),
) -> Result<()> {
    let before = Balance::now(network).await?;
    let held = Held::start(network, payer, point).await?;
    let mut updates = begin(network, closer, point).await?;
    for name in [AMPD, LND] {
        wait_until_shut(network, name, point).await?;
    }
    let late = route(network, payer, point).await;
    ensure!(
        late.is_err(),
        "{payer} can still pay over the channel: {late:?}"
    );
    ensure!(
        network.bitcoind.mempool().await?.is_empty(),
        "the channel was closed with an HTLC in it"
    );
    let moved_sat = match end {
        End::Completed => {
            held.complete(open).await?;
            2 * i64::try_from(SHARD_SAT)?
        }
        End::Canceled => {
            held.cancel().await?;
            0
        }
    };
    wait_for_transaction(network, &mut updates).await?;
    for name in [AMPD, LND] {
        wait_until_signed(network, name, point).await?;
    }
    network.mine(6).await?;
    for name in [AMPD, LND] {
        wait_closed(network, name, point).await?;
    }
    let to_lnd_sat = if payer == AMPD { moved_sat } else { -moved_sat };
    before.assert_moved(network, to_lnd_sat).await
}

/// Starts a close. The first update comes with the transaction; lnd refuses unless `no_wait` is set.
async fn begin(
    network: &Network,
    closer: &str,
    point: &str,
) -> Result<Streaming<CloseStatusUpdate>> {
    if closer == LND {
        let refused = ask(network, closer, close_of(point)?).await;
        let refused = refused
            .err()
            .context("lnd accepted the close despite the HTLC")?;
        ensure!(refused.message().contains("active htlcs"), "{refused}");
    }
    let request = CloseChannelRequest {
        no_wait: true,
        ..close_of(point)?
    };
    let mut lightning = network[closer].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    let first = updates.message().await?.and_then(|update| update.update);
    match first {
        Some(Update::CloseInstant(now)) => assert_eq!(now.num_pending_htlcs, 1),
        other => bail!("the first update is {other:?}"),
    }
    Ok(updates)
}

/// Returns the first update for a close request, or its error.
async fn ask(
    network: &Network,
    name: &str,
    request: CloseChannelRequest,
) -> Result<Option<CloseStatusUpdate>, Status> {
    let api = network[name].api();
    let api = api.map_err(|error| Status::internal(error.to_string()))?;
    let updates = api.lightning.clone().close_channel(request).await?;
    updates.into_inner().message().await
}

/// Waits until this end no longer uses the channel, having learned of the close.
async fn wait_until_shut(network: &Network, name: &str, point: &str) -> Result<()> {
    let what = format!("{name} to learn of the close");
    wait_for(&what, LIMIT, async || {
        let api = network[name].api()?;
        let channels = api.channels().await?;
        let known = channels.iter().find(|known| known.channel_point == point);
        ensure!(
            known.is_none_or(|known| !known.active),
            "the channel is active"
        );
        Ok(())
    })
    .await
}

async fn wait_for_transaction(
    network: &Network,
    updates: &mut Streaming<CloseStatusUpdate>,
) -> Result<()> {
    let update = timeout(LIMIT, updates.message()).await;
    let update = update.context("no update with a closing transaction")??;
    match update.and_then(|update| update.update) {
        Some(Update::ClosePending(_)) => wait_for_mempool(network, 1).await,
        other => bail!("expected a closing transaction, got {other:?}"),
    }
}

/// Waits until this end also has the transaction from its peer. If blocks come earlier, lnd needs
/// another block, which is not tested here.
async fn wait_until_signed(network: &Network, name: &str, point: &str) -> Result<()> {
    let what = format!("{name} to have the closing transaction");
    wait_for(&what, LIMIT, async || {
        let pending = network[name].api()?.pending().await?;
        let mut closing = pending.waiting_close_channels.iter();
        let found = closing.find(|one| {
            let channel = one.channel.as_ref();
            channel.is_some_and(|channel| channel.channel_point == point)
        });
        let txid = found.map_or("", |found| &found.closing_txid);
        ensure!(!txid.is_empty(), "it reports no transaction");
        Ok(())
    })
    .await
}

async fn wait_closed(network: &Network, name: &str, point: &str) -> Result<()> {
    let what = format!("{name} to list the channel as closed");
    wait_for(&what, LIMIT, async || {
        let closed = network[name].api()?.closed().await?.channels;
        let found = closed.iter().find(|closed| closed.channel_point == point);
        let found = found.context("the channel is not listed as closed")?;
        assert_eq!(found.close_type(), ClosureType::CooperativeClose);
        Ok(())
    })
    .await
}
