//! Broadcasts across restarts of ampd and bitcoind: cooperative closes stay cooperative, and
//! transactions dropped from a mempool are rebroadcast.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lnd_api::proto::lnrpc::channel_close_summary::ClosureType;
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::proto::lnrpc::{
    ChannelCloseSummary, CloseChannelRequest, OpenChannelRequest, SendCoinsRequest,
};
use regtest::api::bytes;
use regtest::channel_point::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::json;

use crate::binaries;

const CAPACITY_SAT: u64 = 1_000_000;
const PUSHED_SAT: u64 = 400_000;
const COIN_SAT: u64 = 300_000;
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for the broadcasts at a node's start.
const SETTLED: Duration = Duration::from_secs(4);

#[tokio::test]
async fn pending_cooperative_close_survives_a_restart() -> Result<()> {
    let (mut network, point) = with_channel().await?;
    let txid = close_cheaply(&network, &point).await?;
    let stopped = network["alice"].stop().await?;
    ensure!(stopped.success(), "alice exited with {stopped}");
    network.restart(&["alice"]).await?;
    stays_agreed(&network, &txid).await?;
    network.kill(&["alice", "bob"])?;
    network.restart(&["alice", "bob"]).await?;
    stays_agreed(&network, &txid).await?;
    network.mine_until_swept(6, LIMIT).await?;
    ends_as(&network, ClosureType::CooperativeClose, &txid).await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn closing_transaction_is_rebroadcast_after_the_mempool_was_lost() -> Result<()> {
    let (mut network, point) = with_channel().await?;
    let txid = close_cheaply(&network, &point).await?;
    network.kill(&["alice", "bob"])?;
    forget_mempool(&mut network).await?;
    network.restart(&["alice", "bob"]).await?;
    in_mempool(&network, &txid).await?;
    stays_agreed(&network, &txid).await?;
    network.mine_until_swept(6, LIMIT).await?;
    ends_as(&network, ClosureType::CooperativeClose, &txid).await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn pending_cooperative_close_can_be_forced_after_a_restart() -> Result<()> {
    let (mut network, point) = with_channel().await?;
    let agreed = close_cheaply(&network, &point).await?;
    network.kill(&["alice", "bob"])?;
    forget_mempool(&mut network).await?;
    // Without Bob, who would rebroadcast the agreed transaction.
    network.restart(&["alice"]).await?;
    in_mempool(&network, &agreed).await?;
    let request = CloseChannelRequest {
        force: true,
        ..Default::default()
    };
    let forced = close(&network, "alice", &point, request).await?;
    ensure!(
        forced != agreed,
        "the commitment has the txid of the closing transaction"
    );
    // The agreed transaction may pay more than the commitment, which then could not replace it.
    forget_mempool(&mut network).await?;
    in_mempool(&network, &forced).await?;
    network.kill(&["alice"])?;
    forget_mempool(&mut network).await?;
    network.restart(&["alice"]).await?;
    in_mempool(&network, &forced).await?;
    network.mine(1).await?;
    network.restart(&["bob"]).await?;
    network.mine_until_swept(18, LIMIT).await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn transactions_expired_from_the_mempool_are_rebroadcast() -> Result<()> {
    let (mut network, point) = with_channel().await?;
    network.bitcoind.stop().await?;
    network.bitcoind.set_arguments(&["-mempoolexpiry=1"]);
    network.bitcoind.restart().await?;
    network.wait_synced().await?;
    let closing = close_cheaply(&network, &point).await?;
    let alice = network["alice"].api()?;
    let elsewhere = network.bitcoind.call("getnewaddress", json!([])).await?;
    let request = SendCoinsRequest {
        addr: elsewhere.as_str().context("no address")?.to_owned(),
        amount: 50_000,
        ..Default::default()
    };
    let payment = alice.lightning.clone().send_coins(request).await?;
    let payment = payment.into_inner().txid;
    let funding = open(&network).await?;
    let all = [closing, payment, funding];
    for txid in &all {
        in_mempool(&network, txid).await?;
    }

    expire_mempool(&network).await?;
    network.bitcoind.mine_empty(1).await?;
    for txid in &all {
        in_mempool(&network, txid).await?;
    }
    let log = std::fs::read_to_string(network["alice"].log())?;
    let noise = log.lines().filter(|line| {
        all.iter().any(|txid| line.contains(txid.as_str())) && line.contains("not accepted")
    });
    ensure!(noise.count() == 0, "every attempt is logged");
    network.finish();
    Ok(())
}

/// Advances time by two hours; an unrelated transaction then makes bitcoind expire old ones.
async fn expire_mempool(network: &Network) -> Result<()> {
    let bitcoind = &network.bitcoind;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let later = now.as_secs() + 2 * 3_600;
    bitcoind.call("setmocktime", json!([later])).await?;
    let address = bitcoind.call("getnewaddress", json!([])).await?;
    let address = address.as_str().context("no address")?.to_owned();
    let fresh = bitcoind.fund(&[(address, COIN_SAT)]).await?;
    let left = bitcoind.mempool().await?;
    ensure!(left == [fresh], "the mempool still holds {left:?}");
    Ok(())
}

async fn with_channel() -> Result<(Network, String)> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(PUSHED_SAT);
    let points = network.open(&[plan]).await?;
    let outputs = [
        (network["alice"].api()?.address().await?, COIN_SAT),
        (network["alice"].api()?.address().await?, COIN_SAT),
    ];
    network.bitcoind.fund(&outputs).await?;
    network.mine(1).await?;
    Ok((network, points[0].clone()))
}

/// A fee rate below that of a commitment with its CPFP child.
fn cheap() -> CloseChannelRequest {
    CloseChannelRequest {
        sat_per_vbyte: 2,
        ..Default::default()
    }
}

/// Closes and waits until the closing transaction is in the mempool. Returns its txid.
async fn close_cheaply(network: &Network, point: &str) -> Result<String> {
    let txid = close(network, "alice", point, cheap()).await?;
    in_mempool(network, &txid).await?;
    Ok(txid)
}

/// Closes and returns the txid of the closing transaction once it is reported.
async fn close(
    network: &Network,
    name: &str,
    point: &str,
    request: CloseChannelRequest,
) -> Result<String> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        ..request
    };
    let mut lightning = network[name].api()?.lightning;
    let mut updates = lightning.close_channel(request).await?.into_inner();
    while let Some(update) = updates.message().await? {
        if let Some(Update::ClosePending(pending)) = update.update {
            return Ok(Txid::from_slice(&pending.txid)?.to_string());
        }
    }
    bail!("no closing transaction was reported")
}

