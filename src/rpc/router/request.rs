//! What a SendPaymentV2 request asks for.

use std::collections::BTreeMap;

use bitcoin::Network;
use tonic::Status;

use crate::amp::PaymentAddr;
use crate::invoices::decode::DecodedInvoice;
use crate::payments::{AmpPayment, Bolt11Payment, Limits};
use crate::rpc::errors::{refused, unsupported};
use crate::rpc::input::{
    amount_msat, check_network, not_negative, optional_32, public_key, within,
};
use crate::rpc::proto::routerrpc::SendPaymentRequest;

/// lnd's defaults and limit.
const DEFAULT_TIMEOUT: u64 = 60;
const DEFAULT_MAX_PARTS: u32 = 16;
const MOST_PARTS: u32 = 1_000;
/// The record in which a keysend payment carries its preimage.
const KEYSEND_RECORD: u64 = 5_482_373_484;

/// A payment that this node can make.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Amp(AmpPayment),
    Bolt11(Bolt11Payment),
}

/// Reads and checks the request. `cltv_delta` is the final one of payments to a public key.
pub(super) fn read(
    request: SendPaymentRequest,
    network: Network,
    cltv_delta: u32,
) -> Result<Order, Status> {
    if !(-1.0..=1.0).contains(&request.time_pref) {
        return Err(refused("time preference out of range"));
    }
    if !request.first_hop_custom_records.is_empty() {
        return Err(unsupported("first_hop_custom_records is not supported"));
    }
    let limits = limits(&request)?;
    let amount_msat = amount_msat(request.amt, request.amt_msat)?;
    if request.payment_request.is_empty() {
        to_public_key(request, limits, amount_msat, cltv_delta).map(Order::Amp)
    } else {
        to_invoice(request, limits, amount_msat, network).map(Order::Bolt11)
    }
}

fn limits(request: &SendPaymentRequest) -> Result<Limits, Status> {
    if request.max_parts > MOST_PARTS {
        let asked = request.max_parts;
        return Err(refused(format!(
            "requested max_parts ({asked}) exceeds the allowed upper limit of {MOST_PARTS}; \
             cannot issue payment"
        )));
    }
    let last_hop = match request.last_hop_pubkey.as_slice() {
        [] => None,
        bytes => Some(public_key(bytes)?),
    };
    Ok(Limits {
        // Nothing said means free routes only, as in lnd.
        fee_limit_msat: amount_msat(request.fee_limit_sat, request.fee_limit_msat)?,
        timeout_seconds: match not_negative(request.timeout_seconds, "timeout_seconds")? {
            0 => DEFAULT_TIMEOUT,
            seconds => seconds,
        },
        max_parts: match request.max_parts {
            0 => DEFAULT_MAX_PARTS,
            parts => parts,
        },
        max_shard_msat: request.max_shard_size_msat,
        cltv_limit: within(request.cltv_limit, "cltv_limit")?,
        outgoing_channels: request.outgoing_chan_ids.clone(),
        last_hop,
    })
}

fn to_public_key(
    request: SendPaymentRequest,
    limits: Limits,
    amount_msat: u64,
    cltv_delta: u32,
) -> Result<AmpPayment, Status> {
    let destination = public_key(&request.dest)?;
    if amount_msat == 0 {
        return Err(refused("amount must be specified"));
    }
    let final_cltv_delta: u16 = within(request.final_cltv_delta, "final_cltv_delta")?;
    if !request.amp {
        return Err(not_amp(&request.dest_custom_records));
    }
    if !request.route_hints.is_empty() {
        return Err(unsupported(
            "route_hints are not supported for a payment to a public key: leave them out",
        ));
    }
    let payment_addr = optional_32(&request.payment_addr, "payment addr")?;
    let mut custom_records = request.dest_custom_records;
    // Zeus sends both; AMP has preimages of its own.
    custom_records.remove(&KEYSEND_RECORD);
    Ok(AmpPayment {
        destination,
        amount_msat,
        payment_addr: payment_addr.map(PaymentAddr::from_bytes),
        final_cltv_delta: match final_cltv_delta {
            0 => cltv_delta,
            blocks => u32::from(blocks),
        },
        custom_records,
        limits,
    })
}

fn not_amp(records: &BTreeMap<u64, Vec<u8>>) -> Status {
    if records.contains_key(&KEYSEND_RECORD) {
        unsupported("keysend comes with a later version; set amp to pay to a public key")
    } else {
        unsupported(
            "a payment to a public key with a payment hash is not supported: set amp, or give a \
             payment_request",
        )
    }
}

fn to_invoice(
    request: SendPaymentRequest,
    limits: Limits,
    amount_msat: u64,
    network: Network,
) -> Result<Bolt11Payment, Status> {
    refuse_contradictions(&request)?;
    let invoice: DecodedInvoice = request.payment_request.parse()?;
    check_network(invoice.network, network)?;
    if invoice.is_amp() {
        return Err(unsupported(
            "paying AMP invoices comes with a later version; an AMP payment to the public key of \
             the node works",
        ));
    }
    let amount_msat = match (invoice.amount_msat.filter(|msat| *msat > 0), amount_msat) {
        (Some(asked), 0) => asked,
        (Some(_), _) => {
            return Err(refused(
                "amount must not be specified when paying a non-zero amount invoice",
            ));
        }
        (None, 0) => {
            return Err(refused(
                "amount must be specified when paying a zero amount invoice",
            ));
        }
        (None, given) => given,
    };
    Ok(Bolt11Payment {
        destination: invoice.destination,
        payment_hash: invoice.payment_hash,
        payment_secret: invoice.payment_secret,
        amount_msat,
        final_cltv_delta: within(invoice.cltv_delta, "the invoice's final CLTV delta")?,
        multi_part: invoice.is_multi_part(),
        expires_at: invoice.expires_at(),
        payment_metadata: invoice.payment_metadata,
        route_hints: invoice.route_hints,
        payment_request: request.payment_request,
        custom_records: request.dest_custom_records,
        limits,
    })
}

/// What the invoice says cannot be said by the caller, too.
fn refuse_contradictions(request: &SendPaymentRequest) -> Result<(), Status> {
    let said = [
        ("dest", !request.dest.is_empty()),
        ("payment_hash", !request.payment_hash.is_empty()),
        ("final_cltv_delta", request.final_cltv_delta != 0),
    ];
    match said.iter().find(|(_, said)| *said) {
        Some((field, _)) => Err(refused(format!(
            "{field} and payment_request cannot appear together"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
