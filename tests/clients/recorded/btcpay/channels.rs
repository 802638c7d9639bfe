//! BTCPay's channels: connects to a node, opens a channel, and distinguishes the errors.

use anyhow::{Result, ensure};
use regtest::network::Network;
use regtest::rest::{Rest, has};
use regtest::wait::wait_for;
use serde_json::{Value, json};

use crate::recorded::{fund, mine_until, refused};

const STRANGER: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

fn order(key: &str, sat: u64) -> Value {
    json!({"node_pubkey_string": key, "local_funding_amount": sat.to_string(), "sat_per_byte": "2"})
}

/// An existing connection counts as success.
pub(super) async fn connects(opener: &Rest, network: &Network) -> Result<()> {
    let (key, host) = (network["bob"].key(), network["bob"].peer_address());
    let address = json!({"addr": {"pubkey": key, "host": host}});
    refused(
        &opener.post("/v1/peers", &address).await?,
        "already connected",
    )?;
    let nowhere = json!({"addr": {"pubkey": STRANGER, "host": "127.0.0.1:1"}});
    let nowhere = opener.post("/v1/peers", &nowhere).await?;
    ensure!(nowhere.status >= 400, "{nowhere:?}");
    let offline = opener
        .post("/v1/channels", &order(STRANGER, 100_000))
        .await?;
    refused(&offline, "is not online")
}

/// BTCPay matches the beginning of this message.
pub(super) async fn cannot_pay_for_it(opener: &Rest, network: &Network) -> Result<()> {
    let request = order(network["bob"].key(), 15_000_000);
    let answer = opener.post("/v1/channels", &request).await?;
    refused(&answer, "not enough witness outputs")?;
    let body: Value = serde_json::from_str(&answer.text)?;
    let message = body["message"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with("not enough witness outputs"),
        "{message}"
    );
    Ok(())
}

/// Exceeds the number of channels that may be pending at a time.
const MOST_PENDING: usize = 3;

pub(super) async fn opens(opener: &Rest, network: &Network) -> Result<()> {
    fund(network, "alice", &[700_000; MOST_PENDING + 1]).await?;
    let request = order(network["bob"].key(), 500_000);
    for _ in 0..MOST_PENDING {
        let point = opener.post("/v1/channels", &request).await?.json()?;
        has(&point, &["funding_txid_bytes", "output_index"])?;
    }
    let pending = opener.get("/v1/channels/pending").await?.json()?;
    let channel = &pending["pending_open_channels"][0]["channel"];
    assert_eq!(channel["remote_node_pub"], network["bob"].key());
    let too_many = opener.post("/v1/channels", &request).await?;
    refused(&too_many, "Number of pending channels exceed")?;
    let is_open = |list: &Value| {
        let channels = list["channels"].as_array();
        channels.is_some_and(|all| all.len() == 1 + MOST_PENDING)
    };
    mine_until(network, opener, "/v1/channels?active_only=True", is_open).await?;
    Ok(())
}

/// BTCPay retries after this error.
pub(super) async fn waits_for_the_chain(opener: &Rest, network: &mut Network) -> Result<()> {
    network.bitcoind.stop().await?;
    wait_for(
        "synced_to_chain to become false",
        crate::LIMIT,
        async || {
            let info = opener.get("/v1/getinfo").await?.json()?;
            ensure!(info["synced_to_chain"] == false, "{info:#}");
            Ok(())
        },
    )
    .await?;
    let request = order(network["bob"].key(), 500_000);
    let answer = opener.post("/v1/channels", &request).await?;
    refused(&answer, "channels cannot be created before")?;
    network.bitcoind.restart().await?;
    network.wait_synced().await?;
    network.wait_usable().await
}
