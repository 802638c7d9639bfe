//! Three nodes with insufficient UTXOs force-close with all kinds of HTLCs in flight.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::walletrpc::{LeaseOutputRequest, ListUnspentRequest};
use regtest::fee_proxy::FeeProxy;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;

use super::force_close;
use super::htlcs::Held;
use crate::binaries;

const CAPACITY_SAT: u64 = 10_000_000;
const PUSHED_SAT: u64 = 4_000_000;
/// Amount of each HTLC: far more than all fees.
const HTLC_SAT: i64 = 1_000_000;
/// Maximum cost of all transactions of a close at the highest fee rate used here.
const MAX_FEES_SAT: i64 = 400_000;
/// The rate the reserve is calculated for on regtest: twice the rate used without an estimate.
const RESERVED_SAT_PER_VBYTE: u64 = 24;
const COIN_SAT: u64 = 50_000;
/// Some 400 blocks: an HTLC's expiry, two CSV delays, and the confirmations of each step.
const PAID_LIMIT: Duration = Duration::from_secs(240);
const MINE_INTERVAL: Duration = Duration::from_millis(500);

/// Bob has no UTXOs, Carol only her reserve at five times the fee rate it was calculated for, Dave
/// only leased or unconfirmed ones. Alice, their peer, is offline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_scarce_utxos_recover_all_funds() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let proxy = FeeProxy::start(&network.bitcoind).await?;
    let mut nodes = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        let mut node = network.prepare(name)?;
        if name == "carol" {
            node.set("bitcoind-rpc-address", &proxy.address());
        }
        nodes.push(node);
    }
    network.add(nodes).await?;
    lease_everything(&network, "dave").await?;
    let plans = ["bob", "carol", "dave"]
        .map(|name| ChannelPlan::new("alice", name, CAPACITY_SAT).push(PUSHED_SAT));
    let points = network.open_without_reserve(&plans).await?;
    fund_reserve(&network, "carol").await?;

    let mut scenes = Vec::new();
    for (name, point) in ["bob", "carol", "dave"].into_iter().zip(points) {
        scenes.push(Scene::start(&network, name, point).await?);
    }
    network.kill(&["alice", "carol"])?;
    proxy.set_sat_per_vbyte(5 * RESERVED_SAT_PER_VBYTE);
    network.restart(&["carol"]).await?;
    fund(&network, "dave", COIN_SAT).await?;
    for scene in &scenes {
        scene.known.settle(&network).await?;
        force_close(&network, scene.name, &scene.point).await?;
    }
    mine_until_paid(&network, &scenes).await?;
    network.finish();
    Ok(())
}

/// A node with three HTLCs: one to Alice, and two from Alice, of which one preimage is known.
struct Scene {
    name: &'static str,
    point: String,
    known: Held,
    _unknown: Held,
    _outgoing: Held,
    /// Expected final balance of its wallet, before fees.
    expected_sat: i64,
}

impl Scene {
    async fn start(network: &Network, name: &'static str, point: String) -> Result<Self> {
        let known = Held::start(network, "alice", name, HTLC_SAT).await?;
        let unknown = Held::start(network, "alice", name, HTLC_SAT).await?;
        let outgoing = Held::start(network, name, "alice", HTLC_SAT).await?;
        let api = network[name].api()?;
        let channel = api.channels().await?.pop().context("no channel")?;
        ensure!(channel.pending_htlcs.len() == 3, "{channel:?}");
        let wallet = api.wallet().await?;
        let on_chain = wallet.confirmed_balance + wallet.locked_balance;
        // The HTLC with the known preimage is received, the outgoing one is refunded.
        let expected_sat = on_chain + channel.local_balance + 2 * HTLC_SAT;
        Ok(Self {
            name,
            point,
            known,
            _unknown: unknown,
            _outgoing: outgoing,
            expected_sat,
        })
    }

    async fn check_paid(&self, network: &Network) -> Result<()> {
        let wallet = network[self.name].api()?.wallet().await?;
        let found = wallet.confirmed_balance + wallet.locked_balance;
        let least = self.expected_sat - MAX_FEES_SAT;
        let name = self.name;
        ensure!(
            found >= least,
            "{name} has {found} sat, expected at least {least} sat"
        );
        Ok(())
    }
}

/// Mines as soon as a transaction is waiting, or after a short time, because deadlines need blocks.
async fn mine_until_paid(network: &Network, scenes: &[Scene]) -> Result<()> {
    wait_for("all funds to be recovered", PAID_LIMIT, async || {
        // A timeout is expected when no transaction is waiting.
        let _ = wait_for("a transaction", MINE_INTERVAL, async || {
            ensure!(!network.bitcoind.mempool().await?.is_empty(), "none");
            Ok(())
        })
        .await;
        network.mine(6).await?;
        for scene in scenes {
            scene.check_paid(network).await?;
        }
        Ok(())
    })
    .await
}

async fn fund(network: &Network, name: &str, sat: u64) -> Result<()> {
    let address = network[name].api()?.address().await?;
    network.bitcoind.fund(&[(address, sat)]).await?;
    Ok(())
}

/// Funds the node with one output of exactly the reserve it requires.
async fn fund_reserve(network: &Network, name: &str) -> Result<()> {
    let wallet = network[name].api()?.wallet().await?;
    let reserve = u64::try_from(wallet.reserved_balance_anchor_chan)?;
    fund(network, name, reserve).await?;
    network.mine(1).await?;
    network.wait_wallet(name, reserve).await
}

/// Funds the node with two outputs and leases them for a day.
async fn lease_everything(network: &Network, name: &str) -> Result<()> {
    fund(network, name, COIN_SAT).await?;
    fund(network, name, COIN_SAT).await?;
    network.mine(1).await?;
    network.wait_wallet(name, 2 * COIN_SAT).await?;
    let mut wallet = network[name].api()?.wallet_kit;
    let request = ListUnspentRequest {
        min_confs: 1,
        max_confs: i32::MAX,
        ..Default::default()
    };
    for coin in wallet.list_unspent(request).await?.into_inner().utxos {
        let request = LeaseOutputRequest {
            id: vec![7; 32],
            outpoint: coin.outpoint,
            expiration_seconds: 86_400,
        };
        wallet.lease_output(request).await?;
    }
    let free = network[name].api()?.wallet().await?.confirmed_balance;
    ensure!(free == 0, "{free} sat are still unleased");
    Ok(())
}
