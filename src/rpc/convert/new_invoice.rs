//! Parses the fields that AddInvoice and AddHoldInvoice have in common.

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use lightning_types::payment::PaymentPreimage;
use tonic::Status;

use crate::invoices::{Expiry, NewInvoice, Purpose};
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::parse::{amount_msat, not_negative};
use crate::rpc::convert::route_hints;
use lnd_api::proto::lnrpc::Invoice;

/// `expiry` value for an AMP invoice that never expires. An ampd extension; lnd refuses it.
const NEVER_EXPIRES: i64 = i64::MAX;

/// Parses an AddInvoice request.
pub(in crate::rpc) fn read(request: Invoice) -> Result<NewInvoice, Status> {
    refuse_blinded(&request)?;
    Ok(NewInvoice {
        purpose: purpose(&request)?,
        description_hash: bytes_32(&request.description_hash, |length| {
            format!("description hash is {length} bytes, must be 32")
        })?,
        value_msat: amount_msat(request.value, request.value_msat)?,
        expiry: expiry(request.expiry)?,
        cltv_delta: request.cltv_expiry,
        fallback: fallback(&request.fallback_addr)?,
        private: request.private,
        route_hints: route_hints::from_messages(&request.route_hints)?,
        memo: request.memo,
    })
}

fn refuse_blinded(request: &Invoice) -> Result<(), Status> {
    match (
        request.is_blinded || request.blinded_path_config.is_some(),
        request.is_amp,
    ) {
        (true, true) => Err(refused(
            "AMP invoices with blinded paths are not yet supported",
        )),
        (true, false) => Err(unsupported("invoices with blinded paths are not supported")),
        (false, _) => Ok(()),
    }
}

fn purpose(request: &Invoice) -> Result<Purpose, Status> {
    let preimage = bytes_32(&request.r_preimage, |length| {
        format!("invalid preimage length of {length}, want 32")
    })?;
    match (request.is_amp, preimage) {
        (true, Some(_)) => Err(refused("preimage set on AMP invoice")),
        (true, None) => Ok(Purpose::Amp),
        (false, preimage) => Ok(Purpose::Once {
            preimage: preimage.map(PaymentPreimage),
        }),
    }
}

fn expiry(seconds: i64) -> Result<Expiry, Status> {
    match seconds {
        0 => Ok(Expiry::Default),
        NEVER_EXPIRES => Ok(Expiry::Never),
        seconds => not_negative(seconds, "expiry").map(Expiry::Seconds),
    }
}

fn fallback(text: &str) -> Result<Option<Address<NetworkUnchecked>>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse();
    address
        .map(Some)
        .map_err(|error| refused(format!("invalid fallback address: {error}")))
}

fn bytes_32(
    bytes: &[u8],
    refusal: impl FnOnce(usize) -> String,
) -> Result<Option<[u8; 32]>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let array = bytes.try_into();
    let array = array.map_err(|_| refused(refusal(bytes.len())))?;
    Ok(Some(array))
}

#[cfg(test)]
mod tests;
