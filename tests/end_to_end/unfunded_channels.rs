//! Unknown peers open channels whose funding transactions do not exist, which costs them nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use ampd::storage::Store;
use anyhow::{Context, Error, Result, bail, ensure};
use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lightning::chain::transaction::OutPoint;
use lnd_api::proto::lnrpc::{CloseChannelRequest, OpenChannelRequest};
use regtest::api::bytes;
use regtest::channel_point::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::raw_peer::{ChannelTerms, Identity, OpenResult, RawPeer, Target};
use regtest::wait::wait_for;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::binaries;

const CAPACITY_SAT: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(60);
/// Exceeds the `to_self_delay` of a node's own forced close.
const CSV_BLOCKS: u32 = 145;
/// Time for a claim to reach the mempool while unknown peers attack.
const BROADCAST_LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn forced_close_is_not_delayed_and_unfunded_channels_are_forgotten() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let points = network.open(&[plan]).await?;
    let mut signed = 0;
    for address in 66..70 {
        signed += open_and_close_unfunded(&network["alice"], address).await?;
    }
    ensure!(
        (20..=110).contains(&signed),
        "{signed} unfunded channels were accepted"
    );
    // Prevents the peer from closing the channel.
    network.kill(&["bob"])?;
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(&points[0])?),
        force: true,
        ..Default::default()
    };
    let mut lightning = network["alice"].api()?.lightning;
    let _updates = lightning.close_channel(request).await?.into_inner();
    wait_for("our commitment", BROADCAST_LIMIT, async || {
        ensure!(!network.bitcoind.mempool().await?.is_empty());
        Ok(())
    })
    .await?;
    wait_for("the unfunded channels to be forgotten", LIMIT, async || {
        let left = [
            count(&network["alice"], "monitors")?,
            count(&network["alice"], "archived_monitors")?,
            count(&network["alice"], "closed_channels")?,
        ];
        ensure!(left == [1, 0, 1], "the database has {left:?} rows");
        Ok(())
    })
    .await?;
    // The node starts with the remaining data.
    network.restart(&["bob"]).await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    network.mine_until_swept(6, LIMIT).await?;
    network.finish();
    Ok(())
}

