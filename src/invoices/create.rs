//! Making ordinary BOLT 11 invoices.

use std::time::Duration;

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use lightning::ln::inbound_payment;
use lightning::sign::{NodeSigner, Recipient};
use lightning_invoice::{Bolt11InvoiceDescription, Currency, Description, InvoiceBuilder, Sha256};
use lightning_types::payment::{PaymentHash, PaymentSecret};
use lightning_types::routing::RouteHint;

use super::InvoiceError;
use crate::ldk::KeysManager;

/// lnd's default for an ordinary invoice: one day, in seconds.
const DEFAULT_EXPIRY: u64 = 86_400;
/// lnd's limit: one year, in seconds.
const MAX_EXPIRY: u64 = 31_536_000;
/// LDK fails a payment back 39 blocks before its expiry and takes none with fewer than 42 left
/// (`MIN_FINAL_CLTV_EXPIRY_DELTA`); lnd allows 24.
const MIN_CLTV_DELTA: u32 = lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA as u32;
const MAX_CLTV_DELTA: u32 = u16::MAX as u32;
/// lnd's limits, bytes.
const MAX_MEMO: usize = 1_024;
const MAX_REQUEST: usize = 4_096;
/// 100,000 BTC in msat (lnd's limit).
const MAX_AMOUNT_MSAT: u64 = 100_000 * 100_000_000 * 1_000;
/// How much longer than the invoice LDK accepts a payment for it, seconds: the registry decides by
/// our clock, LDK by the time in block headers.
const GRACE: u64 = 7_200;

/// How an invoice is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Once, to the hash of this preimage; `None`: a random one.
    Once { preimage: Option<[u8; 32]> },
    /// Once, to this hash, whose preimage the caller keeps until it decides (lnd's hold invoice).
    Hold { hash: [u8; 32] },
    /// Again and again (AMP): there is no preimage, and the hash is only a name.
    Amp,
}

impl Default for Purpose {
    fn default() -> Self {
        Self::Once { preimage: None }
    }
}

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct NewInvoice {
    pub purpose: Purpose,
    pub memo: String,
    pub description_hash: Option<[u8; 32]>,
    /// 0: the payer chooses.
    pub value_msat: u64,
    /// Seconds; 0: the default.
    pub expiry: u64,
    /// Blocks; 0: the default.
    pub cltv_delta: u64,
    pub private: bool,
    pub route_hints: Vec<RouteHint>,
}

/// The values that hold once the caller's were checked.
pub(super) struct Checked {
    pub(super) expiry: u64,
    pub(super) cltv_delta: u32,
}

impl NewInvoice {
    /// Checks the request and fills in defaults.
    pub(super) fn check(&self, default_cltv_delta: u32) -> Result<Checked, InvoiceError> {
        if self.memo.len() > MAX_MEMO {
            return Err(InvoiceError::MemoTooLong(self.memo.len()));
        }
        if self.value_msat > MAX_AMOUNT_MSAT {
            return Err(InvoiceError::AmountTooLarge(self.value_msat));
        }
        let expiry = if self.expiry == 0 {
            DEFAULT_EXPIRY
        } else {
            self.expiry
        };
        if expiry > MAX_EXPIRY {
            return Err(InvoiceError::ExpiryTooLong(expiry));
        }
        Ok(Checked {
            expiry,
            cltv_delta: self.checked_cltv_delta(default_cltv_delta)?,
        })
    }

    fn checked_cltv_delta(&self, default: u32) -> Result<u32, InvoiceError> {
        if self.cltv_delta == 0 {
            return Ok(default.max(MIN_CLTV_DELTA));
        }
        u32::try_from(self.cltv_delta)
            .ok()
            .filter(|delta| (MIN_CLTV_DELTA..=MAX_CLTV_DELTA).contains(delta))
            .ok_or(InvoiceError::CltvDelta {
                delta: self.cltv_delta,
                least: MIN_CLTV_DELTA,
                most: MAX_CLTV_DELTA,
            })
    }
}

/// Signs invoices in this node's name.
pub(super) struct Signer<'a> {
    pub(super) keys: &'a KeysManager,
    pub(super) network: Network,
}

impl Signer<'_> {
    /// The secret with which LDK knows a payment to this hash as one of ours.
    pub(super) fn payment_secret(
        &self,
        new: &NewInvoice,
        checked: &Checked,
        hash: PaymentHash,
        now: u64,
    ) -> Result<PaymentSecret, InvoiceError> {
        let expiry = u32::try_from(checked.expiry.saturating_add(GRACE)).unwrap_or(u32::MAX);
        let amount = (new.value_msat > 0).then_some(new.value_msat);
        let keys = self.keys.get_expanded_key();
        inbound_payment::create_from_hash(&keys, amount, hash, expiry, now, None)
            .map_err(|()| InvoiceError::Build("LDK refuses its amount or expiry".into()))
    }

    /// The payment request.
    pub(super) fn request(
        &self,
        new: &NewInvoice,
        checked: &Checked,
        hash: PaymentHash,
        secret: PaymentSecret,
        now: u64,
    ) -> Result<String, InvoiceError> {
        let build = |error: String| InvoiceError::Build(error);
        let mut builder = InvoiceBuilder::new(currency(self.network))
            .invoice_description(description(new)?)
            .payment_hash(sha256::Hash::from_byte_array(hash.0))
            .payment_secret(secret)
            .duration_since_epoch(Duration::from_secs(now))
            .expiry_time(Duration::from_secs(checked.expiry))
            .min_final_cltv_expiry_delta(u64::from(checked.cltv_delta))
            .basic_mpp();
        if new.value_msat > 0 {
            builder = builder.amount_milli_satoshis(new.value_msat);
        }
        for hint in &new.route_hints {
            builder = builder.private_route(hint.clone());
        }
        let raw = builder
            .build_raw()
            .map_err(|error| build(error.to_string()))?;
        let signature = self
            .keys
            .sign_invoice(&raw, Recipient::Node)
            .map_err(|()| build("it cannot be signed".into()))?;
        let signed = raw.sign(|_| Ok::<_, ()>(signature));
        let text = signed
            .map_err(|()| build("it cannot be signed".into()))?
            .to_string();
        if text.len() > MAX_REQUEST {
            return Err(InvoiceError::RequestTooLong(text.len()));
        }
        Ok(text)
    }
}

fn description(new: &NewInvoice) -> Result<Bolt11InvoiceDescription, InvoiceError> {
    if let Some(hash) = new.description_hash {
        let hash = Sha256(sha256::Hash::from_byte_array(hash));
        return Ok(Bolt11InvoiceDescription::Hash(hash));
    }
    Description::new(new.memo.clone())
        .map(Bolt11InvoiceDescription::Direct)
        .map_err(|error| InvoiceError::Build(error.to_string()))
}

fn currency(network: Network) -> Currency {
    match network {
        Network::Bitcoin => Currency::Bitcoin,
        Network::Regtest => Currency::Regtest,
        Network::Signet => Currency::Signet,
        _ => Currency::BitcoinTestnet,
    }
}

#[cfg(test)]
mod tests;
