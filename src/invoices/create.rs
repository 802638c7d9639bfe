//! The checked request for a new invoice. [`request`] encodes it.

mod request;

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use lightning_types::routing::RouteHint;

pub(super) use self::request::Signer;
use super::InvoiceError;

/// lnd's default for invoices that are paid once: one day, in seconds.
const DEFAULT_EXPIRY: u64 = 86_400;
/// lnd's default for an AMP invoice: 30 days, in seconds.
const DEFAULT_AMP_EXPIRY: u64 = 2_592_000;
/// lnd's limit: one year, in seconds.
const MAX_EXPIRY: u64 = 31_536_000;
/// The expiry written into an invoice that never expires: 50 years, in seconds. BOLT 11 cannot
/// express "never", and timestamp plus expiry still fits into the 32 bits that some payers use.
const NEVER: u64 = 1_576_800_000;
/// LDK fails a payment back 39 blocks before its expiry and accepts none with fewer than 42 blocks
/// left; lnd allows 24.
const MIN_CLTV_DELTA: u32 = MIN_FINAL_CLTV_EXPIRY_DELTA as u32;
const MAX_CLTV_DELTA: u32 = u16::MAX as u32;
/// lnd's limit, in bytes.
const MAX_MEMO: usize = 1_024;
/// 100,000 BTC in msat (lnd's limit).
const MAX_AMOUNT_MSAT: u64 = 100_000 * 100_000_000 * 1_000;

/// How an invoice can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Once, to the hash of this preimage; `None` for a random one.
    Once { preimage: Option<PaymentPreimage> },
    /// Once, to this hash, whose preimage the client reveals later (lnd's hold invoice).
    Hold { hash: PaymentHash },
    /// Any number of times (AMP): there is no preimage, and the hash is only an identifier.
    Amp,
}

impl Default for Purpose {
    fn default() -> Self {
        Self::Once { preimage: None }
    }
}

impl Purpose {
    fn is_amp(self) -> bool {
        self == Self::Amp
    }
}

/// How long an invoice can be paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// 30 days for an AMP invoice, one day for others (lnd's defaults).
    #[default]
    Default,
    /// Seconds, at most one year.
    Seconds(u64),
    /// Never; AMP invoices only.
    Never,
}

/// A request for a new invoice.
#[derive(Debug, Clone, Default)]
pub struct NewInvoice {
    pub purpose: Purpose,
    pub memo: String,
    pub description_hash: Option<[u8; 32]>,
    /// In msat; 0: the payer chooses.
    pub value_msat: u64,
    pub expiry: Expiry,
    /// Final CLTV delta in blocks; 0: the default.
    pub cltv_delta: u64,
    /// On-chain fallback address.
    pub fallback: Option<Address<NetworkUnchecked>>,
    /// Whether to add route hints over our unannounced channels.
    pub private: bool,
    /// The client's own route hints.
    pub route_hints: Vec<RouteHint>,
}

/// The values of a request after checks, with defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// In seconds, as encoded in the payment request.
    pub(super) expiry: u64,
    pub(super) never_expires: bool,
    /// In blocks.
    pub(super) cltv_delta: u32,
}

impl Checked {
    /// In seconds since 1970; `None` if the invoice never expires.
    pub(super) fn expires_at(&self, created_at: u64) -> Option<u64> {
        (!self.never_expires).then(|| created_at.saturating_add(self.expiry))
    }
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
        if self.route_hints.iter().any(|hint| hint.0.is_empty()) {
            return Err(InvoiceError::EmptyRouteHint);
        }
        Ok(Checked {
            expiry: self.checked_expiry()?,
            never_expires: self.expiry == Expiry::Never,
            cltv_delta: self.checked_cltv_delta(default_cltv_delta)?,
        })
    }

    fn checked_expiry(&self) -> Result<u64, InvoiceError> {
        match self.expiry {
            Expiry::Default if self.purpose.is_amp() => Ok(DEFAULT_AMP_EXPIRY),
            Expiry::Default => Ok(DEFAULT_EXPIRY),
            Expiry::Seconds(seconds) if seconds <= MAX_EXPIRY => Ok(seconds),
            Expiry::Seconds(seconds) => Err(InvoiceError::ExpiryTooLong(seconds)),
            Expiry::Never if self.purpose.is_amp() => Ok(NEVER),
            Expiry::Never => Err(InvoiceError::NeverExpires),
        }
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

#[cfg(test)]
mod tests;
