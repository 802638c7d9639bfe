//! CancelInvoice, DeleteCanceledInvoice.

use bitcoin::hex::FromHex;
use lightning_types::payment::PaymentHash;
use tonic::Status;

use crate::invoices::{InvoiceError, Registry};
use crate::model::invoice::InvoiceRef;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::hash;
use lnd_api::proto::invoicesrpc::{CancelInvoiceMsg, CancelInvoiceResp};
use lnd_api::proto::lnrpc::{DelCanceledInvoiceReq, DelCanceledInvoiceResp};

/// Cancels an invoice. Canceling it again is not an error.
pub(super) async fn cancel(
    registry: &Registry,
    request: &CancelInvoiceMsg,
) -> Result<CancelInvoiceResp, Status> {
    let by_hash = InvoiceRef::Hash(PaymentHash(hash(&request.payment_hash)?));
    registry.cancel(&by_hash).await.map_err(change_error)?;
    Ok(CancelInvoiceResp {})
}

/// Deletes a canceled invoice.
pub(in crate::rpc) async fn delete_canceled(
    registry: &Registry,
    request: &DelCanceledInvoiceReq,
) -> Result<DelCanceledInvoiceResp, Status> {
    let hash = invoice_hash(&request.invoice_hash)?;
    registry
        .delete_canceled(&hash)
        .await
        .map_err(change_error)?;
    let hash = &request.invoice_hash;
    Ok(DelCanceledInvoiceResp {
        status: format!("canceled invoice deleted successfully: invoice hash {hash}"),
    })
}

fn invoice_hash(text: &str) -> Result<PaymentHash, Status> {
    let length = text.len();
    match length {
        0 => Err(refused("invoice hash must be provided")),
        64 => <[u8; 32]>::from_hex(text)
            .map(PaymentHash)
            .map_err(|error| refused(format!("invalid hash: {error}"))),
        _ => Err(refused(format!(
            "invalid hash string length of {length}, want 64"
        ))),
    }
}

/// Maps an error of an operation that changes an invoice. For an unknown invoice, lnd returns code `Unknown`
/// in these operations.
pub(super) fn change_error(error: InvoiceError) -> Status {
    match error {
        InvoiceError::NotFound => refused(error.to_string()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn rejects_malformed_hashes_with_lnds_texts() {
        let refusal = |text: &str| invoice_hash(text).unwrap_err().message().to_owned();
        assert_eq!(refusal(""), "invoice hash must be provided");
        assert_eq!(refusal("1122"), "invalid hash string length of 4, want 64");
        assert!(refusal(&"xy".repeat(32)).starts_with("invalid hash: "));
        assert!(refusal(&"ä".repeat(32)).starts_with("invalid hash: "));
        assert_eq!(
            invoice_hash(&"11".repeat(32)).unwrap(),
            PaymentHash([0x11; 32])
        );
    }

    #[test]
    fn unknown_invoice_has_lnds_code() {
        let status = change_error(InvoiceError::NotFound);
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(status.message(), "unable to locate invoice");
    }
}