/// Opens a channel from Alice to Bob. Returns the txid of its funding transaction.
async fn open(network: &Network) -> Result<String> {
    let request = OpenChannelRequest {
        node_pubkey: bytes(network["bob"].key())?,
        local_funding_amount: 200_000,
        ..Default::default()
    };
    let mut lightning = network["alice"].api()?.lightning;
    let point = lightning.open_channel_sync(request).await?.into_inner();
    match point.funding_txid.context("no funding txid")? {
        lnd_api::proto::lnrpc::channel_point::FundingTxid::FundingTxidStr(txid) => Ok(txid),
        lnd_api::proto::lnrpc::channel_point::FundingTxid::FundingTxidBytes(bytes) => {
            Ok(Txid::from_slice(&bytes)?.to_string())
        }
    }
}

/// Restarts bitcoind with an empty mempool.
async fn forget_mempool(network: &mut Network) -> Result<()> {
    network.bitcoind.stop().await?;
    network.bitcoind.set_arguments(&["-persistmempool=0"]);
    network.bitcoind.restart().await?;
    let left = network.bitcoind.mempool().await?;
    ensure!(left.is_empty(), "the mempool still holds {left:?}");
    Ok(())
}

async fn in_mempool(network: &Network, txid: &str) -> Result<()> {
    let what = format!("{txid} in the mempool");
    wait_for(&what, LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(
            mempool.iter().any(|known| known == txid),
            "the mempool holds {mempool:?}"
        );
        Ok(())
    })
    .await
}

/// Checks that after a start the mempool holds only the agreed transaction, and that Alice reports it.
async fn stays_agreed(network: &Network, txid: &str) -> Result<()> {
    network.wait_synced().await?;
    // There is no event for the absence of broadcasts.
    tokio::time::sleep(SETTLED).await;
    let mempool = network.bitcoind.mempool().await?;
    ensure!(
        mempool == [txid],
        "the mempool holds {mempool:?} instead of {txid}"
    );
    let pending = network["alice"].api()?.pending().await?;
    ensure!(
        pending.pending_force_closing_channels.is_empty(),
        "the channel is force-closing: {pending:?}"
    );
    let waiting = &pending.waiting_close_channels;
    ensure!(
        waiting.len() == 1 && waiting[0].closing_txid == txid,
        "it is waiting for another transaction: {waiting:?}"
    );
    Ok(())
}

async fn ends_as(network: &Network, kind: ClosureType, txid: &str) -> Result<()> {
    for node in network.nodes() {
        let closed: Vec<ChannelCloseSummary> = node.api()?.closed().await?.channels;
        ensure!(
            closed.len() == 1
                && closed[0].close_type() == kind
                && closed[0].closing_tx_hash == txid,
            "{} has {closed:?}",
            node.name()
        );
    }
    Ok(())
}

#[tokio::test]
async fn startup_names_the_rpc_method_that_bitcoind_forbids() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let allowed = "getblockchaininfo,getblockhash,getblockheader,getblock,gettxout,getmempoolinfo,\
                   estimatesmartfee,sendrawtransaction";
    let user = network.bitcoind.rpc_user().to_owned();
    network.bitcoind.stop().await?;
    let whitelist = format!("-rpcwhitelist={user}:{allowed}");
    network.bitcoind.set_arguments(&[&whitelist]);
    network.bitcoind.restart().await?;
    let refused = network.prepare("alice")?.run_to_end().await?;
    ensure!(
        refused.status.code() == Some(1),
        "exited with {}",
        refused.status
    );
    let last = refused.stderr.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("ampd: ")
            && last.contains("submitpackage")
            && last.contains("rpcwhitelist"),
        "{last}"
    );
    network.finish();
    Ok(())
}