/// LDK accepts at most fifty peers without a funded channel.
#[tokio::test]
async fn new_peers_can_still_open_channels() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    for name in ["bob", "carol"] {
        let address = network[name].api()?.address().await?;
        network
            .bitcoind
            .fund(&[(address, 2 * CAPACITY_SAT)])
            .await?;
    }
    network.mine(1).await?;
    for name in ["bob", "carol"] {
        network.wait_wallet(name, 2 * CAPACITY_SAT).await?;
    }
    let mut signed = 0;
    for number in 0..80 {
        // From a few addresses, each disconnecting at once.
        let address = Ipv4Addr::new(127, 0, 0, 66 + number % 3);
        let target = Target::of(&network["alice"])?.from(address);
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let made = peer.open_unfunded_channel(&ChannelTerms::default()).await?;
        signed += u32::from(matches!(made, OpenResult::Signed(_)));
    }
    ensure!(signed >= 40, "only {signed} were accepted");
    open_to_alice(&network, "bob").await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    open_to_alice(&network, "carol").await?;
    wait_for("both funding transactions", LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?.len();
        ensure!(mempool == 2, "the mempool holds {mempool} transactions");
        Ok(())
    })
    .await?;
    network.mine(6).await?;
    wait_for("both channels to be open", LIMIT, async || {
        let open = network["alice"].api()?.channels().await?.len();
        ensure!(open == 2, "{open} channels are open");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

/// The outpoint is chosen by the peer: it may be an output that the node is about to claim.
#[tokio::test]
async fn funding_outpoints_of_peers_do_not_block_claims() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let points = network.open(&[plan]).await?;
    network.kill(&["bob"])?;
    let commitment = force_close(&network, "alice", &points[0]).await?;
    let ours = our_output(&network, &commitment).await?;
    network.mine(1).await?;
    network.wait_synced().await?;
    for (address, push_sat) in [(66, 50_000), (67, 0)] {
        let target = Target::of(&network["alice"])?.from(Ipv4Addr::new(127, 0, 0, address));
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let terms = ChannelTerms {
            push_sat,
            ..Default::default()
        };
        let proposal = peer.propose(&terms).await?.map_err(Error::msg)?;
        let made = peer.fund(&proposal, ours).await?;
        // LDK accepts the same outpoint only once.
        if let OpenResult::Signed(_) = made {
            peer.close_cooperatively(&proposal, ours).await?;
        }
        ensure!(
            push_sat == 0 || matches!(made, OpenResult::Signed(_)),
            "{made:?}"
        );
    }
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    network.mine(CSV_BLOCKS).await?;
    network.wait_synced().await?;
    // LDK's sweeper checks its outputs twice a minute.
    wait_for("the sweep of our output", LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(!mempool.is_empty(), "the mempool is empty");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

/// A channel that pushes funds to the node costs the peer nothing either.
#[tokio::test]
async fn no_utxo_is_spent_on_unfunded_channels_with_pushed_funds() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    for _ in 0..3 {
        let address = network["alice"].api()?.address().await?;
        network.bitcoind.fund(&[(address, CAPACITY_SAT)]).await?;
    }
    network.mine(1).await?;
    network.wait_wallet("alice", 3 * CAPACITY_SAT).await?;
    let before = network["alice"].api()?.wallet().await?;
    let terms = ChannelTerms {
        push_sat: 50_000,
        // Below bitcoind's minimum relay fee.
        feerate_per_kw: 253,
        anchors: true,
        ..Default::default()
    };
    for number in 0..3 {
        let address = Ipv4Addr::new(127, 0, 0, 66 + number);
        let target = Target::of(&network["alice"])?.from(address);
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let OpenResult::Signed(channel) = peer.open_unfunded_channel(&terms).await? else {
            bail!("the channel was refused");
        };
        peer.send_error(channel, "no").await?;
        peer.ping().await?;
    }
    wait_for("all channels to be closed", LIMIT, async || {
        let closed = count(&network["alice"], "closed_channels")?;
        ensure!(closed == 3, "{closed} channels are closed");
        Ok(())
    })
    .await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    // LDK requests the claims with each block.
    network.mine(1).await?;
    network.wait_synced().await?;
    let after = network["alice"].api()?.wallet().await?;
    ensure!(before == after, "before: {before:?}, after: {after:?}");
    let log = std::fs::read_to_string(network["alice"].log())?;
    ensure!(!log.contains("broadcasting commitment"), "a fee was paid");
    network.finish();
    Ok(())
}

/// LDK's monitor is not informed of a cooperative close.
#[tokio::test]
async fn cooperatively_closed_unfunded_channel_is_forgotten() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let target = Target::of(&network["alice"])?.from(Ipv4Addr::new(127, 0, 0, 66));
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let proposal = peer.propose(&ChannelTerms::default()).await?;
    let proposal = proposal.map_err(Error::msg)?;
    let outpoint = nonexistent_outpoint();
    let made = peer.fund(&proposal, outpoint).await?;
    ensure!(matches!(made, OpenResult::Signed(_)), "{made:?}");
    peer.close_cooperatively(&proposal, outpoint).await?;
    wait_for("the channel to be forgotten", LIMIT, async || {
        let left = [
            count(&network["alice"], "monitors")?,
            count(&network["alice"], "archived_monitors")?,
            count(&network["alice"], "closed_channels")?,
            count(&network["alice"], "agreed_closes")?,
        ];
        ensure!(left == [0; 4], "the database has {left:?} rows");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

/// Any peer can name an output that exists.
#[tokio::test]
async fn unrelated_output_is_not_accepted_as_funding() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let address = network["alice"].api()?.address().await?;
    let coin = network.bitcoind.fund(&[(address, CAPACITY_SAT)]).await?;
    network.mine(1).await?;
    network.wait_wallet("alice", CAPACITY_SAT).await?;
    let target = Target::of(&network["alice"])?.from(Ipv4Addr::new(127, 0, 0, 66));
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    for index in 0..2 {
        let proposal = peer.propose(&ChannelTerms::default()).await?;
        let proposal = proposal.map_err(Error::msg)?;
        let (txid, index) = (coin.parse()?, index);
        let made = peer.fund(&proposal, OutPoint { txid, index }).await?;
        let OpenResult::Signed(channel) = made else {
            bail!("{made:?}");
        };
        // bitcoind has been queried by then.
        sleep(Duration::from_secs(1)).await;
        peer.send_error(channel, "no").await?;
    }
    wait_for("the channels to be forgotten", LIMIT, async || {
        let left = [
            count(&network["alice"], "monitors")?,
            count(&network["alice"], "archived_monitors")?,
            count(&network["alice"], "closed_channels")?,
        ];
        ensure!(left == [0; 3], "the database has {left:?} rows");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

fn nonexistent_outpoint() -> OutPoint {
    OutPoint {
        txid: Txid::from_byte_array([7; 32]),
        index: 0,
    }
}

/// Force-closes and waits for the commitment. Returns its txid.
async fn force_close(network: &Network, name: &str, point: &str) -> Result<Txid> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        force: true,
        ..Default::default()
    };
    let mut lightning = network[name].api()?.lightning;
    let _updates = lightning.close_channel(request).await?.into_inner();
    let (txid, index) = point.split_once(':').context("not a channel point")?;
    let (funding, index) = (txid.to_owned(), index.parse::<u32>()?);
    wait_for("our commitment", BROADCAST_LIMIT, async || {
        for txid in network.bitcoind.mempool().await? {
            let inputs = transaction(network, &txid).await?["vin"].clone();
            let inputs = inputs.as_array().context("no inputs")?.clone();
            let spends = |input: &Value| input["txid"] == *funding && input["vout"] == index;
            if inputs.iter().any(spends) {
                return Ok(txid.parse()?);
            }
        }
        bail!("the commitment is not in the mempool")
    })
    .await
}

/// Our delayed output of our commitment: the peer's output is exactly half of the channel.
async fn our_output(network: &Network, commitment: &Txid) -> Result<OutPoint> {
    let outputs = transaction(network, &commitment.to_string()).await?["vout"].clone();
    let outputs = outputs.as_array().context("no outputs")?.clone();
    let is_ours = |output: &&Value| {
        let sat = output["value"].as_f64().unwrap_or(0.0) * 1e8;
        (400_000.0..499_999.0).contains(&sat)
    };
    let ours = outputs
        .iter()
        .find(is_ours)
        .context("the commitment has no such output")?;
    Ok(OutPoint {
        txid: *commitment,
        index: u16::try_from(ours["n"].as_u64().context("the output has no index")?)?,
    })
}

async fn transaction(network: &Network, txid: &str) -> Result<Value> {
    let parameters = json!([txid, true]);
    network.bitcoind.call("getrawtransaction", parameters).await
}

async fn open_to_alice(network: &Network, name: &str) -> Result<()> {
    network.connect(name, "alice").await?;
    let request = OpenChannelRequest {
        node_pubkey: bytes(network["alice"].key())?,
        local_funding_amount: i64::try_from(CAPACITY_SAT)?,
        ..Default::default()
    };
    let lightning = network[name].api()?.lightning;
    // Peers are not evicted in the first seconds.
    wait_for("a channel with a new peer", LIMIT, async || {
        let mut lightning = lightning.clone();
        lightning.open_channel_sync(request.clone()).await?;
        Ok(())
    })
    .await
}

/// Connects with new identities from one address until no channel is accepted any more. Returns the
/// number of accepted channels.
async fn open_and_close_unfunded(node: &Node, address: u8) -> Result<u32> {
    let target = Target::of(node)?.from(Ipv4Addr::new(127, 0, 0, address));
    let mut signed = 0;
    loop {
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let before = signed;
        while let OpenResult::Signed(channel) =
            peer.open_unfunded_channel(&ChannelTerms::default()).await?
        {
            peer.send_error(channel, "no").await?;
            signed += 1;
        }
        if signed == before || signed > 1_000 {
            return Ok(signed);
        }
    }
}

fn count(node: &Node, table: &str) -> Result<u64> {
    let db = Connection::open(Store::path_in(&node.network_dir()))?;
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let rows: i64 = db.query_row(&sql, [], |row| row.get(0))?;
    Ok(u64::try_from(rows)?)
}
