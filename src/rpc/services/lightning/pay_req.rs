//! DecodePayReq: decodes invoices, including AMP invoices.

use bitcoin::hex::DisplayHex;
use tonic::Status;

use crate::invoices::decode::DecodedInvoice;
use crate::rpc::convert::invoice::features_of;
use crate::rpc::convert::parse::check_network;
use crate::rpc::convert::route_hints;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc::{PayReq, PayReqString};

/// Decodes an invoice for this network.
pub(super) fn decode(context: &Context, request: &PayReqString) -> Result<PayReq, Status> {
    let invoice: DecodedInvoice = request.pay_req.parse()?;
    check_network(invoice.network, context.node.network)?;
    Ok(message(&invoice))
}

fn message(invoice: &DecodedInvoice) -> PayReq {
    let msat = invoice.amount_msat.unwrap_or_default();
    let description_hash = invoice.description_hash;
    PayReq {
        destination: invoice.destination.serialize().to_lower_hex_string(),
        payment_hash: invoice.payment_hash.0.to_lower_hex_string(),
        num_satoshis: signed(msat / 1000),
        timestamp: signed(invoice.timestamp),
        expiry: signed(invoice.expiry),
        description: invoice.description.clone(),
        description_hash: description_hash
            .map(|h| h.to_lower_hex_string())
            .unwrap_or_default(),
        fallback_addr: invoice.fallback.clone().unwrap_or_default(),
        cltv_expiry: signed(invoice.cltv_delta),
        route_hints: route_hints::to_messages(&invoice.route_hints),
        payment_addr: invoice.payment_secret.0.to_vec(),
        num_msat: signed(msat),
        features: features_of(invoice),
        blinded_paths: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::rpc::test_recordings::{printed, text};

    /// AMP and BOLT 11 invoices, with and without amount, description hash, fallback address, route hints.
    #[test]
    fn decoded_invoices_match_lnd() {
        let lnd = include_str!("../../../../tests/data/lnd_invoices.json");
        let lnd: Vec<Value> = serde_json::from_str(lnd).unwrap();
        assert_eq!(lnd.len(), 8);
        for invoice in lnd {
            let request = text(&invoice["addinvoice"]["payment_request"]);
            let shown = message(&request.parse().unwrap());
            assert_eq!(
                printed(&shown),
                invoice["decodepayreq"],
                "{}",
                invoice["name"]
            );
        }
    }
}
