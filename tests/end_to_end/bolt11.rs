//! BOLT 11 invoices paid through a forwarding node, before and after a restart of all nodes.

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::PaymentHash;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use regtest::api::bolt11;
use regtest::network::{ChannelPlan, Network};

use crate::{SETTLE_LIMIT, binaries};

const AMOUNT_MSAT: u64 = 123_456_789;
const NODES: [&str; 3] = ["alice", "bob", "carol"];

#[tokio::test]
async fn bolt11_is_forwarded_before_and_after_a_restart_of_all_nodes() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &NODES).await?;
    let plans = [
        ChannelPlan::new("alice", "bob", 1_000_000),
        ChannelPlan::new("bob", "carol", 1_000_000),
    ];
    network.open(&plans).await?;
    pay_over_bob(&network).await?;

    let keys: Vec<String> = network.nodes().map(|node| node.key().to_owned()).collect();
    for name in NODES {
        let status = network[name].stop().await?;
        ensure!(
            status.success(),
            "{name} exited with {status} after SIGTERM"
        );
    }
    network.restart(&NODES).await?;
    let keys_after: Vec<String> = network.nodes().map(|node| node.key().to_owned()).collect();
    assert_eq!(keys, keys_after);
    network.wait_usable().await?;
    pay_over_bob(&network).await?;

    network["bob"].kill()?;
    network.restart(&["bob"]).await?;
    network.wait_usable().await?;
    pay_over_bob(&network).await?;
    network.finish();
    Ok(())
}

/// Alice pays Carol's invoice; Bob earns the fee.
async fn pay_over_bob(network: &Network) -> Result<()> {
    let before = balances(network).await?;
    let invoice = network["carol"].api()?.invoice(AMOUNT_MSAT).await?;
    let payment = network
        .pay("alice", &bolt11(&invoice.payment_request))
        .await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let after = balances(network).await?;
    let fee = u64::try_from(payment.fee_msat)?;
    assert!(fee > 0, "the forwarding node charges a fee");
    assert_eq!(after[0], before[0] - AMOUNT_MSAT - fee);
    assert_eq!(after[1], before[1] + fee);
    assert_eq!(after[2], before[2] + AMOUNT_MSAT);
    network.check_balances().await?;

    let hash = PaymentHash {
        r_hash: invoice.r_hash,
        ..Default::default()
    };
    let found = network["carol"]
        .api()?
        .lightning
        .lookup_invoice(hash)
        .await?
        .into_inner();
    assert_eq!(found.state(), InvoiceState::Settled);
    assert_eq!(found.amt_paid_msat, i64::try_from(AMOUNT_MSAT)?);
    Ok(())
}

async fn balances(network: &Network) -> Result<Vec<u64>> {
    let mut balances = Vec::new();
    for name in NODES {
        balances.push(network[name].api()?.local_msat().await?);
    }
    Ok(balances)
}
