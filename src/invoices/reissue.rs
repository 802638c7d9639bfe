//! Re-signing a static invoice with other text: same payment hash, payment address and expiry.

use lightning_types::payment::PaymentSecret;
use lightning_types::routing::RouteHint;

use super::create::{Checked, NewInvoice, Purpose};
use super::{InvoiceError, Registry};
use crate::model::invoice::{InvoiceKind, InvoiceRecord};

/// The fields of a payment request that may differ from the stored invoice. A payment to it is
/// always one to the stored invoice, which accepts any amount from its own minimum up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvoiceText {
    pub memo: String,
    /// In msat; 0: the payer chooses.
    pub value_msat: u64,
    pub route_hints: Vec<RouteHint>,
}

impl Registry {
    /// Signs a payment request for a stored static invoice with these fields. Nothing is stored.
    /// Timestamp and expiry are those of the original.
    ///
    /// # Errors
    /// [`InvoiceError::NotAmp`], or an error if a field is invalid or too long.
    pub fn reissue(
        &self,
        invoice: &InvoiceRecord,
        wording: InvoiceText,
    ) -> Result<String, InvoiceError> {
        if invoice.kind != InvoiceKind::Amp {
            return Err(InvoiceError::NotAmp);
        }
        let new = NewInvoice {
            purpose: Purpose::Amp,
            memo: wording.memo,
            value_msat: wording.value_msat,
            route_hints: wording.route_hints,
            ..NewInvoice::default()
        };
        new.check(self.limits.default_cltv_delta)?;
        let checked = Checked {
            expiry: invoice.terms.expiry,
            never_expires: invoice.expires_at.is_none(),
            cltv_delta: invoice.terms.cltv_delta,
        };
        self.signer().request(
            &new,
            &checked,
            invoice.payment_hash,
            PaymentSecret(invoice.payment_addr.to_bytes()),
            invoice.created_at,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoices::decode::DecodedInvoice;
    use crate::invoices::test_registry::Fixture;

    #[tokio::test]
    async fn reissued_request_pays_the_same_invoice() {
        let fixture = Fixture::new();
        let new = NewInvoice {
            purpose: Purpose::Amp,
            memo: "tips".into(),
            ..NewInvoice::default()
        };
        let stored = fixture.registry.add(new).await.unwrap();
        let wording = InvoiceText {
            memo: "tips".into(),
            ..InvoiceText::default()
        };
        let same = fixture.registry.reissue(&stored, wording.clone()).unwrap();
        assert_eq!(same, stored.terms.payment_request);
        let other = InvoiceText {
            memo: "tea".into(),
            value_msat: 5_000,
            ..wording.clone()
        };
        let other = fixture.registry.reissue(&stored, other).unwrap();
        let [said, first]: [DecodedInvoice; 2] = [&other, &same].map(|text| text.parse().unwrap());
        assert_eq!(said.amount_msat, Some(5_000));
        assert_eq!(said.description, "tea");
        let name = |one: &DecodedInvoice| (one.payment_hash, one.payment_secret);
        assert_eq!(name(&said), name(&first));
        let time = |one: &DecodedInvoice| (one.timestamp, one.expiry, one.cltv_delta);
        assert_eq!(time(&said), time(&first));

        let once = fixture.registry.add(NewInvoice::default()).await.unwrap();
        let refused = fixture.registry.reissue(&once, wording);
        assert!(matches!(refused, Err(InvoiceError::NotAmp)));
        let long = InvoiceText {
            memo: "x".repeat(2_000),
            ..InvoiceText::default()
        };
        let refused = fixture.registry.reissue(&stored, long);
        assert!(matches!(refused, Err(InvoiceError::MemoTooLong(2_000))));
    }
}
