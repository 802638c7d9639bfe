//! Strangers open channels whose funding transactions do not exist: it costs them nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use lnd_api::proto::lnrpc::{CloseChannelRequest, OpenChannelRequest};
use ampd::storage::Store;
use anyhow::{Context, Error, Result, bail, ensure};
use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lightning::chain::transaction::OutPoint;
use regtest::api::bytes;
use regtest::network::channels::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::raw_peer::{ChannelTerms, Identity, Made, RawPeer, Target};
use regtest::wait::wait_for;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::binaries;

const CAPACITY_SAT: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(60);
/// As long as a node waits for its money after its own forced close.
const CSV_BLOCKS: u32 = 145;
/// What a claim may take to be in the mempool while strangers do their worst.
const BROADCAST_LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn they_hold_up_no_forced_close_and_leave_nothing_behind() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let points = network.open(&[plan]).await?;
    let mut signed = 0;
    for address in 66..70 {
        signed += make_up_and_close(&network["alice"], address).await?;
    }
    ensure!(
        (20..=110).contains(&signed),
        "{signed} made-up channels were accepted"
    );
    // So that nobody else closes the channel.
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
    wait_for("the made-up channels to be forgotten", LIMIT, async || {
        let left = [
            count(&network["alice"], "monitors")?,
            count(&network["alice"], "archived_monitors")?,
            count(&network["alice"], "closed_channels")?,
        ];
        ensure!(left == [1, 0, 1], "the database has {left:?}");
        Ok(())
    })
    .await?;
    // The node starts with what is left.
    network.restart(&["bob"]).await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    network.mine_until_swept(6, LIMIT).await?;
    network.finish();
    Ok(())
}

