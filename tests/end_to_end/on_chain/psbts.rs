//! PSBTs funded and signed by ampd alone, and together with bitcoind.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lnd_api::proto::walletrpc::fund_psbt_request::{Fees, Template};
use lnd_api::proto::walletrpc::{
    FinalizePsbtRequest, FundPsbtRequest, FundPsbtResponse, ReleaseOutputRequest, SignPsbtRequest,
    Transaction, TxTemplate,
};
use regtest::network::Network;
use serde_json::{Value, json};

use super::{external_address, fund, history, leases, unspent};
use crate::binaries;

#[tokio::test]
async fn psbts_are_funded_signed_and_published() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    fund(&network, "alice").await?;
    alone(&network).await?;
    bitcoind_finishes_it(&network).await?;
    a_template_of_bitcoind(&network).await?;
    network.finish();
    Ok(())
}

async fn raw(network: &Network, sat: u64) -> Result<FundPsbtResponse> {
    let template = TxTemplate {
        inputs: Vec::new(),
        outputs: BTreeMap::from([(external_address(network).await?, sat)]),
    };
    let request = FundPsbtRequest {
        template: Some(Template::Raw(template)),
        fees: Some(Fees::SatPerVbyte(5)),
        ..Default::default()
    };
    let mut wallet = network["alice"].api()?.wallet_kit;
    Ok(wallet.fund_psbt(request).await?.into_inner())
}

/// Inputs of a PSBT are leased until it is published or released.
async fn alone(network: &Network) -> Result<()> {
    let api = network["alice"].api()?;
    let mut wallet = api.wallet_kit.clone();
    let given_up = raw(network, 700_000).await?;
    let listed = leases(&api).await?;
    assert_eq!(listed.len(), given_up.locked_utxos.len());
    assert!(
        listed
            .iter()
            .all(|lease| given_up.locked_utxos.contains(lease))
    );
    assert!(raw(network, 400_000).await.is_err());
    for lease in given_up.locked_utxos {
        let request = ReleaseOutputRequest {
            id: lease.id,
            outpoint: lease.outpoint,
        };
        wallet.release_output(request).await?;
    }

    let funded = raw(network, 100_000).await?;
    assert_eq!(funded.change_output_index, 1);
    let request = FinalizePsbtRequest {
        funded_psbt: funded.funded_psbt,
        ..Default::default()
    };
    let done = wallet.finalize_psbt(request).await?.into_inner();
    let again = FinalizePsbtRequest {
        funded_psbt: done.signed_psbt,
        ..Default::default()
    };
    let refused = wallet.finalize_psbt(again).await.err();
    let refused = refused.context("the PSBT was finalized twice")?;
    assert_eq!(refused.message(), "PSBT is already fully signed");
    let transaction = Transaction {
        tx_hex: done.raw_final_tx,
        label: "by hand".to_owned(),
    };
    wallet.publish_transaction(transaction.clone()).await?;
    wallet.publish_transaction(transaction).await?;
    assert_eq!(network.bitcoind.mempool().await?.len(), 1);
    let newest = &history(&api).await?.transactions[0];
    assert_eq!(newest.label, "by hand");
    assert_eq!(newest.amount, -100_000 - newest.total_fees);
    assert!(
        leases(&api).await?.is_empty(),
        "a spent output is still leased"
    );
    network.mine(1).await
}

/// bitcoind accepts our signature and adds its own.
async fn bitcoind_finishes_it(network: &Network) -> Result<()> {
    let funded = raw(network, 100_000).await?;
    let inputs: Vec<_> = (0..).take(funded.locked_utxos.len()).collect();
    let request = SignPsbtRequest {
        funded_psbt: funded.funded_psbt,
    };
    let mut wallet = network["alice"].api()?.wallet_kit;
    let signed = wallet.sign_psbt(request).await?.into_inner();
    assert_eq!(signed.signed_inputs, inputs);
    let psbt = BASE64_STANDARD.encode(signed.signed_psbt);
    let done = network.bitcoind.call("finalizepsbt", json!([psbt])).await?;
    assert_eq!(done["complete"], true, "{done}");
    network
        .bitcoind
        .call("sendrawtransaction", json!([done["hex"]]))
        .await?;
    network.mine(1).await?;
    let newest = &history(&network["alice"].api()?).await?.transactions[0];
    assert_eq!(newest.amount, -100_000 - newest.total_fees);
    Ok(())
}

/// ampd and bitcoind each own one input.
async fn a_template_of_bitcoind(network: &Network) -> Result<()> {
    let api = network["alice"].api()?;
    let coin = unspent(&api, 1, 99).await?.remove(0);
    let ours = coin.outpoint.context("no outpoint")?;
    let theirs = network.bitcoind.call("listunspent", json!([])).await?;
    let theirs = &theirs[0];
    let inputs = json!([
        {"txid": ours.txid_str, "vout": ours.output_index},
        {"txid": theirs["txid"], "vout": theirs["vout"]},
    ]);
    let (there, here) = (external_address(network).await?, api.address().await?);
    let outputs = json!([{ there: 0.001 }, { here: 0.001 }]);
    let bitcoind = &network.bitcoind;
    let psbt = bitcoind
        .call("createpsbt", json!([inputs, outputs]))
        .await?;
    let psbt = bitcoind.call("utxoupdatepsbt", json!([psbt])).await?;
    let processed = bitcoind.call("walletprocesspsbt", json!([psbt])).await?;
    let half = BASE64_STANDARD.decode(text(&processed["psbt"])?)?;
    let request = FinalizePsbtRequest {
        funded_psbt: half,
        ..Default::default()
    };
    let mut wallet = api.wallet_kit.clone();
    let done = wallet.finalize_psbt(request).await?.into_inner();
    let psbt = BASE64_STANDARD.encode(done.signed_psbt);
    let done = bitcoind.call("finalizepsbt", json!([psbt])).await?;
    assert_eq!(done["complete"], true, "{done}");
    let accepted = bitcoind
        .call("testmempoolaccept", json!([[done["hex"]], 0]))
        .await?;
    assert_eq!(accepted[0]["allowed"], true, "{accepted}");
    Ok(())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("not a string")
}
