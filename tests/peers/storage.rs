//! Core Lightning stores an encrypted list of its channels with its peers (peer_storage, BOLT 1) and
//! gets the latest version back when it connects. Eclair stores for others, but nothing of its own.

use anyhow::{Context, Result, bail};
use regtest::network::Network;
use regtest::node::Software::{Ampd, CoreLightning};
use regtest::trials;
use regtest::wait::wait_for;
use serde_json::{Value, json};

use crate::scene::{ALICE, PEER, half, peer};
use crate::{SETTLE_LIMIT, binaries};

/// Enough channels for a list longer than 1,024 bytes.
const CHANNELS: usize = 5;
const LONG_BYTES: usize = 1_024;

pub(crate) fn trials() -> trials::Trials {
    trials![core_lightning_retrieves_its_latest_backup].ignored_if(trials::missing(CoreLightning))
}

async fn core_lightning_retrieves_its_latest_backup() -> Result<()> {
    let nodes = [(ALICE, Ampd), (PEER, CoreLightning)];
    let mut network = Network::mixed(binaries(), &nodes).await?;
    network.open(&[half(PEER, ALICE); CHANNELS]).await?;
    // Both nodes restart: the blob must be on disk, and is returned when they connect.
    for restarted in [ALICE, PEER] {
        network[restarted].kill()?;
        network.restart(&[restarted]).await?;
        network.wait_usable().await?;
        the_backup_names_all_channels(&network).await?;
    }
    network.finish();
    Ok(())
}

async fn the_backup_names_all_channels(network: &Network) -> Result<()> {
    let backup = peer(network)?.call("staticbackup", json!({})).await?;
    let channels = backup["scb"]
        .as_array()
        .context("the response has no backup")?
        .clone();
    assert_eq!(channels.len(), CHANNELS);
    wait_for("the newest backup", SETTLE_LIMIT, async || {
        let key = json!({ "key": ["chanbackup", "latestscb"] });
        let found = peer(network)?.call("listdatastore", key).await?;
        let returned = found["datastore"][0]["hex"].as_str();
        let returned = returned.context("no backup was returned")?;
        let is_there = |channel: &Value| {
            let hex = channel.as_str().unwrap_or_default();
            returned.contains(hex)
        };
        let is_newest = returned.len() > 2 * LONG_BYTES && channels.iter().all(is_there);
        if !is_newest {
            // A blob stored during this connection is returned on the next one.
            let key = json!({ "id": network[ALICE].key(), "force": true });
            peer(network)?.call("disconnect", key).await?;
            network.connect(PEER, ALICE).await?;
            bail!(
                "the backup has {} bytes and lacks channels",
                returned.len() / 2
            );
        }
        Ok(())
    })
    .await
}
