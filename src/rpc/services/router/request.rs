//! Parsing of SendPaymentV2 requests.

use std::collections::BTreeMap;

use bitcoin::Network;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use tonic::Status;

use crate::invoices::decode::DecodedInvoice;
use crate::payments::{Limits, Method, NewPayment, PaidInvoice};
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::parse::{
    amount_msat, check_network, hash, not_negative, optional_32, public_key, within,
};
use crate::rpc::convert::route_hints::from_messages;
use ldk_amp::PaymentAddr;
use lnd_api::proto::routerrpc::SendPaymentRequest;

/// lnd's default timeout (seconds) and numbers of parts.
const DEFAULT_TIMEOUT: u64 = 60;
const DEFAULT_MAX_PARTS: u32 = 16;
const MAX_PARTS: u32 = 1_000;
/// The TLV type in which a keysend payment carries its preimage.
const KEYSEND_RECORD: u64 = 5_482_373_484;
/// The MPP feature bits, required and optional.
const MPP: (i32, i32) = (16, 17);
/// The feature bits of AMP and what it depends on: payment address and TLV onion.
const AMP_NEEDS: [(i32, i32); 3] = [(30, 31), (14, 15), (8, 9)];

/// Parses and checks the request. `cltv_delta` is the final CLTV delta of payments to a public key.
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
    // Without a maximum part size, max_parts is only an upper bound, however high (lnd).
    if request.max_parts > MAX_PARTS && request.max_shard_size_msat > 0 {
        let asked = request.max_parts;
        return Err(refused(format!(
            "requested max_parts ({asked}) exceeds the allowed upper limit of {MAX_PARTS}; \
             cannot issue payment"
        )));
    }
    let last_hop = match request.last_hop_pubkey.as_slice() {
        [] => None,
        bytes => Some(public_key(bytes)?),
    };
    Ok(Limits {
        // As in lnd, no fee limit means that only free routes are allowed.
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
    let method = if request.amp {
        amp_to_public_key(&request)?
    } else {
        by_hash(&request)?
    };
    Ok(NewPayment {
        destination,
        amount_msat,
        final_cltv_delta: match final_cltv_delta {
            0 => cltv_delta,
            blocks => u32::from(blocks),
        },
        invoice: None,
        route_hints: from_messages(&request.route_hints)?,
        custom_records: records(&method, request.dest_custom_records),
        allow_self_payment: request.allow_self_payment,
        method,
        limits,
    })
}

/// An AMP payment to a public key. As in lnd, a destination without feature bits is assumed to support AMP.
fn amp_to_public_key(request: &SendPaymentRequest) -> Result<Method, Status> {
    let features = &request.dest_features;
    if !features.is_empty() && !AMP_NEEDS.iter().all(|pair| has(features, *pair)) {
        return Err(refused("destination doesn't support AMP payments"));
    }
    Ok(Method::Amp {
        payment_addr: payment_addr(request)?,
    })
}

/// A keysend, or a payment to a hash that the client knows.
fn by_hash(request: &SendPaymentRequest) -> Result<Method, Status> {
    if let Some(preimage) = request.dest_custom_records.get(&KEYSEND_RECORD) {
        return keysend(request, preimage);
    }
    let payment_addr = payment_addr(request)?;
    Ok(Method::Hash {
        payment_hash: PaymentHash(hash(&request.payment_hash)?),
        multi_part: payment_addr.is_some() && has(&request.dest_features, MPP),
        payment_addr,
    })
}

/// A keysend: one part without payment address, since the receiver cannot associate several parts.
fn keysend(request: &SendPaymentRequest, preimage: &[u8]) -> Result<Method, Status> {
    if request.max_shard_size_msat > 0 {
        return Err(refused("MPP not supported with keysend payments"));
    }
    if !request.payment_addr.is_empty() {
        return Err(refused(
            "payment_addr is not supported with keysend payments",
        ));
    }
    let preimage: [u8; 32] = preimage.try_into().map_err(|_| {
        let length = preimage.len();
        refused(format!(
            "keysend preimage must be exactly 32 bytes, is instead {length}"
        ))
    })?;
    let of_preimage = PaymentHash::from(PaymentPreimage(preimage));
    if !request.payment_hash.is_empty() && hash(&request.payment_hash)? != of_preimage.0 {
        return Err(refused(
            "payment_hash is not the hash of the keysend preimage",
        ));
    }
    Ok(Method::Hash {
        payment_hash: of_preimage,
        payment_addr: None,
        multi_part: false,
    })
}

/// Returns whether the destination has the feature, as required (even bit) or optional.
fn has(features: &[i32], (required, optional): (i32, i32)) -> bool {
    features.contains(&required) || features.contains(&optional)
}

fn payment_addr(request: &SendPaymentRequest) -> Result<Option<PaymentAddr>, Status> {
    let bytes = optional_32(&request.payment_addr, "payment addr")?;
    Ok(bytes.map(PaymentAddr::from_bytes))
}

/// Returns the custom records for the payee. Zeus adds the keysend record to AMP payments; it is dropped,
/// because AMP derives its own preimages.
fn records(method: &Method, mut records: BTreeMap<u64, Vec<u8>>) -> BTreeMap<u64, Vec<u8>> {
    if let Method::Amp { .. } = method {
        records.remove(&KEYSEND_RECORD);
    }
    records
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
    Ok(NewPayment {
        destination: invoice.destination,
        amount_msat: invoice_amount(&invoice, amount_msat)?,
        final_cltv_delta: within(invoice.cltv_delta, "the invoice's final CLTV delta")?,
        route_hints: from_messages(&request.route_hints)?,
        custom_records: records(&method, request.dest_custom_records),
        allow_self_payment: request.allow_self_payment,
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

/// Selects the payment method. AMP invoices are always paid with AMP, even without the `amp` flag, which lnd
/// requires; as in lnd, the flag has no effect on BOLT 11 invoices without AMP.
///
/// As in lnd, the client's `payment_addr` counts for AMP invoices only: the receiver then treats the payment
/// as spontaneous.
fn method(invoice: &DecodedInvoice, request: &SendPaymentRequest) -> Result<Method, Status> {
    let of_invoice = PaymentAddr::from_bytes(invoice.payment_secret.0);
    if !invoice.is_amp() {
        return Ok(Method::Hash {
            payment_hash: invoice.payment_hash,
            payment_addr: Some(of_invoice),
            multi_part: invoice.is_multi_part(),
        });
    }
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

/// Refuses fields that the invoice already determines.
fn refuse_contradictions(request: &SendPaymentRequest) -> Result<(), Status> {
    let given = [
        ("dest", !request.dest.is_empty()),
        ("payment_hash", !request.payment_hash.is_empty()),
        ("final_cltv_delta", request.final_cltv_delta != 0),
    ];
    match given.iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(refused(format!(
            "{field} and payment_request cannot appear together"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
