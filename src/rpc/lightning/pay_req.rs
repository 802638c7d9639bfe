//! DecodePayReq: what an invoice says, AMP invoices included.

use bitcoin::hex::DisplayHex;
use tonic::Status;

use crate::invoices::decode::DecodedInvoice;
use crate::rpc::input::check_network;
use crate::rpc::invoice::features_of;
use crate::rpc::proto::lnrpc::{PayReq, PayReqString};
use crate::rpc::{Rooms, route_hints, signed};

/// Reads an invoice of this network.
pub(super) fn decode(rooms: &Rooms, request: &PayReqString) -> Result<PayReq, Status> {
    let invoice: DecodedInvoice = request.pay_req.parse()?;
    check_network(invoice.network, rooms.network)?;
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
    use super::*;
    use crate::rpc::recorded::{recorded, text};

    #[test]
    fn amp_invoice_is_read() {
        let lnd = recorded("lookupinvoice_amp_open.json");
        let shown = message(&text(&lnd["payment_request"]).parse().unwrap());
        assert_eq!(
            shown.payment_hash,
            "99ca1c06c59c3949ae22eb50bb0cd797480214ebe621442e63859dd339627036"
        );
        assert_eq!(
            shown.payment_addr.to_lower_hex_string(),
            "eea1866ac9d5b7ebb0a45fb4baa14eec4fed57eeb17152735dc385a5b82a061b"
        );
        assert_eq!((shown.num_satoshis, shown.num_msat), (900_000, 900_000_000));
        assert_eq!((shown.expiry, shown.cltv_expiry), (2_592_000, 80));
        assert_eq!(shown.description, "my first amp");
        assert_eq!(shown.timestamp, 1_795_358_814);
        let features: Vec<_> = shown.features.keys().copied().collect();
        assert_eq!(features, [8, 14, 30]);
    }
}
