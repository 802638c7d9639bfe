//! Invoices, and how they are looked up and listed.

use ldk_amp::{PaymentAddr, SetId};
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use serde::{Deserialize, Serialize};

use super::htlc::{HtlcRecord, SetRecord};

/// The kind of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceKind {
    /// An ordinary BOLT 11 invoice, paid once to its payment hash.
    Bolt11,
    /// Created when the first shard of a spontaneous AMP payment arrived.
    SpontaneousAmp,
    /// A static AMP invoice: can be paid any number of times, each time by a new set.
    Amp,
    /// A hold invoice as in lnd: paid once like [`Self::Bolt11`], but the API client that created it
    /// has the preimage and settles or cancels it.
    Hold,
    /// Created when a keysend payment arrived: a spontaneous payment that carries its preimage.
    Keysend,
}

impl InvoiceKind {
    /// Returns whether the invoice is paid by AMP sets, whose HTLCs have different payment hashes.
    pub const fn is_amp(self) -> bool {
        matches!(self, Self::SpontaneousAmp | Self::Amp)
    }
}

/// The state of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceState {
    /// Can be paid. An AMP invoice stays open after payments.
    Open,
    Settled,
    Canceled,
    /// A hold invoice whose payment is held until it is settled or canceled.
    Accepted,
    /// A static invoice that the operator has disabled temporarily.
    Disabled,
}

/// The fields of an invoice that are not used in SQL queries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTerms {
    pub memo: String,
    pub description_hash: Option<[u8; 32]>,
    /// BOLT 11 text; empty for spontaneous payments.
    pub payment_request: String,
    /// Seconds from creation; 0 for spontaneous payments, as in lnd.
    pub expiry: u64,
    /// Final CLTV delta, in blocks.
    pub cltv_delta: u32,
    /// Whether the route hints reveal our unannounced channels.
    pub private: bool,
}

/// An invoice.
#[derive(Clone, PartialEq, Eq)]
pub struct InvoiceRecord {
    /// Number of the invoice, counted from 1 in order of creation.
    pub add_index: u64,
    pub kind: InvoiceKind,
    /// For a spontaneous AMP payment, the hash of the first shard that arrived, as in lnd.
    pub payment_hash: PaymentHash,
    pub payment_addr: PaymentAddr,
    pub preimage: Option<PaymentPreimage>,
    pub terms: InvoiceTerms,
    /// 0: any amount.
    pub value_msat: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970; `None`: never.
    pub expires_at: Option<u64>,
    pub state: InvoiceState,
    /// Number of the settlement, counted from 1 over invoices and sets together.
    pub settle_index: Option<u64>,
    /// Seconds since 1970.
    pub settled_at: Option<u64>,
    pub amt_paid_msat: u64,
}

impl InvoiceRecord {
    /// Returns whether the invoice is open but expired at `now` (seconds since 1970).
    pub fn is_expired(&self, now: u64) -> bool {
        self.state == InvoiceState::Open && self.expires_at.is_some_and(|last| now > last)
    }
}

/// Omits the preimage: with the preimage of an open invoice, forwarding nodes could claim payments
/// to it.
impl std::fmt::Debug for InvoiceRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvoiceRecord")
            .field("add_index", &self.add_index)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .field("value_msat", &self.value_msat)
            .field("settle_index", &self.settle_index)
            .field("amt_paid_msat", &self.amt_paid_msat)
            .finish_non_exhaustive()
    }
}

/// A key by which an invoice can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceRef {
    /// The payment hash of the invoice or of one of its HTLCs.
    Hash(PaymentHash),
    /// The payment address (BOLT 11: payment secret).
    Addr(PaymentAddr),
    /// The set_id of a set that paid the invoice, or tried to.
    SetId(SetId),
}

/// Selects the HTLCs of an AMP invoice, which may have very many. Of canceled HTLCs and incomplete
/// sets only the newest are returned, unless a set is requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HtlcSelection {
    #[default]
    All,
    /// The HTLCs and the state of the set by which the invoice is looked up; like `All` for other
    /// lookups.
    SetOnly,
    /// No HTLCs, only the state of all sets.
    None,
}

/// An invoice, its HTLCs in order of HTLC id, and its sets in order of settlement.
pub type FullInvoice = (InvoiceRecord, Vec<HtlcRecord>, Vec<SetRecord>);

/// A filter for invoices, and their order.
#[derive(Debug, Clone, Copy, Default)]
pub struct InvoicePage {
    /// An add index, exclusive; 0 is the beginning, or the end if `reversed`.
    pub index_offset: u64,
    pub limit: u64,
    /// List the last invoices before the offset; the result is still oldest first, as in lnd.
    pub reversed: bool,
    /// Open and accepted invoices only.
    pub pending_only: bool,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_from: u64,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_to: u64,
}

/// A settlement: of an invoice, or of one set of an AMP invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub settle_index: u64,
    pub add_index: u64,
    /// The settled set; `None` if the whole invoice was settled.
    pub set_id: Option<SetId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_keep_their_stored_form() {
        let plain = concat!(
            r#"{"memo":"tea","description_hash":null,"payment_request":"lnbcrt1","expiry":3600,"#,
            r#""cltv_delta":80,"private":false}"#,
        );
        let hashed = concat!(
            r#"{"memo":"","description_hash":[8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,"#,
            r#"8,8,8,8,8,8],"payment_request":"lnbcrt1","expiry":3600,"cltv_delta":80,"#,
            r#""private":true}"#,
        );
        let terms = |hash: Option<[u8; 32]>| InvoiceTerms {
            memo: hash.map_or("tea", |_| "").into(),
            description_hash: hash,
            payment_request: "lnbcrt1".into(),
            expiry: 3_600,
            cltv_delta: 80,
            private: hash.is_some(),
        };
        for (stored, terms) in [(plain, terms(None)), (hashed, terms(Some([8; 32])))] {
            assert_eq!(serde_json::to_string(&terms).unwrap(), stored);
            assert_eq!(serde_json::from_str::<InvoiceTerms>(stored).unwrap(), terms);
        }
    }
}
