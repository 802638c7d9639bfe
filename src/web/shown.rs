//! What the page shows of its invoice: texts and codes, drawn once for all visitors.

use bitcoin::Address;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use hyper::body::Bytes;
use lightning_types::routing::RouteHint;

use super::DonationError;
use crate::invoices::{InvoiceText, Registry};
use crate::storage::invoices::{InvoiceRecord, InvoiceState};
use ampd_text::bip21::Link;
use ampd_text::qr::Code;

const MSAT_PER_SAT: u64 = 1_000;

/// What the texts follow from. When it changes they are written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) invoice: InvoiceRecord,
    /// Ways to a node without a public channel.
    pub(super) hints: Vec<RouteHint>,
    /// Where those without Lightning pay, if they may.
    pub(super) address: Option<Address>,
}

/// The page's invoice as it is shown now.
#[derive(Debug)]
pub struct Shown {
    pub(super) material: Material,
    /// Changes with any text.
    pub(super) version: String,
    /// The first one leaves the amount to the payer.
    offers: Vec<Offer>,
}

/// The invoice with one amount, or without.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) amount_sat: Option<u64>,
    pub(super) invoice: String,
    pub(super) svg: Bytes,
    pub(super) png: Bytes,
    pub(super) on_chain: Option<OnChain>,
}

/// A link with address and invoice.
#[derive(Debug)]
pub(super) struct OnChain {
    pub(super) address: String,
    pub(super) uri: String,
    pub(super) svg: Bytes,
}

impl Shown {
    /// Signs and draws all of it.
    ///
    /// # Errors
    /// If the invoice cannot be signed with these hints, or is too long for a code.
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

    /// With this amount; `None` if it is not one of those that the page has.
    pub(super) fn offer(&self, amount_sat: Option<u64>) -> Option<&Offer> {
        self.offers
            .iter()
            .find(|offer| offer.amount_sat == amount_sat)
    }

    /// Whether it can be paid: its owner may have switched it off.
    pub(super) fn is_open(&self) -> bool {
        self.material.invoice.state == InvoiceState::Open
    }

    /// The invoice itself.
    #[must_use]
    pub fn invoice(&self) -> &InvoiceRecord {
        &self.material.invoice
    }

    /// Its text as visitors see it, the amount left to them.
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
