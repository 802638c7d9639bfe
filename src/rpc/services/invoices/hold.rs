//! AddHoldInvoice, SettleInvoice.

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use tonic::Status;

use super::change::change_error;
use crate::invoices::{InvoiceError, NewInvoice, Purpose, Registry};
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::new_invoice;
use crate::rpc::convert::parse::hash;
use lnd_api::proto::invoicesrpc::{
    AddHoldInvoiceRequest, AddHoldInvoiceResp, SettleInvoiceMsg, SettleInvoiceResp,
};
use lnd_api::proto::lnrpc::Invoice;

/// Creates a hold invoice.
pub(super) async fn add(
    context: &Context,
    request: AddHoldInvoiceRequest,
) -> Result<AddHoldInvoiceResp, Status> {
    let record = context.invoices.add(read(request)?).await?;
    Ok(AddHoldInvoiceResp {
        payment_request: record.terms.payment_request,
        add_index: record.add_index,
        payment_addr: record.payment_addr.as_bytes().to_vec(),
    })
}

/// Parses the request; the fields in common with AddInvoice are parsed by `new_invoice`.
fn read(request: AddHoldInvoiceRequest) -> Result<NewInvoice, Status> {
    let hash = PaymentHash(hash(&request.hash)?);
    let ordinary = Invoice {
        memo: request.memo,
        value: request.value,
        value_msat: request.value_msat,
        description_hash: request.description_hash,
        expiry: request.expiry,
        fallback_addr: request.fallback_addr,
        cltv_expiry: request.cltv_expiry,
        route_hints: request.route_hints,
        private: request.private,
        ..Default::default()
    };
    Ok(NewInvoice {
        purpose: Purpose::Hold { hash },
        ..new_invoice::read(ordinary)?
    })
}

/// Settles a held payment. Settling it again is not an error.
pub(super) async fn settle(
    registry: &Registry,
    request: &SettleInvoiceMsg,
) -> Result<SettleInvoiceResp, Status> {
    let preimage = preimage(&request.preimage)?;
    match registry.settle_hold(preimage).await {
        Ok(()) | Err(InvoiceError::AlreadySettled) => Ok(SettleInvoiceResp {}),
        Err(error) => Err(change_error(error)),
    }
}

fn preimage(bytes: &[u8]) -> Result<PaymentPreimage, Status> {
    let length = bytes.len();
    bytes
        .try_into()
        .map(PaymentPreimage)
        .map_err(|_| refused(format!("invalid preimage length of {length}, want 32")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoices::Expiry;
    use crate::rpc::test_recordings::{bytes_32, number, printed, recorded, text};

    #[test]
    fn response_matches_lnd() {
        let lnd = recorded("addholdinvoice.json");
        let ours = AddHoldInvoiceResp {
            payment_request: text(&lnd["payment_request"]),
            add_index: number(&lnd["add_index"]),
            payment_addr: bytes_32(&lnd["payment_addr"]).unwrap().to_vec(),
        };
        assert_eq!(printed(&ours).to_string(), lnd.to_string());
    }

    #[test]
    fn parses_every_field() {
        let request = AddHoldInvoiceRequest {
            memo: "held".into(),
            hash: vec![3; 32],
            value_msat: 1_500,
            expiry: 60,
            cltv_expiry: 90,
            private: true,
            ..Default::default()
        };
        let new = read(request).unwrap();
        assert_eq!(
            new.purpose,
            Purpose::Hold {
                hash: PaymentHash([3; 32])
            }
        );
        assert_eq!((new.memo.as_str(), new.value_msat), ("held", 1_500));
        assert_eq!((new.expiry, new.cltv_delta), (Expiry::Seconds(60), 90));
        assert!(new.private);
    }

    #[test]
    fn rejects_malformed_fields_with_lnds_texts() {
        let refusal = |request| read(request).unwrap_err().message().to_owned();
        let good = AddHoldInvoiceRequest {
            hash: vec![3; 32],
            ..Default::default()
        };
        let short = AddHoldInvoiceRequest {
            hash: vec![3; 31],
            ..Default::default()
        };
        assert_eq!(refusal(short), "invalid hash length of 31, want 32");
        assert_eq!(
            refusal(AddHoldInvoiceRequest::default()),
            "invalid hash length of 0, want 32"
        );
        let twice = AddHoldInvoiceRequest {
            value: 1,
            value_msat: 1,
            ..good.clone()
        };
        assert_eq!(
            refusal(twice),
            "sat and msat arguments are mutually exclusive"
        );
        let description = AddHoldInvoiceRequest {
            description_hash: vec![1],
            ..good
        };
        assert_eq!(
            refusal(description),
            "description hash is 1 bytes, must be 32"
        );
        assert_eq!(
            preimage(&[]).unwrap_err().message(),
            "invalid preimage length of 0, want 32"
        );
    }
}
