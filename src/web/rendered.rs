//! The rendered invoice: texts and QR codes, created once for all visitors.

use bitcoin::Address;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use hyper::body::Bytes;
use lightning_types::routing::RouteHint;

use super::DonationError;
use crate::invoices::{InvoiceText, Registry};
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use ampd_text::bip21::Link;
use ampd_text::qr::Code;

const MSAT_PER_SAT: u64 = 1_000;

/// The input for rendering. When it changes, everything is rendered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) invoice: InvoiceRecord,
    /// Route hints for a node without a public channel.
    pub(super) hints: Vec<RouteHint>,
    /// On-chain address for payers without Lightning, if `on-chain` is enabled.
    pub(super) address: Option<Address>,
}

/// The page's invoice as currently shown.
#[derive(Debug)]
pub struct RenderedInvoice {
    pub(super) material: Material,
    /// Hash of the rendered texts and the invoice state.
    pub(super) version: String,
    /// One offer per suggested amount, after the one that leaves the amount to the payer.
    offers: Vec<Offer>,
}

/// The invoice with a fixed amount, or without one.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) amount_sat: Option<u64>,
    pub(super) invoice: String,
    pub(super) svg: Bytes,
    pub(super) png: Bytes,
    pub(super) on_chain: Option<OnChain>,
}

/// A BIP 21 URI with the on-chain address and the invoice.
#[derive(Debug)]
pub(super) struct OnChain {
    pub(super) address: String,
    pub(super) uri: String,
    pub(super) svg: Bytes,
}

impl RenderedInvoice {
    /// Signs the invoices and renders their QR codes.
    ///
    /// # Errors
    /// If the invoice cannot be signed with these hints, or is too long for a QR code.
    pub(super) fn new(
        registry: &Registry,
        material: Material,
        memo: &str,
        amounts_sat: &[u64],
    ) -> Result<Self, DonationError> {
        let amounts = std::iter::once(None).chain(amounts_sat.iter().copied().map(Some));
        let offers = amounts
            .map(|amount| Offer::new(registry, &material, memo, amount))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            version: version(&offers, material.invoice.state),
            material,
            offers,
        })
    }

    /// Returns the offer with this amount; `None` if the page has none.
    pub(super) fn offer(&self, amount_sat: Option<u64>) -> Option<&Offer> {
        self.offers
            .iter()
            .find(|offer| offer.amount_sat == amount_sat)
    }

    /// Returns whether the invoice can be paid; the operator may have disabled it.
    pub(super) fn is_open(&self) -> bool {
        self.material.invoice.state == InvoiceState::Open
    }

    /// Returns the invoice.
    #[must_use]
    pub fn invoice(&self) -> &InvoiceRecord {
        &self.material.invoice
    }

    /// Returns the payment request without an amount, as visitors see it.
    #[must_use]
    pub fn payment_request(&self) -> &str {
        self.offers
            .first()
            .map_or("", |offer| offer.invoice.as_str())
    }
}

fn version(offers: &[Offer], state: InvoiceState) -> String {
    let mut text = format!("{state:?}");
    for offer in offers {
        text += &offer.invoice;
        text += offer.on_chain.as_ref().map_or("", |one| one.uri.as_str());
    }
    let hash = sha256::Hash::hash(text.as_bytes()).to_byte_array();
    hash[..6].to_lower_hex_string()
}

impl Offer {
    fn new(
        registry: &Registry,
        material: &Material,
        memo: &str,
        amount_sat: Option<u64>,
    ) -> Result<Self, DonationError> {
        let value_msat = amount_sat.unwrap_or(0).saturating_mul(MSAT_PER_SAT);
        let wording = InvoiceText {
            memo: memo.to_owned(),
            value_msat,
            route_hints: material.hints.clone(),
        };
        let invoice = registry.reissue(&material.invoice, wording)?;
        let code = Code::of_invoice(&invoice)?;
        let on_chain = material.address.as_ref().map(|address| {
            let link = Link {
                address,
                amount_msat: value_msat,
                message: memo,
                invoice: &invoice,
            };
            OnChain::new(&link)
        });
        Ok(Self {
            amount_sat,
            svg: code.svg().into(),
            png: code.png()?.into(),
            on_chain: on_chain.transpose()?,
            invoice,
        })
    }
}

impl OnChain {
    fn new(link: &Link<'_>) -> Result<Self, DonationError> {
        Ok(Self {
            address: link.address.to_string(),
            uri: link.uri(),
            svg: Code::of_uri(&link.for_qr())?.svg().into(),
        })
    }
}
