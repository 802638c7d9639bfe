//! The demo: an AMP payment split across three routes, none of which could carry it alone, and
//! a static invoice that is paid twice.

mod proof;
mod static_invoice;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Payment, PaymentFailureReason};

use crate::api::amp_to;
use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};

pub use proof::{Shard, prove};
pub use static_invoice::{Tips, pay_twice};

/// Capacity of each of the six channels.
pub const CAPACITY_SAT: u64 = 1_000_000;
/// Exceeds what two routes can carry together, so all three are needed.
pub const AMOUNT_MSAT: u64 = 2_000_000_000;
const FORWARDERS: [&str; 3] = ["carol", "dave", "eve"];
/// HTLCs of a completed payment are removed from the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Runs the demo and prints what happens.
///
/// # Errors
/// If any check fails.
pub async fn run(binaries: Binaries) -> Result<()> {
    let start = Instant::now();
    println!("Starting bitcoind (regtest) and five nodes, opening six channels ...\n");
    let mut network = three_routes(binaries).await?;
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
        "All checks passed in {:.1} seconds.",
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Starts Alice and Bob with three disjoint routes between them. `accept-amp` is off, the default.
pub async fn three_routes(binaries: Binaries) -> Result<Network> {
    let mut network = Network::start(binaries).await?;
    let names = ["alice", "bob", "carol", "dave", "eve"];
    let nodes = names.iter().map(|name| network.prepare(name));
    let nodes = nodes.collect::<Result<Vec<_>>>()?;
    network.add(nodes).await?;
    let plans: Vec<ChannelPlan<'_>> = FORWARDERS
        .iter()
        .flat_map(|middle| {
            let first = ChannelPlan::new("alice", middle, CAPACITY_SAT);
            [first, ChannelPlan::new(middle, "bob", CAPACITY_SAT)]
        })
        .collect();
    network.open(&plans).await?;
    Ok(network)
}

/// A completed payment and its effect on the balances.
#[derive(Debug)]
pub struct Paid {
    pub payment: Payment,
    pub shards: Vec<Shard>,
    /// Local channel balances in msat.
    pub alice: Change,
    pub bob: Change,
}

/// A balance before and after the payment, in msat.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub before: u64,
    pub after: u64,
}

/// Lets Alice pay Bob's public key, and checks the payment at both ends.
pub async fn pay(network: &Network) -> Result<Paid> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let before = (alice.local_msat().await?, bob.local_msat().await?);
    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let payment = network.pay("alice", &request).await?;
    network.wait_settled(SETTLE_LIMIT).await?;

    let shards = prove(&payment, &bob).await?;
    ensure!(
        shards.len() >= FORWARDERS.len(),
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
        "Bob did not receive the exact amount: {bob:?}"
    );
    ensure!(
        alice.before == alice.after + AMOUNT_MSAT + fee,
        "Alice did not pay exactly the amount plus the fee ({fee} msat): {alice:?}"
    );
    network.check_balances().await?;
    Ok(Paid {
        payment,
        shards,
        alice,
        bob,
    })
}

/// Checks that Alice's payment fails while Bob does not accept AMP, and that no balance changes.
pub async fn refused(network: &Network) -> Result<()> {
    let before = balances(network).await?;
    let request = amp_to(network["bob"].key(), AMOUNT_MSAT)?;
    let payment = network.pay_routed("alice", &request).await?;
    let reason = payment.failure_reason();
    ensure!(
        payment.status() == PaymentStatus::Failed
            && reason == PaymentFailureReason::FailureReasonIncorrectPaymentDetails,
        "expected a failure with INCORRECT_PAYMENT_DETAILS, got {} with {}",
        payment.status().as_str_name(),
        reason.as_str_name(),
    );
    network.wait_settled(SETTLE_LIMIT).await?;
    let after = balances(network).await?;
    ensure!(
        before == after,
        "the failed payment changed balances from {before:?} to {after:?}"
    );
    Ok(())
}

/// Turns on `accept-amp` at Bob's node and restarts it.
pub async fn accept_amp(network: &mut Network) -> Result<()> {
    let status = network["bob"].stop().await?;
    ensure!(
        status.success(),
        "Bob's node exited with {status} after SIGTERM"
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
