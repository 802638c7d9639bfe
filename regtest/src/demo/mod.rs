//! The demo: an AMP payment over three ways, none of which could carry it alone, and one static
//! invoice that is paid twice.

mod proof;
mod static_invoice;
mod table;

use std::time::{Duration, Instant};

use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Payment, PaymentFailureReason};
use anyhow::{Result, ensure};

use crate::api::amp_to;
use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};

pub use proof::{Shard, prove};
pub use static_invoice::{Tips, pay_twice};

/// Each of the six channels.
pub const CAPACITY_SAT: u64 = 1_000_000;
/// More than two of the ways can carry together, so that it takes all three.
pub const AMOUNT_MSAT: u64 = 2_000_000_000;
const MIDDLE: [&str; 3] = ["carol", "dave", "eve"];
/// HTLCs of a finished payment leave the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Runs the demo and prints what happens.
///
/// # Errors
/// If anything is not as it says.
pub async fn run(binaries: Binaries) -> Result<()> {
    let start = Instant::now();
    println!("Starting bitcoind (regtest) and five nodes, opening six channels ...\n");
    let mut network = three_ways(binaries).await?;
    table::print_map();
    refused(&network).await?;
    table::print_refused();
    accept_amp(&mut network).await?;
    let paid = pay(&network).await?;
    table::print_paid(&network, &paid);
    let tips = pay_twice(&network).await?;
    table::print_tips(&tips);
    network.finish();
    println!(
        "Everything was checked. That took {:.1} seconds.",
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Alice and Bob with three disjoint ways between them. Nobody has switched AMP on, as is the
/// default.
pub async fn three_ways(binaries: Binaries) -> Result<Network> {
    let mut network = Network::start(binaries).await?;
    let names = ["alice", "bob", "carol", "dave", "eve"];
    let nodes = names.iter().map(|name| network.prepare(name));
    let nodes = nodes.collect::<Result<Vec<_>>>()?;
    network.add(nodes).await?;
    let plans: Vec<ChannelPlan<'_>> = MIDDLE
        .iter()
        .flat_map(|middle| {
            let first = ChannelPlan::new("alice", middle, CAPACITY_SAT);
            [first, ChannelPlan::new(middle, "bob", CAPACITY_SAT)]
        })
        .collect();
    network.open(&plans).await?;
    Ok(network)
}

/// A payment that was made, with what it did to the balances.
#[derive(Debug)]
pub struct Paid {
    pub payment: Payment,
    pub shards: Vec<Shard>,
    /// Own balances in the channels, in msat.
    pub alice: Change,
    pub bob: Change,
}

/// A balance before and after, in msat.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub before: u64,
    pub after: u64,
}

/// Alice pays Bob's public key; everything about it is checked.
pub async fn pay(network: &Network) -> Result<Paid> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let before = (alice.local_msat().await?, bob.local_msat().await?);
    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let payment = network.pay("alice", &request).await?;
    network.wait_settled(SETTLE_LIMIT).await?;

    let shards = prove(&payment, &bob).await?;
    ensure!(
        shards.len() >= MIDDLE.len(),
        "only {} shards arrived",
        shards.len()
    );
    let alice = Change {
        before: before.0,
        after: alice.local_msat().await?,
    };
    let bob = Change {
        before: before.1,
        after: bob.local_msat().await?,
    };
    let fee = u64::try_from(payment.fee_msat)?;
    ensure!(
        bob.after == bob.before + AMOUNT_MSAT,
        "Bob did not get the exact amount: {bob:?}"
    );
    ensure!(
        alice.before == alice.after + AMOUNT_MSAT + fee,
        "Alice did not pay exactly amount and fee ({fee} msat): {alice:?}"
    );
    network.check_balances().await?;
    Ok(Paid {
        payment,
        shards,
        alice,
        bob,
    })
}

/// Bob does not accept AMP from anybody: Alice's payment fails, and moves nothing.
pub async fn refused(network: &Network) -> Result<()> {
    let before = balances(network).await?;
    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let payment = network.pay_routed("alice", &request).await?;
    let reason = payment.failure_reason();
    ensure!(
        payment.status() == PaymentStatus::Failed
            && reason == PaymentFailureReason::FailureReasonIncorrectPaymentDetails,
        "the payment should have failed with INCORRECT_PAYMENT_DETAILS, but it is {} with {}",
        payment.status().as_str_name(),
        reason.as_str_name(),
    );
    network.wait_settled(SETTLE_LIMIT).await?;
    let after = balances(network).await?;
    ensure!(
        before == after,
        "the refused payment moved money: {before:?}, then {after:?}"
    );
    Ok(())
}

/// Bob switches AMP on and starts again.
pub async fn accept_amp(network: &mut Network) -> Result<()> {
    let status = network["bob"].stop().await?;
    ensure!(
        status.success(),
        "Bob's node ended with {status} after SIGTERM"
    );
    network["bob"].set_raw("accept-amp", "true");
    network.restart(&["bob"]).await?;
    network.wait_usable().await
}

async fn balances(network: &Network) -> Result<Vec<(String, u64)>> {
    let mut balances = Vec::new();
    for node in network.nodes() {
        balances.push((node.name().to_owned(), node.api()?.local_msat().await?));
    }
    Ok(balances)
}
