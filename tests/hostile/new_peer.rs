//! An honest node unknown to the victim that wants to open a channel.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bitcoin::{Address, Network as Chain, Txid};
use lightning::chain::transaction::OutPoint;
use lnd_api::proto::lnrpc::OpenChannelRequest;
use regtest::api::bytes;
use regtest::network::Network;
use regtest::raw_peer::{ChannelTerms, Identity, OpenResult, Proposal, RawPeer, Target, kind};
use regtest::wait::wait_for;
use serde_json::json;
use tokio::time::timeout;

use crate::limits::NEW_PEER_TIMEOUT;

/// Enough for all channel sizes used here.
const CONFIRMATIONS: u32 = 6;
const CAPACITY_SAT: u64 = 200_000;

/// Connects from its own address, opens a channel with a real funding transaction, and waits for
/// channel_ready from the victim. Returns the time until `funding_signed`.
pub(crate) async fn opens_a_channel(network: &Network) -> Result<Duration> {
    let start = Instant::now();
    let target = Target::of(&network["victim"])?.from(own_address());
    let signed = wait_for("the channel of a new peer", NEW_PEER_TIMEOUT, async || {
        try_once(network, &target).await
    });
    let mut peer = signed.await?;
    let took = start.elapsed();
    // Keeps reading: the victim expects responses to its pings.
    let ready = async {
        loop {
            let message = peer.read().await?;
            if message.kind == kind::CHANNEL_READY {
                return anyhow::Ok(());
            }
        }
    };
    let ((), ()) = tokio::try_join!(network.mine(CONFIRMATIONS), async {
        timeout(NEW_PEER_TIMEOUT * 3, ready)
            .await
            .context("no channel_ready")?
    })?;
    Ok(took)
}

async fn try_once(network: &Network, target: &Target) -> Result<RawPeer> {
    let mut peer = RawPeer::connect(target, &Identity::random()).await?;
    let terms = ChannelTerms {
        capacity_sat: CAPACITY_SAT,
        ..Default::default()
    };
    let proposal = match peer.propose(&terms).await? {
        Ok(proposal) => proposal,
        Err(reason) => bail!("refused: {reason}"),
    };
    let outpoint = fund(network, &proposal).await?;
    match peer.fund(&proposal, outpoint).await? {
        OpenResult::Signed(_) => Ok(peer),
        OpenResult::Refused(reason) => bail!("refused after funding_created: {reason}"),
    }
}

/// Pays the channel's capacity to its script. The funds are lost: there is no signature for a refund yet.
async fn fund(network: &Network, proposal: &Proposal) -> Result<OutPoint> {
    let script = proposal.funding_script();
    let address = Address::from_script(&script, Chain::Regtest)?.to_string();
    let txid = network.bitcoind.fund(&[(address, CAPACITY_SAT)]).await?;
    let parameters = json!([txid, true]);
    let tx = network
        .bitcoind
        .call("getrawtransaction", parameters)
        .await?;
    let outputs = tx["vout"].as_array().context("no outputs")?;
    let script = json!(script.to_hex_string());
    let index = outputs
        .iter()
        .position(|output| output["scriptPubKey"]["hex"] == script);
    Ok(OutPoint {
        txid: txid.parse::<Txid>()?,
        index: u16::try_from(index.context("no such output")?)?,
    })
}

/// A new address for each call, different from those of the attackers and of the network's nodes.
fn own_address() -> Ipv4Addr {
    static LAST: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 0, 1, LAST.fetch_add(1, Ordering::Relaxed))
}

/// The same with an ampd or another program of the network.
pub(crate) async fn program_opens_a_channel(network: &Network, name: &str) -> Result<Duration> {
    let start = Instant::now();
    let opened = wait_for("the channel of a new peer", NEW_PEER_TIMEOUT, async || {
        network.connect(name, "victim").await?;
        let request = OpenChannelRequest {
            node_pubkey: bytes(network["victim"].key())?,
            local_funding_amount: i64::try_from(CAPACITY_SAT)?,
            ..Default::default()
        };
        let mut lightning = network[name].api()?.lightning;
        lightning.open_channel_sync(request).await?;
        Ok(())
    });
    opened.await?;
    ensure!(
        start.elapsed() < NEW_PEER_TIMEOUT,
        "it took {:?}",
        start.elapsed()
    );
    Ok(start.elapsed())
}
