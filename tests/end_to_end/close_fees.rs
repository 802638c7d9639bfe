//! Fees of cooperative closes between two ampd nodes, and that the closes stay cooperative.

use anyhow::{Context, Result, bail, ensure};
use bitcoin::Amount;
use lnd_api::proto::lnrpc::OutPoint;
use lnd_api::proto::walletrpc::BumpFeeRequest;
use regtest::network::close_fees::ClosingFee;
use regtest::network::{ChannelPlan, Network};
use serde_json::json;

use crate::binaries;

/// The 12-block fee rate used when bitcoind has no estimate.
const ESTIMATE: u64 = 8;

/// The closer of Alice's channel, the requested sat/vB (0: none) and the expected sat/vB.
const CLOSES: [(&str, u64, u64); 7] = [
    ("alice", 0, ESTIMATE),
    ("alice", 1, 1),
    ("alice", 2, 2),
    ("alice", ESTIMATE, ESTIMATE),
    ("alice", 40, 40),
    // The opener pays, and requested no rate.
    ("bob", 0, ESTIMATE),
    ("bob", 40, ESTIMATE),
];

#[tokio::test]
async fn cooperative_close_pays_exactly_the_requested_fee_rate() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(400_000);
    let points = network.open(&[plan; CLOSES.len()]).await?;
    let mut wrong = Vec::new();
    for ((closer, requested, expected), point) in CLOSES.into_iter().zip(&points) {
        let fee = network.close_for(closer, point, requested).await;
        let fee = fee.with_context(|| format!("{closer} closes at {requested} sat/vB"))?;
        if !fee.is(expected) {
            wrong.push(format!(
                "{closer} closes at {requested} sat/vB, but the fee is {fee:?}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn low_fee_close_by_the_peer_can_be_bumped_with_our_output() -> Result<()> {
    const RATE: u64 = 20;
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(400_000);
    let points = network.open(&[plan]).await?;
    network.close_for("alice", &points[0], 1).await?;
    let mempool = network.bitcoind.mempool().await?;
    let [closing] = &mempool[..] else {
        bail!("the mempool holds {mempool:?}");
    };
    let request = BumpFeeRequest {
        outpoint: Some(OutPoint {
            txid_str: closing.clone(),
            ..Default::default()
        }),
        sat_per_vbyte: RATE,
        ..Default::default()
    };
    let mut wallet = network["bob"].api()?.wallet_kit;
    wallet.bump_fee(request.clone()).await?;
    let entry = network.bitcoind.call("getmempoolentry", json!([closing]));
    let entry = entry.await?;
    assert_eq!(entry["descendantcount"], 2, "{entry}");
    let fees = entry["fees"]["descendant"].as_f64().context("no fees")?;
    let size = entry["descendantsize"].as_u64().context("no size")?;
    let paid = Amount::from_btc(fees)?.to_sat();
    let package = ClosingFee {
        sat: paid,
        vbytes: size,
    };
    assert!(package.is(RATE), "{package:?}");
    let refusal = wallet.bump_fee(request).await.unwrap_err();
    assert!(refusal.message().contains("has spent"), "{refusal}");
    network.mine(6).await?;
    assert_eq!(network.bitcoind.mempool().await?, Vec::<String>::new());
    network.finish();
    Ok(())
}
