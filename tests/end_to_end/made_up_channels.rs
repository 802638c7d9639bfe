//! Strangers open channels whose funding transactions do not exist: it costs them nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use ampd::rpc::proto::lnrpc::{CloseChannelRequest, OpenChannelRequest};
use ampd::storage::Store;
use anyhow::{Result, ensure};
use regtest::api::bytes;
use regtest::network::channels::parse_point;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::raw_peer::{ChannelTerms, Identity, Made, RawPeer, Target};
use regtest::wait::wait_for;
use rusqlite::Connection;

use crate::binaries;

const CAPACITY_SAT: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(60);
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

async fn open_to_alice(network: &Network, name: &str) -> Result<()> {
    network.connect(name, "alice").await?;
    let request = OpenChannelRequest {
        node_pubkey: bytes(network["alice"].key())?,
        local_funding_amount: i64::try_from(CAPACITY_SAT)?,
        ..Default::default()
    };
    let mut lightning = network[name].api()?.lightning;
    lightning.open_channel_sync(request).await?;
    Ok(())
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
