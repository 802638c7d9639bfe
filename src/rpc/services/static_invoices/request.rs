//! Parsing of requests: the invoice and the range of its payments.

use bitcoin::Network;
use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::PaymentHash;
use tonic::Status;

use crate::invoices::Period;
use crate::invoices::decode::DecodedInvoice;
use crate::model::amp_payment::{PaymentPage, TimeSpan};
use crate::model::invoice::InvoiceRef;
use crate::rpc::convert::errors::{invalid, refused};
use crate::rpc::convert::parse::{check_network, optional_32};
use lnd_api::proto::ampdrpc::invoice_reference::Name;
use lnd_api::proto::ampdrpc::invoice_totals_request::Period as Asked;
use lnd_api::proto::ampdrpc::{InvoiceReference, ListInvoicePaymentsRequest};

/// The default and maximum numbers of payments in a response.
const DEFAULT_PAGE: u64 = 100;
const MAX_PAGE: u64 = 10_000;

/// Returns the invoice that the request names.
pub(super) fn invoice(
    reference: Option<&InvoiceReference>,
    network: Network,
) -> Result<InvoiceRef, Status> {
    let name = reference.and_then(|reference| reference.name.as_ref());
    let missing =
        || refused("specify invoice by payment_hash, payment_addr, set_id or payment_request");
    let bytes = |bytes: &[u8], field| optional_32(bytes, field)?.ok_or_else(missing);
    match name.ok_or_else(missing)? {
        Name::PaymentHash(hash) => {
            bytes(hash, "payment_hash").map(|hash| InvoiceRef::Hash(PaymentHash(hash)))
        }
        Name::PaymentAddr(addr) => {
            bytes(addr, "payment_addr").map(|addr| InvoiceRef::Addr(PaymentAddr::from_bytes(addr)))
        }
        Name::SetId(set_id) => {
            bytes(set_id, "set_id").map(|id| InvoiceRef::SetId(SetId::from_bytes(id)))
        }
        Name::PaymentRequest(text) => {
            let decoded: DecodedInvoice = text.parse()?;
            check_network(decoded.network, network)?;
            Ok(InvoiceRef::Addr(PaymentAddr::from_bytes(
                decoded.payment_secret.0,
            )))
        }
    }
}

/// Returns the page of payments to list.
pub(super) fn page(request: &ListInvoicePaymentsRequest) -> Result<PaymentPage, Status> {
    Ok(PaymentPage {
        index_offset: request.index_offset,
        limit: match request.num_max_payments {
            0 => DEFAULT_PAGE,
            limit => limit.min(MAX_PAGE),
        },
        reversed: request.reversed,
        settled: span(request.settle_date_start, request.settle_date_end)?,
    })
}

/// Returns the time range, both seconds included; 0 means unbounded.
pub(super) fn span(from: u64, to: u64) -> Result<TimeSpan, Status> {
    if to != 0 && from > to {
        return Err(refused(format!(
            "settle_date_start ({from}) must not be after settle_date_end ({to})"
        )));
    }
    Ok(TimeSpan { from, to })
}

/// Returns the period of the totals.
pub(super) fn period(number: i32) -> Result<Period, Status> {
    match Asked::try_from(number) {
        Ok(Asked::All) => Ok(Period::All),
        Ok(Asked::Day) => Ok(Period::Day),
        Ok(Asked::Week) => Ok(Period::Week),
        Ok(Asked::Month) => Ok(Period::Month),
        Err(_) => Err(invalid(format!("unknown period {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: Option<Name>) -> Result<InvoiceRef, Status> {
        invoice(Some(&InvoiceReference { name }), Network::Regtest)
    }

    #[test]
    fn accepts_four_kinds_of_invoice_references() {
        let bytes = || vec![7; 32];
        let named = |name| read(Some(name)).unwrap();
        assert_eq!(
            named(Name::PaymentHash(bytes())),
            InvoiceRef::Hash(PaymentHash([7; 32]))
        );
        assert_eq!(
            named(Name::PaymentAddr(bytes())),
            InvoiceRef::Addr(PaymentAddr::from_bytes([7; 32]))
        );
        assert_eq!(
            named(Name::SetId(bytes())),
            InvoiceRef::SetId(SetId::from_bytes([7; 32]))
        );
        let refusal = |name| read(name).unwrap_err().message().to_owned();
        let missing = "specify invoice by payment_hash, payment_addr, set_id or payment_request";
        assert_eq!(refusal(None), missing);
        assert_eq!(refusal(Some(Name::SetId(Vec::new()))), missing);
        assert_eq!(
            invoice(None, Network::Regtest).unwrap_err().message(),
            missing
        );
        let short = refusal(Some(Name::PaymentAddr(vec![1])));
        assert_eq!(short, "payment_addr must be exactly 32 bytes, is instead 1");
        let nonsense = refusal(Some(Name::PaymentRequest("lnbc1nonsense".into())));
        assert!(nonsense.starts_with("not a payment request"), "{nonsense}");
    }

    #[test]
    fn page_size_has_a_default_and_a_maximum() {
        let mut request = ListInvoicePaymentsRequest::default();
        assert_eq!(page(&request).unwrap().limit, DEFAULT_PAGE);
        request.num_max_payments = u64::MAX;
        assert_eq!(page(&request).unwrap().limit, MAX_PAGE);
        request.settle_date_start = 2;
        assert!(page(&request).is_ok());
        request.settle_date_end = 1;
        assert!(page(&request).is_err());
    }

    #[test]
    fn accepts_four_periods() {
        assert_eq!(period(0).unwrap(), Period::All);
        assert_eq!(period(3).unwrap(), Period::Month);
        assert!(period(4).is_err() && period(-1).is_err());
    }
}
