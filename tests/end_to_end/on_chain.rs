//! The on-chain wallet: listing, payments, fee bumps, leases and signatures.

mod blocks;
mod commands;
mod psbts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lnd_api::proto::lnrpc::{
    EstimateFeeRequest, GetTransactionsRequest, ListUnspentRequest, NewAddressRequest, OutPoint,
    SendCoinsRequest, SendManyRequest, Transaction, TransactionDetails, Utxo,
};
use lnd_api::proto::signrpc::KeyLocator;
use lnd_api::proto::walletrpc::{
    self, BumpFeeRequest, LabelTransactionRequest, LeaseOutputRequest, ListLeasesRequest,
    ReleaseOutputRequest, UtxoLease,
};
use regtest::api::{Api, bytes};
use regtest::network::Network;
use serde_json::json;
use tonic::{Code, Streaming};

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(30);
const COINS_SAT: [u64; 3] = [500_000, 300_000, 200_000];
const LEASE_ID: [u8; 32] = [7; 32];

#[tokio::test]
async fn wallet_lists_sends_bumps_and_leases() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice"]).await?;
    let stream = network["alice"].api()?.lightning;
    let request = GetTransactionsRequest::default();
    let mut stream = stream
        .clone()
        .subscribe_transactions(request)
        .await?
        .into_inner();
    deposits_are_reported(&network, &mut stream).await?;
    let paid = pay_several_outputs(&network, &mut stream).await?;
    let replaced = bump_the_fee(&network, &paid, &mut stream).await?;
    labels(&network, &replaced).await?;
    leases_survive_a_kill(&mut network).await?;
    refusals(&network["alice"].api()?).await?;
    keys(&network).await?;
    network.finish();
    Ok(())
}

