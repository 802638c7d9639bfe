//! Opening a channel whose funding transaction is rejected by bitcoind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::OpenChannelRequest;
use regtest::api::{Api, bytes};
use regtest::network::Network;
use regtest::wait::wait_for;

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(60);
const COIN_SAT: u64 = 1_000_000;

#[tokio::test]
async fn channel_with_rejected_funding_is_forgotten_and_its_utxos_are_released() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let alice = network["alice"].api()?;
    network
        .bitcoind
        .fund(&[(alice.address().await?, COIN_SAT)])
        .await?;
    network.mine(1).await?;
    network.wait_wallet("alice", COIN_SAT).await?;
    network.bitcoind.stop().await?;
    network
        .bitcoind
        .set_arguments(&["-minrelaytxfee=0.00005", "-incrementalrelayfee=0.00005"]);
    network.bitcoind.restart().await?;
    network.mine(1).await?;
    network.wait_synced().await?;
    network.connect("alice", "bob").await?;

    let open = |sat_per_vbyte| OpenChannelRequest {
        node_pubkey: bytes(network["bob"].key()).expect("a key"),
        local_funding_amount: 500_000,
        sat_per_vbyte,
        ..Default::default()
    };
    let mut lightning = alice.lightning.clone();
    let opened = lightning.open_channel_sync(open(1)).await;
    let refused = opened.err().context("the call did not fail")?;
    ensure!(
        refused.message().contains("min relay fee not met"),
        "{refused}"
    );
    for name in ["alice", "bob"] {
        wait_until_forgotten(&network[name].api()?, name).await?;
    }
    let wallet = alice.wallet().await?;
    ensure!(
        u64::try_from(wallet.confirmed_balance)? == COIN_SAT,
        "{wallet:?}"
    );
    ensure!(wallet.unconfirmed_balance == 0, "{wallet:?}");
    // The only UTXO can be spent again.
    lightning.open_channel_sync(open(10)).await?;
    network.finish();
    Ok(())
}

async fn wait_until_forgotten(api: &Api, name: &str) -> Result<()> {
    wait_for(
        &format!("{name} to forget the channel"),
        LIMIT,
        async || {
            let pending = api.pending().await?.pending_open_channels;
            ensure!(
                pending.is_empty(),
                "the channel is still pending: {pending:?}"
            );
            Ok(())
        },
    )
    .await
}
