//! What a SendPaymentV2 request asks for.

use std::collections::BTreeMap;

use bitcoin::Network;
use tonic::Status;

use crate::amp::PaymentAddr;
use crate::invoices::decode::DecodedInvoice;
use crate::payments::{Limits, Method, NewPayment, PaidInvoice};
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

/// Reads and checks the request. `cltv_delta` is the final one of payments to a public key.
pub(super) fn read(
    request: SendPaymentRequest,
    network: Network,
    cltv_delta: u32,
) -> Result<NewPayment, Status> {
    if !(-1.0..=1.0).contains(&request.time_pref) {
        return Err(refused("time preference out of range"));
    }
    if !request.first_hop_custom_records.is_empty() {
        return Err(unsupported("first_hop_custom_records is not supported"));
    }
    let limits = limits(&request)?;
    let amount_msat = amount_msat(request.amt, request.amt_msat)?;
    if request.payment_request.is_empty() {
        to_public_key(request, limits, amount_msat, cltv_delta)
    } else {
        to_invoice(request, limits, amount_msat, network)
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
) -> Result<NewPayment, Status> {
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
    let payment_addr = payment_addr(&request)?;
    Ok(NewPayment {
        destination,
        amount_msat,
        final_cltv_delta: match final_cltv_delta {
            0 => cltv_delta,
            blocks => u32::from(blocks),
        },
        method: Method::Amp { payment_addr },
        invoice: None,
        custom_records: amp_records(request.dest_custom_records),
        limits,
    })
}

fn payment_addr(request: &SendPaymentRequest) -> Result<Option<PaymentAddr>, Status> {
    let bytes = optional_32(&request.payment_addr, "payment addr")?;
    Ok(bytes.map(PaymentAddr::from_bytes))
}

/// Zeus adds the record of a keysend payment; AMP has preimages of its own.
fn amp_records(mut records: BTreeMap<u64, Vec<u8>>) -> BTreeMap<u64, Vec<u8>> {
    records.remove(&KEYSEND_RECORD);
    records
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
) -> Result<NewPayment, Status> {
    refuse_contradictions(&request)?;
    let invoice: DecodedInvoice = request.payment_request.parse()?;
    check_network(invoice.network, network)?;
    let method = method(&invoice, &request)?;
    let records = request.dest_custom_records;
    Ok(NewPayment {
        destination: invoice.destination,
        amount_msat: invoice_amount(&invoice, amount_msat)?,
        final_cltv_delta: within(invoice.cltv_delta, "the invoice's final CLTV delta")?,
        custom_records: match method {
            Method::Amp { .. } => amp_records(records),
            Method::Bolt11 { .. } => records,
        },
        method,
        invoice: Some(PaidInvoice {
            payment_request: request.payment_request,
            expires_at: invoice.expires_at(),
            route_hints: invoice.route_hints,
            payment_metadata: invoice.payment_metadata,
        }),
        limits,
    })
}

/// An AMP invoice is paid with AMP, whether the caller says so or not; lnd insists on it.
///
/// Only there a payment address of the caller's counts (lnd): the receiver then takes the payment
/// for a spontaneous one.
fn method(invoice: &DecodedInvoice, request: &SendPaymentRequest) -> Result<Method, Status> {
    if !invoice.is_amp() {
        return Ok(Method::Bolt11 {
            payment_hash: invoice.payment_hash,
            payment_secret: invoice.payment_secret,
            multi_part: invoice.is_multi_part(),
        });
    }
    let of_invoice = PaymentAddr::from_bytes(invoice.payment_secret.0);
    Ok(Method::Amp {
        payment_addr: Some(payment_addr(request)?.unwrap_or(of_invoice)),
    })
}

fn invoice_amount(invoice: &DecodedInvoice, given_msat: u64) -> Result<u64, Status> {
    match (invoice.amount_msat.unwrap_or(0), given_msat) {
        (0, 0) => Err(refused(
            "amount must be specified when paying a zero amount invoice",
        )),
        (0, given) => Ok(given),
        (asked, 0) => Ok(asked),
        (_, _) => Err(refused(
            "amount must not be specified when paying a non-zero amount invoice",
        )),
    }
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
