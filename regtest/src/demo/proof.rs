//! What makes a payment an AMP payment, checked at both ends.

use std::collections::{BTreeMap, BTreeSet};

use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{Amp, HtlcAttempt, InvoiceHtlcState, Payment};
use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};

use crate::api::{Api, bytes};

/// A part of the payment that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Public keys of the hops, the receiver last.
    pub way: Vec<String>,
    /// What the receiver got.
    pub amount_msat: u64,
    pub hash: Vec<u8>,
    pub preimage: Vec<u8>,
}

/// Checks that the shards of a payment each have their own hash, that each preimage belongs to
/// its hash, that sender and receiver tell the same, and that there is one set_id.
///
/// # Errors
/// Says which of this does not hold.
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
        "two shards have the same payment hash"
    );
    let total: u64 = shards.iter().map(|shard| shard.amount_msat).sum();
    ensure!(
        total == u64::try_from(payment.value_msat)?,
        "the shards sum up to {total} msat"
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
    let route = sent.route.as_ref().context("a shard without a route")?;
    let last = route.hops.last().context("a route without hops")?;
    let record = last
        .amp_record
        .as_ref()
        .context("a last hop without AMP record")?;
    ensure!(record.set_id == set_id, "a shard has another set_id");
    let index = record.child_index;
    let (amp, amount_msat) = received
        .get(&index)
        .with_context(|| format!("the receiver knows no settled shard {index}"))?;
    ensure!(
        amp.preimage == sent.preimage,
        "the ends disagree on the preimage of shard {index}"
    );
    let hash = sha256::Hash::hash(&amp.preimage).to_byte_array();
    ensure!(
        hash[..] == amp.hash,
        "the preimage of shard {index} does not belong to its hash"
    );
    ensure!(
        u64::try_from(last.amt_to_forward_msat)? == *amount_msat,
        "the ends disagree on the amount of shard {index}"
    );
    Ok(Shard {
        way: route.hops.iter().map(|hop| hop.pub_key.clone()).collect(),
        amount_msat: *amount_msat,
        hash: amp.hash.clone(),
        preimage: amp.preimage.clone(),
    })
}
