//! Checks the AMP properties of a payment at both ends.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{Amp, HtlcAttempt, InvoiceHtlcState, Payment};

use crate::api::{Api, bytes};

/// A settled shard of the payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Public keys of the hops, the receiver last.
    pub route: Vec<String>,
    /// Amount received, in msat.
    pub amount_msat: u64,
    pub hash: Vec<u8>,
    pub preimage: Vec<u8>,
}

/// Checks that every shard of a payment has its own payment hash and the matching preimage, that
/// sender and receiver agree on each shard, and that all shards share one set_id.
///
/// # Errors
/// Names the check that fails.
pub async fn prove(payment: &Payment, receiver: &Api) -> Result<Vec<Shard>> {
    let set_id = bytes(&payment.payment_hash)?;
    let received = received(&set_id, receiver).await?;
    let arrived = payment
        .htlcs
        .iter()
        .filter(|htlc| htlc.status() == HtlcStatus::Succeeded);
    let shards = arrived.map(|htlc| shard(htlc, &set_id, &received));
    let shards = shards.collect::<Result<Vec<_>>>()?;
    ensure!(
        shards.len() == received.len(),
        "{} shards were sent and {} received",
        shards.len(),
        received.len()
    );
    let hashes: BTreeSet<_> = shards.iter().map(|shard| &shard.hash).collect();
    ensure!(
        hashes.len() == shards.len(),
        "two shards share a payment hash"
    );
    let total: u64 = shards.iter().map(|shard| shard.amount_msat).sum();
    ensure!(
        total == u64::try_from(payment.value_msat)?,
        "the shards add up to {total} msat"
    );
    Ok(shards)
}

/// The set's settled HTLCs at the receiver, with their amounts in msat, by child index.
async fn received(set_id: &[u8], receiver: &Api) -> Result<BTreeMap<u32, (Amp, u64)>> {
    let invoices = receiver.invoices(0).await?.invoices;
    let htlcs = invoices.into_iter().flat_map(|invoice| invoice.htlcs);
    let settled = htlcs.filter(|htlc| htlc.state() == InvoiceHtlcState::Settled);
    let ours = settled.filter_map(|htlc| {
        let amp = htlc.amp.filter(|amp| amp.set_id == set_id)?;
        Some((amp.child_index, (amp, htlc.amt_msat)))
    });
    Ok(ours.collect())
}

fn shard(sent: &HtlcAttempt, set_id: &[u8], received: &BTreeMap<u32, (Amp, u64)>) -> Result<Shard> {
    let route = sent.route.as_ref().context("a shard has no route")?;
    let last = route.hops.last().context("a route has no hops")?;
    let record = last
        .amp_record
        .as_ref()
        .context("the last hop has no AMP record")?;
    ensure!(record.set_id == set_id, "a shard has a different set_id");
    let index = record.child_index;
    let (amp, amount_msat) = received
        .get(&index)
        .with_context(|| format!("the receiver has no settled shard {index}"))?;
    ensure!(
        amp.preimage == sent.preimage,
        "sender and receiver disagree on the preimage of shard {index}"
    );
    let hash = sha256::Hash::hash(&amp.preimage).to_byte_array();
    ensure!(
        hash[..] == amp.hash,
        "the preimage of shard {index} does not match its payment hash"
    );
    ensure!(
        u64::try_from(last.amt_to_forward_msat)? == *amount_msat,
        "sender and receiver disagree on the amount of shard {index}"
    );
    Ok(Shard {
        route: route.hops.iter().map(|hop| hop.pub_key.clone()).collect(),
        amount_msat: *amount_msat,
        hash: amp.hash.clone(),
        preimage: amp.preimage.clone(),
    })
}
