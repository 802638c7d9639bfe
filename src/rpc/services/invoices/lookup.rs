//! LookupInvoiceV2.

use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::PaymentHash;
use tonic::Status;

use crate::invoices::Registry;
use crate::model::invoice::{HtlcSelection, InvoiceRef};
use crate::rpc::convert::errors::invalid;
use crate::rpc::convert::invoice::invoice;
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef as Reference;
use lnd_api::proto::invoicesrpc::{LookupInvoiceMsg, LookupModifier};
use lnd_api::proto::lnrpc::Invoice;

/// Returns an invoice with the requested HTLCs.
pub(super) fn lookup(registry: &Registry, request: &LookupInvoiceMsg) -> Result<Invoice, Status> {
    let found = registry.lookup(&reference(request)?, selection(request)?)?;
    Ok(invoice(&found))
}

/// Parses the invoice reference. The first two error texts are lnd's. lnd truncates or pads an address or set
/// id of the wrong length, and then finds nothing.
fn reference(request: &LookupInvoiceMsg) -> Result<InvoiceRef, Status> {
    let wrong = |what: &str, length| {
        invalid(format!(
            "{what} must be exactly 32 bytes, is instead {length}"
        ))
    };
    match &request.invoice_ref {
        None => Err(invalid("invoice ref must be set")),
        Some(Reference::PaymentHash(bytes)) => {
            let length = bytes.len();
            let text =
                format!("unable to parse pay hash: invalid hash length of {length}, want 32");
            bytes_32(bytes, || invalid(text)).map(|hash| InvoiceRef::Hash(PaymentHash(hash)))
        }
        Some(Reference::PaymentAddr(bytes)) => {
            bytes_32(bytes, || wrong("payment addr", bytes.len()))
                .map(|addr| InvoiceRef::Addr(PaymentAddr::from_bytes(addr)))
        }
        Some(Reference::SetId(bytes)) => bytes_32(bytes, || wrong("set id", bytes.len()))
            .map(|id| InvoiceRef::SetId(SetId::from_bytes(id))),
    }
}

fn bytes_32(bytes: &[u8], error: impl FnOnce() -> Status) -> Result<[u8; 32], Status> {
    bytes.try_into().map_err(|_| error())
}

/// Parses the modifier. lnd supports "blank" only with a payment address; ampd supports it always.
fn selection(request: &LookupInvoiceMsg) -> Result<HtlcSelection, Status> {
    let number = request.lookup_modifier;
    match LookupModifier::try_from(number) {
        Ok(LookupModifier::Default) => Ok(HtlcSelection::All),
        Ok(LookupModifier::HtlcSetOnly) => Ok(HtlcSelection::SetOnly),
        Ok(LookupModifier::HtlcSetBlank) => Ok(HtlcSelection::None),
        Err(_) => Err(invalid(format!("lookup_modifier {number} is unknown"))),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn by(named: Reference, modifier: i32) -> LookupInvoiceMsg {
        LookupInvoiceMsg {
            invoice_ref: Some(named),
            lookup_modifier: modifier,
        }
    }

    #[test]
    fn parses_all_three_references() {
        let bytes = vec![7; 32];
        for (named, expected) in [
            (
                Reference::PaymentHash(bytes.clone()),
                InvoiceRef::Hash(PaymentHash([7; 32])),
            ),
            (
                Reference::PaymentAddr(bytes.clone()),
                InvoiceRef::Addr(PaymentAddr::from_bytes([7; 32])),
            ),
            (
                Reference::SetId(bytes),
                InvoiceRef::SetId(SetId::from_bytes([7; 32])),
            ),
        ] {
            assert_eq!(reference(&by(named, 0)).unwrap(), expected);
        }
    }

    #[test]
    fn parses_lnds_modifiers() {
        let selection = |modifier| selection(&by(Reference::SetId(vec![7; 32]), modifier));
        assert_eq!(selection(0).unwrap(), HtlcSelection::All);
        assert_eq!(selection(1).unwrap(), HtlcSelection::SetOnly);
        assert_eq!(selection(2).unwrap(), HtlcSelection::None);
        assert_eq!(selection(3).unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn rejects_malformed_references() {
        let refusal = |request| {
            let status = reference(&request).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            status.message().to_owned()
        };
        assert_eq!(
            refusal(LookupInvoiceMsg::default()),
            "invoice ref must be set"
        );
        assert_eq!(
            refusal(by(Reference::PaymentHash(vec![1]), 0)),
            "unable to parse pay hash: invalid hash length of 1, want 32"
        );
        assert_eq!(
            refusal(by(Reference::PaymentAddr(vec![1; 33]), 0)),
            "payment addr must be exactly 32 bytes, is instead 33"
        );
        assert_eq!(
            refusal(by(Reference::SetId(vec![]), 0)),
            "set id must be exactly 32 bytes, is instead 0"
        );
    }
}
