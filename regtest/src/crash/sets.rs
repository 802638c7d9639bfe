//! AMP sets at both ends: all shards of a set are settled or none, sender and receiver agree on
//! each, and none was sent twice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{AmpRecord, Hop, HtlcAttempt, Invoice, InvoiceHtlcState, Payment};

use crate::api::bytes;

/// A settled shard: its amount in msat and its preimage.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shard {
    amount_msat: u64,
    preimage: Vec<u8>,
}

/// Settled shards by set id and child index.
type Shards = BTreeMap<(Vec<u8>, u32), Shard>;

/// Compares completed payments with the invoices of all receivers.
///
/// # Errors
/// Names a set that is partly settled or on which the ends disagree, or a shard that was sent
/// twice.
pub(super) fn compare(payments: &[Payment], invoices: &[Invoice]) -> Result<()> {
    check_sent_once(payments)?;
    check_received_once(invoices)?;
    let mut sent = Shards::new();
    for payment in payments {
        let shards = sent_shards(payment)?;
        check_whole(payment, &shards)?;
        sent.extend(shards);
    }
    let received = received_shards(invoices);
    for ((set_id, index), shard) in &received {
        let name = || format!("shard {index} of set {}", hex(set_id));
        let other = sent.remove(&(set_id.clone(), *index));
        let other = other.with_context(|| format!("{} is settled only at its receiver", name()))?;
        ensure!(
            *shard == other,
            "sender and receiver disagree on {}: {shard:?} received, {other:?} sent",
            name()
        );
    }
    ensure!(
        sent.is_empty(),
        "settled only at their senders: {:?}",
        sent.keys()
    );
    Ok(())
}

/// An attempt's hash follows from share and child index: no two attempts may have both in common.
fn check_sent_once(payments: &[Payment]) -> Result<()> {
    for payment in payments {
        let mut seen = BTreeSet::new();
        for (_, record) in payment.htlcs.iter().filter_map(amp_hop) {
            ensure!(
                seen.insert((&record.root_share, record.child_index)),
                "{} has two attempts with the same share for child {}",
                payment.payment_hash,
                record.child_index
            );
        }
    }
    Ok(())
}

/// Includes failed HTLCs: a retry of a failed attempt has a different hash.
fn check_received_once(invoices: &[Invoice]) -> Result<()> {
    let htlcs = invoices.iter().flat_map(|invoice| &invoice.htlcs);
    let mut seen = BTreeSet::new();
    for amp in htlcs.filter_map(|htlc| htlc.amp.as_ref()) {
        ensure!(
            seen.insert(&amp.hash),
            "an HTLC with the hash {} was received twice, for the set {}",
            hex(&amp.hash),
            hex(&amp.set_id)
        );
    }
    Ok(())
}

/// A successful AMP payment settled its whole amount, a failed one none of it. Other payments need
/// no such check: all their parts share one hash, so no part can be claimed alone.
fn check_whole(payment: &Payment, shards: &Shards) -> Result<()> {
    let whole = match payment.status() {
        PaymentStatus::Succeeded if is_amp(payment) => u64::try_from(payment.value_msat)?,
        _ => 0,
    };
    let arrived: u64 = shards.values().map(|shard| shard.amount_msat).sum();
    ensure!(
        arrived == whole,
        "partly paid: {} is {} and settled {arrived} of {} msat",
        payment.payment_hash,
        payment.status().as_str_name(),
        payment.value_msat,
    );
    Ok(())
}

fn is_amp(payment: &Payment) -> bool {
    payment.htlcs.iter().any(|htlc| amp_hop(htlc).is_some())
}

/// The last hop, if it carries a shard.
fn amp_hop(htlc: &HtlcAttempt) -> Option<(&Hop, &AmpRecord)> {
    let last = htlc.route.as_ref()?.hops.last()?;
    Some((last, last.amp_record.as_ref()?))
}

fn sent_shards(payment: &Payment) -> Result<Shards> {
    let mut shards = Shards::new();
    let arrived = payment
        .htlcs
        .iter()
        .filter(|htlc| htlc.status() == HtlcStatus::Succeeded);
    for htlc in arrived {
        let Some((last, record)) = amp_hop(htlc) else {
            continue;
        };
        ensure!(
            record.set_id == bytes(&payment.payment_hash)?,
            "a shard of {} has a different set id",
            payment.payment_hash
        );
        let shard = Shard {
            amount_msat: u64::try_from(last.amt_to_forward_msat)?,
            preimage: htlc.preimage.clone(),
        };
        shards.insert((record.set_id.clone(), record.child_index), shard);
    }
    Ok(shards)
}

fn received_shards(invoices: &[Invoice]) -> Shards {
    let htlcs = invoices.iter().flat_map(|invoice| &invoice.htlcs);
    let settled = htlcs.filter(|htlc| htlc.state() == InvoiceHtlcState::Settled);
    let shards = settled.filter_map(|htlc| {
        let amp = htlc.amp.as_ref()?;
        let shard = Shard {
            amount_msat: htlc.amt_msat,
            preimage: amp.preimage.clone(),
        };
        Some(((amp.set_id.clone(), amp.child_index), shard))
    });
    shards.collect()
}

fn hex(bytes: &[u8]) -> String {
    use bitcoin::hex::DisplayHex;
    bytes.to_lower_hex_string()
}