/// Fifty are as many peers without a funded channel as LDK takes.
#[tokio::test]
async fn they_do_not_keep_newcomers_out() -> Result<()> {
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
        // From a few addresses, each of them gone at once.
        let address = Ipv4Addr::new(127, 0, 0, 66 + number % 3);
        let target = Target::of(&network["alice"])?.from(address);
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let made = peer.make_up_channel(&ChannelTerms::default()).await?;
        signed += u32::from(matches!(made, Made::Signed(_)));
    }
    ensure!(signed >= 40, "only {signed} were accepted");
    open_to_alice(&network, "bob").await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    open_to_alice(&network, "carol").await?;
    wait_for("both funding transactions", LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?.len();
        ensure!(mempool == 2, "{mempool} are in the mempool");
        Ok(())
    })
    .await?;
    network.mine(6).await?;
    wait_for("both channels to be open", LIMIT, async || {
        let open = network["alice"].api()?.channels().await?.len();
        ensure!(open == 2, "{open} are open");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

/// The outpoint is the stranger's word: it may be an output that the node is about to claim.
#[tokio::test]
async fn they_keep_no_claim_from_the_chain_by_naming_its_output_as_their_funding() -> Result<()> {
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
        // LDK takes the outpoint once.
        if let Made::Signed(_) = made {
            peer.close_cooperatively(&proposal, ours).await?;
        }
        ensure!(push_sat == 0 || matches!(made, Made::Signed(_)), "{made:?}");
    }
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    network.mine(CSV_BLOCKS).await?;
    network.wait_synced().await?;
    // LDK's sweeper looks for its outputs twice a minute.
    wait_for("the sweep of our output", LIMIT, async || {
        let mempool = network.bitcoind.mempool().await?;
        ensure!(!mempool.is_empty(), "the mempool is empty");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

/// A channel that gives the node something costs the stranger nothing either.
#[tokio::test]
async fn no_coin_is_used_for_a_made_up_channel_with_our_money() -> Result<()> {
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
        // Less than bitcoind takes.
        feerate_per_kw: 253,
        anchors: true,
        ..Default::default()
    };
    for number in 0..3 {
        let address = Ipv4Addr::new(127, 0, 0, 66 + number);
        let target = Target::of(&network["alice"])?.from(address);
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let Made::Signed(channel) = peer.make_up_channel(&terms).await? else {
            bail!("the channel is refused");
        };
        peer.send_error(channel, "no").await?;
        peer.ping().await?;
    }
    wait_for("all to be closed", LIMIT, async || {
        let closed = count(&network["alice"], "closed_channels")?;
        ensure!(closed == 3, "{closed} are");
        Ok(())
    })
    .await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;
    // LDK asks for the claims with each block.
    network.mine(1).await?;
    network.wait_synced().await?;
    let after = network["alice"].api()?.wallet().await?;
    ensure!(before == after, "before: {before:?}, after: {after:?}");
    let log = std::fs::read_to_string(network["alice"].log())?;
    ensure!(!log.contains("broadcasting commitment"), "a fee was paid");
    network.finish();
    Ok(())
}

/// LDK's monitor hears nothing of a close that both sides signed.
#[tokio::test]
async fn nothing_is_left_of_one_that_was_closed_cooperatively() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let target = Target::of(&network["alice"])?.from(Ipv4Addr::new(127, 0, 0, 66));
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let proposal = peer.propose(&ChannelTerms::default()).await?;
    let proposal = proposal.map_err(Error::msg)?;
    let outpoint = made_up_outpoint();
    let made = peer.fund(&proposal, outpoint).await?;
    ensure!(matches!(made, Made::Signed(_)), "{made:?}");
    peer.close_cooperatively(&proposal, outpoint).await?;
    wait_for("the channel to be forgotten", LIMIT, async || {
        let left = [
            count(&network["alice"], "monitors")?,
            count(&network["alice"], "archived_monitors")?,
            count(&network["alice"], "closed_channels")?,
            count(&network["alice"], "agreed_closes")?,
        ];
        ensure!(left == [0; 4], "the database has {left:?}");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

/// Anybody can name an output that exists.
#[tokio::test]
async fn an_output_of_somebody_else_is_no_funding() -> Result<()> {
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
        let Made::Signed(channel) = made else {
            bail!("{made:?}");
        };
        // bitcoind was asked meanwhile.
        sleep(Duration::from_secs(1)).await;
        peer.send_error(channel, "no").await?;
    }
    wait_for("the channels to be forgotten", LIMIT, async || {
        let left = [
            count(&network["alice"], "monitors")?,
            count(&network["alice"], "archived_monitors")?,
            count(&network["alice"], "closed_channels")?,
        ];
        ensure!(left == [0; 3], "the database has {left:?}");
        Ok(())
    })
    .await?;
    network.finish();
    Ok(())
}

fn made_up_outpoint() -> OutPoint {
    OutPoint {
        txid: Txid::from_byte_array([7; 32]),
        index: 0,
    }
}

/// Closes the channel by force and waits for the commitment. Returns its id.
async fn force_close(network: &Network, name: &str, point: &str) -> Result<Txid> {
    let request = CloseChannelRequest {
        channel_point: Some(parse_point(point)?),
        force: true,
        ..Default::default()
    };
    let mut lightning = network[name].api()?.lightning;
    let _updates = lightning.close_channel(request).await?.into_inner();
    let (txid, index) = point.split_once(':').context("no point")?;
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
        bail!("not there")
    })
    .await
}

/// The output of our commitment that is ours after the delay: the peer's is worth exactly half the channel.
async fn our_output(network: &Network, commitment: &Txid) -> Result<OutPoint> {
    let outputs = transaction(network, &commitment.to_string()).await?["vout"].clone();
    let outputs = outputs.as_array().context("no outputs")?.clone();
    let is_ours = |output: &&Value| {
        let sat = output["value"].as_f64().unwrap_or(0.0) * 1e8;
        (400_000.0..499_999.0).contains(&sat)
    };
    let ours = outputs.iter().find(is_ours).context("no such output")?;
    Ok(OutPoint {
        txid: *commitment,
        index: u16::try_from(ours["n"].as_u64().context("no number")?)?,
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
    // Nobody has to go in the first seconds.
    wait_for("a newcomer's channel", LIMIT, async || {
        let mut lightning = lightning.clone();
        lightning.open_channel_sync(request.clone()).await?;
        Ok(())
    })
    .await
}

/// One identity after the other from one address, until no channel is accepted any more. Returns how many
/// were.
async fn make_up_and_close(node: &Node, address: u8) -> Result<u32> {
    let target = Target::of(node)?.from(Ipv4Addr::new(127, 0, 0, address));
    let mut signed = 0;
    loop {
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let before = signed;
        while let Made::Signed(channel) = peer.make_up_channel(&ChannelTerms::default()).await? {
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
