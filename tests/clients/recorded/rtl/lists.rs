//! RTL's lists.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, has};
use serde_json::json;

use super::post;

/// Requires a payment and on-chain transactions.
pub(super) async fn shows(node: &Rest) -> Result<()> {
    let peers = node.get("/v1/peers").await?.json()?;
    let members = [
        "peers[].pub_key",
        "peers[].address",
        "peers[].bytes_sent",
        "peers[].bytes_recv",
        "peers[].sat_sent",
        "peers[].sat_recv",
        "peers[].inbound",
        "peers[].ping_time",
    ];
    has(&peers, &members)?;
    payments(node).await?;
    on_chain(node).await?;
    signs(node).await
}

async fn payments(node: &Rest) -> Result<()> {
    let query = "max_payments=100&index_offset=0&reversed=true";
    let payments = node.get(&format!("/v1/payments?{query}")).await?.json()?;
    ensure!(payments["payments"][0].is_object(), "{payments:#}");
    let members = [
        "last_index_offset",
        "first_index_offset",
        "payments[].payment_hash",
        "payments[].payment_preimage",
        "payments[].payment_request",
        "payments[].status",
        "payments[].fee",
        "payments[].value",
        "payments[].creation_date",
        "payments[].htlcs[].route.hops[].pub_key",
    ];
    has(&payments, &members)
}

async fn on_chain(node: &Rest) -> Result<()> {
    let transactions = node.get("/v1/transactions").await?.json()?;
    ensure!(
        transactions["transactions"][0].is_object(),
        "{transactions:#}"
    );
    let members = [
        "transactions[].tx_hash",
        "transactions[].amount",
        "transactions[].total_fees",
        "transactions[].block_height",
        "transactions[].num_confirmations",
        "transactions[].time_stamp",
        "transactions[].dest_addresses[]",
        "transactions[].label",
    ];
    has(&transactions, &members)?;
    // The parameters of a query.
    let coins = post(
        node,
        "/v2/wallet/utxos",
        &json!({"max_confs": "1000000000"}),
    )
    .await?;
    let coins = coins.json()?;
    ensure!(coins["utxos"][0].is_object(), "{coins:#}");
    let members = [
        "utxos[].address",
        "utxos[].address_type",
        "utxos[].amount_sat",
        "utxos[].confirmations",
        "utxos[].pk_script",
        "utxos[].outpoint.txid_str",
        "utxos[].outpoint.txid_bytes",
        "utxos[].outpoint.output_index",
    ];
    has(&coins, &members)?;
    let address = node.get("/v1/newaddress?type=0").await?.json()?;
    has(&address, &["address"])
}

async fn signs(node: &Rest) -> Result<()> {
    let signed = post(node, "/v1/signmessage", &json!({"msg": "aGVsbG8="})).await?;
    let signed = signed.json()?;
    let check = json!({"msg": "aGVsbG8=", "signature": signed["signature"]});
    let checked = post(node, "/v1/verifymessage", &check).await?.json()?;
    let info = node.get("/v1/getinfo").await?.json()?;
    assert_eq!(checked["pubkey"], info["identity_pubkey"]);
    has(&checked, &["valid"])
}

/// RTL follows each open invoice.
pub(super) async fn unpaid(node: &Rest) -> Result<()> {
    let request =
        json!({"memo": "later", "value": 20, "private": false, "expiry": 3600, "is_amp": false});
    let made = post(node, "/v1/invoices", &request).await?.json()?;
    let open = node.get("/v1/invoices?pending_only=true").await?.json()?;
    has(&open, &["invoices[].state", "invoices[].r_hash"])?;
    let open = open["invoices"].as_array();
    let found = open.and_then(|open| open.iter().find(|one| one["r_hash"] == made["r_hash"]));
    ensure!(
        found.is_some_and(|found| found["state"] == "OPEN"),
        "{open:?}"
    );
    Ok(())
}