async fn fund(network: &Network, name: &str) -> Result<String> {
    let api = network[name].api()?;
    let mut outputs = Vec::new();
    for sat in COINS_SAT {
        outputs.push((api.address().await?, sat));
    }
    let txid = network.bitcoind.fund(&outputs).await?;
    network.mine(1).await?;
    network.wait_wallet(name, COINS_SAT.iter().sum()).await?;
    Ok(txid)
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T> {
    let next = tokio::time::timeout(LIMIT, stream.message()).await;
    next.context("timed out waiting for an update")??
        .context("the stream ended")
}

async fn history(api: &Api) -> Result<TransactionDetails> {
    let request = GetTransactionsRequest::default();
    let list = api.lightning.clone().get_transactions(request).await?;
    Ok(list.into_inner())
}

async fn unspent(api: &Api, min_confs: i32, max_confs: i32) -> Result<Vec<Utxo>> {
    let request = ListUnspentRequest {
        min_confs,
        max_confs,
        ..Default::default()
    };
    let list = api.lightning.clone().list_unspent(request).await?;
    Ok(list.into_inner().utxos)
}

async fn leases(api: &Api) -> Result<Vec<UtxoLease>> {
    let list = api
        .wallet_kit
        .clone()
        .list_leases(ListLeasesRequest {})
        .await?;
    Ok(list.into_inner().locked_utxos)
}

/// An address of bitcoind's wallet.
async fn external_address(network: &Network) -> Result<String> {
    let address = network.bitcoind.call("getnewaddress", json!([])).await?;
    Ok(address.as_str().context("no address")?.to_owned())
}

async fn deposits_are_reported(
    network: &Network,
    stream: &mut Streaming<Transaction>,
) -> Result<()> {
    let txid = fund(network, "alice").await?;
    let api = network["alice"].api()?;
    let came = next(stream).await?;
    assert_eq!(
        (came.tx_hash.as_str(), came.amount),
        (txid.as_str(), 1_000_000)
    );
    assert_eq!((came.num_confirmations, came.total_fees), (1, 0));
    assert_eq!(
        i64::from(came.block_height),
        i64::from(network.bitcoind.height().await?)
    );
    let list = history(&api).await?;
    assert_eq!(list.transactions, [came]);

    let utxos = unspent(&api, 1, 6).await?;
    assert_eq!(utxos.len(), COINS_SAT.len());
    for utxo in &utxos {
        let outpoint = utxo.outpoint.as_ref().context("no outpoint")?;
        assert_eq!(
            (outpoint.txid_str.as_str(), utxo.confirmations),
            (txid.as_str(), 1)
        );
    }
    assert!(unspent(&api, 0, 0).await?.is_empty());
    assert!(unspent(&api, 2, 9).await?.is_empty());
    let request = walletrpc::ListUnspentRequest::default();
    let all = api.wallet_kit.clone().list_unspent(request).await?;
    assert_eq!(all.into_inner().utxos.len(), COINS_SAT.len());
    Ok(())
}

/// The fee paid equals the estimate.
async fn pay_several_outputs(
    network: &Network,
    stream: &mut Streaming<Transaction>,
) -> Result<Transaction> {
    let api = network["alice"].api()?;
    let mut amounts = BTreeMap::new();
    for sat in [40_000, 50_000] {
        amounts.insert(external_address(network).await?, sat);
    }
    let estimate = EstimateFeeRequest {
        addr_to_amount: amounts.clone(),
        target_conf: 144,
        ..Default::default()
    };
    let estimate = api
        .lightning
        .clone()
        .estimate_fee(estimate)
        .await?
        .into_inner();
    let order = SendManyRequest {
        addr_to_amount: amounts,
        target_conf: 144,
        label: "tea".to_owned(),
        ..Default::default()
    };
    let sent = api.lightning.clone().send_many(order).await?.into_inner();
    assert_eq!(network.bitcoind.mempool().await?, [sent.txid.as_str()]);
    let seen = next(stream).await?;
    assert_eq!(
        (seen.tx_hash.as_str(), seen.num_confirmations),
        (sent.txid.as_str(), 0)
    );
    let found = &history(&api).await?.transactions[0];
    assert_eq!(
        (found.tx_hash.as_str(), found.label.as_str()),
        (sent.txid.as_str(), "tea")
    );
    assert_eq!(found.amount, -90_000 - found.total_fees);
    assert!(
        found
            .previous_outpoints
            .iter()
            .all(|input| input.is_our_output)
    );
    assert!(
        (estimate.fee_sat - found.total_fees).abs() <= 2 * 68,
        "{estimate:?} {found:?}"
    );
    assert_eq!(
        unspent(&api, 0, 0).await?.len(),
        1,
        "only the change is left"
    );
    Ok(found.clone())
}

async fn bump_the_fee(
    network: &Network,
    paid: &Transaction,
    stream: &mut Streaming<Transaction>,
) -> Result<Transaction> {
    let api = network["alice"].api()?;
    let request = BumpFeeRequest {
        outpoint: Some(OutPoint {
            txid_str: paid.tx_hash.clone(),
            ..Default::default()
        }),
        sat_per_vbyte: 40,
        ..Default::default()
    };
    let bump = async |request| api.wallet_kit.clone().bump_fee(request).await;
    let poor = BumpFeeRequest {
        budget: 100,
        ..request.clone()
    };
    let error = bump(poor)
        .await
        .err()
        .context("a budget of 100 sat was sufficient")?;
    assert!(error.message().contains("budget of 100 sat"), "{error}");
    let bumped = bump(request.clone()).await?.into_inner();
    let mempool = network.bitcoind.mempool().await?;
    ensure!(
        mempool.len() == 1 && mempool[0] != paid.tx_hash,
        "{mempool:?}"
    );
    assert!(bumped.status.ends_with(&mempool[0]), "{bumped:?}");
    let error = bump(request)
        .await
        .err()
        .context("the transaction was replaced twice")?;
    assert!(error.message().contains("not an unconfirmed"), "{error}");

    assert_eq!(next(stream).await?.tx_hash, mempool[0]);
    network.mine(1).await?;
    let confirmed = next(stream).await?;
    assert_eq!(
        (confirmed.tx_hash.as_str(), confirmed.num_confirmations),
        (mempool[0].as_str(), 1)
    );
    let list = history(&api).await?.transactions;
    assert_eq!(list.len(), 2);
    assert_eq!(
        (list[0].label.as_str(), list[0].amount),
        ("tea", -90_000 - list[0].total_fees)
    );
    assert!(list[0].total_fees > paid.total_fees);
    Ok(list[0].clone())
}

async fn labels(network: &Network, paid: &Transaction) -> Result<()> {
    let api = network["alice"].api()?;
    let txid: Txid = paid.tx_hash.parse()?;
    let label = async |label: &str, overwrite| {
        let request = LabelTransactionRequest {
            txid: txid.to_byte_array().to_vec(),
            label: label.to_owned(),
            overwrite,
        };
        api.wallet_kit.clone().label_transaction(request).await
    };
    let refused = label("coffee", false)
        .await
        .err()
        .context("the transaction was labelled twice")?;
    assert_eq!(refused.message(), "transaction already labelled");
    assert!(label("", true).await.is_err());
    let said = label("coffee", true).await?.into_inner().status;
    assert_eq!(said, "transaction label 'coffee' added");
    Ok(())
}

/// A lease that was confirmed to the client must survive a kill.
async fn leases_survive_a_kill(network: &mut Network) -> Result<()> {
    let api = network["alice"].api()?;
    let before = api.wallet().await?;
    assert_eq!(before.locked_balance, 0);
    let coin = unspent(&api, 1, 99).await?.remove(0);
    let lease = LeaseOutputRequest {
        id: LEASE_ID.to_vec(),
        outpoint: coin.outpoint.clone(),
        expiration_seconds: 3600,
    };
    let expiration = api
        .wallet_kit
        .clone()
        .lease_output(lease)
        .await?
        .into_inner()
        .expiration;
    network.kill(&["alice"])?;
    network.restart(&["alice"]).await?;

    let api = network["alice"].api()?;
    let kept = leases(&api).await?;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].outpoint.clone(), kept[0].expiration),
        (coin.outpoint.clone(), expiration)
    );
    assert_eq!(history(&api).await?.transactions[0].label, "coffee");
    let balance = api.wallet().await?;
    assert_eq!(balance.locked_balance, coin.amount_sat);
    assert_eq!(
        balance.confirmed_balance,
        before.confirmed_balance - coin.amount_sat
    );
    assert!(!unspent(&api, 0, 99).await?.contains(&coin));
    leased_outputs_are_not_spent(network, &coin).await?;

    let release = ReleaseOutputRequest {
        id: LEASE_ID.to_vec(),
        outpoint: coin.outpoint.clone(),
    };
    let released = api
        .wallet_kit
        .clone()
        .release_output(release)
        .await?
        .into_inner();
    assert!(released.status.ends_with(" released"), "{released:?}");
    assert_eq!(api.wallet().await?.confirmed_balance, coin.amount_sat);
    assert!(leases(&api).await?.is_empty());
    Ok(())
}

