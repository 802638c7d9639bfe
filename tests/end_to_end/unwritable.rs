//! Rows that can never be written: the node skips them, or stops and names them.

use std::fs;

use ampd::storage::Store;
use anyhow::{Context, Result};
use lnd_api::proto::lnrpc::{ConnectPeerRequest, LightningAddress};
use regtest::network::Network;
use regtest::node::Node;
use regtest::wait::wait_for;
use rusqlite::Connection;

use crate::{SETTLE_LIMIT, binaries};

#[tokio::test]
async fn unwritable_row_is_skipped_or_stops_the_node() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    change_database(
        &mut network,
        "CREATE TRIGGER no_peers BEFORE INSERT ON peers BEGIN SELECT RAISE(ABORT, 'no peers'); END",
    )
    .await?;
    network.restart(&["alice"]).await?;

    // A peer's address is not essential.
    connect(&network).await?;
    let left_out = format!(
        "the address of peer {} cannot be written",
        network["bob"].key()
    );
    wait_for("the log to name the row", SETTLE_LIMIT, async || {
        let log = fs::read_to_string(network["alice"].log())?;
        log.contains(&left_out).then_some(()).context("not yet")
    })
    .await?;
    network["alice"].api()?.invoice(1_000).await?;

    let refuse = "CREATE TRIGGER no_invoices BEFORE INSERT ON invoices
         BEGIN SELECT RAISE(ABORT, 'no invoices'); END";
    change_database(&mut network, refuse).await?;
    network.restart(&["alice"]).await?;
    let alice = network["alice"].api()?;
    let call = tokio::spawn(async move { alice.invoice(1_000).await });
    let status = network["alice"].wait_for_end().await?;
    assert_eq!(status.code(), Some(1));
    assert!(call.await?.is_err(), "the call must not succeed");
    let log = fs::read_to_string(network["alice"].log())?;
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("ampd: invoice 2 cannot be written to the database: no invoices"),
        "{last}"
    );

    execute(&network["alice"], "DROP TRIGGER no_invoices")?;
    network.restart(&["alice"]).await?;
    network["alice"].api()?.invoice(1_000).await?;
    let invoices = network["alice"].api()?.invoices(0).await?.invoices;
    assert_eq!(invoices.len(), 2);
    network.finish();
    Ok(())
}

async fn connect(network: &Network) -> Result<()> {
    let bob = &network["bob"];
    let request = ConnectPeerRequest {
        addr: Some(LightningAddress {
            pubkey: bob.key().to_owned(),
            host: bob.peer_address(),
        }),
        perm: true,
        timeout: 0,
    };
    let mut alice = network["alice"].api()?.lightning;
    alice.connect_peer(request).await?;
    Ok(())
}

/// Executes SQL while Alice is stopped.
async fn change_database(network: &mut Network, sql: &str) -> Result<()> {
    network["alice"].stop().await?;
    execute(&network["alice"], sql)
}

fn execute(node: &Node, sql: &str) -> Result<()> {
    let db = Connection::open(Store::path_in(&node.network_dir()))?;
    Ok(db.execute_batch(sql)?)
}
