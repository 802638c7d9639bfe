//! Data that a peer stores with the node (BOLT 1, `peer_storage`) survives a crash.

use std::time::Duration;

use ampd::storage::Store;
use anyhow::{Context, Result, bail, ensure};
use bitcoin::Address;
use bitcoin::params::Params;
use lightning::chain::transaction::OutPoint;
use regtest::network::Network;
use regtest::raw_peer::{ChannelTerms, Identity, OpenResult, RawPeer, Target, kind, message};
use regtest::wait::wait_for;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::binaries;

const PEER_STORAGE_RETRIEVAL: u16 = 9;
/// Maximum length in bytes.
const MAX_BLOB_LEN: u16 = 65_531;
/// Sufficient depth for any channel.
const BLOCKS: u32 = 6;
/// A blob is stored within a second or two.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn peer_storage_survives_kill_9() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice"]).await?;
    let identity = Identity::random();
    let mut peer = RawPeer::connect(&Target::of(&network["alice"])?, &identity).await?;
    peer.send(&storage(&[1; MAX_BLOB_LEN as usize])?).await?;
    open_channel(&network, &mut peer).await?;
    ensure!(
        stored(&network)?.is_none(),
        "a blob was stored for a peer without a channel"
    );

    let blob = storage(&[2; MAX_BLOB_LEN as usize])?;
    peer.send(&blob).await?;
    wait_for("the blob in the database", WRITE_LIMIT, async || {
        let length = stored(&network)?.context("no blob is stored")?;
        ensure!(
            length == u32::from(MAX_BLOB_LEN),
            "the blob has {length} bytes"
        );
        Ok(())
    })
    .await?;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;

    let mut peer = RawPeer::connect(&Target::of(&network["alice"])?, &identity).await?;
    let mut returned = 0;
    loop {
        let received = peer.read().await?;
        match received.kind {
            PEER_STORAGE_RETRIEVAL => {
                ensure!(received.body == blob[2..], "a different blob was returned");
                returned += 1;
            }
            kind::CHANNEL_REESTABLISH => break,
            _ => {}
        }
    }
    ensure!(returned == 1, "the blob was returned {returned} times");
    network.finish();
    Ok(())
}

fn storage(blob: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(blob.len())?;
    let body = [&length.to_be_bytes()[..], blob].concat();
    Ok(message(kind::PEER_STORAGE, &body))
}

/// Opens a channel from the peer with a confirmed funding transaction.
async fn open_channel(network: &Network, peer: &mut RawPeer) -> Result<()> {
    let terms = ChannelTerms::default();
    let proposal = match peer.propose(&terms).await? {
        Ok(proposal) => proposal,
        Err(reason) => bail!("the channel was refused: {reason}"),
    };
    let script = proposal.funding_script();
    let address = Address::from_script(&script, Params::REGTEST)?.to_string();
    let txid = network
        .bitcoind
        .fund(&[(address, terms.capacity_sat)])
        .await?;
    let transaction = network
        .bitcoind
        .call("getrawtransaction", json!([txid, true]))
        .await?;
    let outputs = transaction["vout"].as_array().context("no outputs")?;
    let is_funding = |output: &serde_json::Value| {
        output["scriptPubKey"]["hex"].as_str() == Some(&script.to_hex_string())
    };
    let index = outputs.iter().position(is_funding);
    let outpoint = OutPoint {
        txid: txid.parse()?,
        index: index
            .context("the transaction has no funding output")?
            .try_into()?,
    };
    if let OpenResult::Refused(reason) = peer.fund(&proposal, outpoint).await? {
        bail!("the funding was refused: {reason}");
    }
    network.mine(BLOCKS).await?;
    peer.read_kind(kind::CHANNEL_READY).await.map(drop)
}

/// The length in bytes of the only stored blob.
fn stored(network: &Network) -> Result<Option<u32>> {
    let path = Store::path_in(&network["alice"].network_dir());
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut lengths = db.prepare("SELECT length(blob) FROM peer_storage")?;
    let mut lengths = lengths.query_map([], |row| row.get(0))?;
    Ok(lengths.next().transpose()?)
}