async fn leased_outputs_are_not_spent(network: &Network, coin: &Utxo) -> Result<()> {
    let api = network["alice"].api()?;
    let order = SendCoinsRequest {
        addr: external_address(network).await?,
        send_all: true,
        ..Default::default()
    };
    let chosen = SendCoinsRequest {
        outpoints: coin.outpoint.clone().into_iter().collect(),
        ..order.clone()
    };
    let refused = api.lightning.clone().send_coins(chosen).await.err();
    let refused = refused.context("a leased output was spent")?;
    assert!(
        refused.message().contains("not among the unspent"),
        "{refused}"
    );
    api.lightning.clone().send_coins(order).await?;
    network.mine(1).await?;
    let newest = &history(&api).await?.transactions[0];
    assert_eq!(newest.label, "external");
    assert_eq!(api.wallet().await?.total_balance, 0);
    Ok(())
}

async fn refusals(api: &Api) -> Result<()> {
    let unknown = OutPoint {
        txid_str: "11".repeat(32),
        ..Default::default()
    };
    let lease = LeaseOutputRequest {
        id: LEASE_ID.to_vec(),
        outpoint: Some(unknown),
        expiration_seconds: 0,
    };
    let error = api.wallet_kit.clone().lease_output(lease).await.err();
    assert_eq!(
        error.context("an output that is not leased")?.message(),
        "unknown output"
    );
    let estimate = EstimateFeeRequest::default();
    let error = api.lightning.clone().estimate_fee(estimate).await.err();
    assert_eq!(
        error.context("estimated")?.message(),
        "no fee preference specified"
    );
    let taproot = NewAddressRequest {
        r#type: 4,
        ..Default::default()
    };
    let error = api.lightning.clone().new_address(taproot).await.err();
    assert_eq!(
        error.context("taproot addresses are not supported")?.code(),
        Code::Unimplemented
    );
    let transaction = walletrpc::Transaction {
        tx_hex: vec![1, 2, 3],
        ..Default::default()
    };
    let error = api
        .wallet_kit
        .clone()
        .publish_transaction(transaction)
        .await
        .err();
    assert!(
        error
            .context("published")?
            .message()
            .starts_with("invalid transaction")
    );
    Ok(())
}

async fn keys(network: &Network) -> Result<()> {
    let node = &network["alice"];
    let mut wallet = node.api()?.wallet_kit;
    let identity = KeyLocator {
        key_family: 6,
        key_index: 0,
    };
    let found = wallet.derive_key(identity).await?.into_inner();
    assert_eq!(found.raw_key_bytes, bytes(node.key())?);
    assert_eq!(found.key_loc, Some(identity));
    let other = KeyLocator::default();
    let error = wallet
        .derive_key(other)
        .await
        .err()
        .context("the signature is valid for another key")?;
    assert_eq!(error.code(), Code::Unimplemented);
    Ok(())
}

#[tokio::test]
async fn addresses_are_never_reused_after_a_kill() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice"]).await?;
    let mut given = BTreeSet::new();
    for _ in 0..4 {
        let address = network["alice"].api()?.address().await?;
        network.kill(&["alice"])?;
        ensure!(
            given.insert(address),
            "the address was returned twice: {given:?}"
        );
        network.restart(&["alice"]).await?;
    }
    network.finish();
    Ok(())
}
