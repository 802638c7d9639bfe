//! Why a shard is refused, by name.

use std::fmt;

use lightning_types::payment::PaymentHash;

use ldk_amp::FailReason;
use ldk_amp::Envelope;
use crate::storage::StorageError;

/// Why a shard is refused, or given back after it was held.
///
/// On the wire all are `incorrect_or_unknown_payment_details`, except `MppTimeout`. The names are
/// lnd's where lnd has the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::invoices) enum Refusal {
    /// The rules of the set itself.
    Set(FailReason),
    /// LDK told it again after it was canceled.
    ReplayToCanceled,
    /// No MPP record beside the AMP record.
    AmpError,
    InvoiceNotFound,
    HtlcInvoiceTypeMismatch,
    /// Canceled, or switched off by its owner.
    InvoiceNotOpen,
    /// Past its expiry by our clock. lnd only has a watcher that cancels such invoices in time.
    InvoiceExpired,
    /// The sender's total is zero, or less than the invoice asks for.
    HtlcSetTotalTooLow,
    ExpiryTooSoon,
    /// As many incomplete sets as we hold, or HTLCs of such on this channel. lnd has no such limit.
    TooMuchHeld,
    /// It was held, and its invoice was canceled, switched off or has expired.
    Canceled,
    /// It was held, and LDK has given it back by itself.
    Gone,
    /// The database cannot be read.
    Unavailable,
}

impl Refusal {
    /// The reason's name in logs and metrics.
    pub(in crate::invoices) const fn name(self) -> &'static str {
        match self {
            Self::Set(reason) => reason.name(),
            Self::ReplayToCanceled => "ReplayToCanceled",
            Self::AmpError => "AmpError",
            Self::InvoiceNotFound => "InvoiceNotFound",
            Self::HtlcInvoiceTypeMismatch => "HtlcInvoiceTypeMismatch",
            Self::InvoiceNotOpen => "InvoiceNotOpen",
            Self::InvoiceExpired => "InvoiceExpired",
            Self::HtlcSetTotalTooLow => "HtlcSetTotalTooLow",
            Self::ExpiryTooSoon => "ExpiryTooSoon",
            Self::TooMuchHeld => "TooMuchHeld",
            Self::Canceled => "Canceled",
            Self::Gone => "Gone",
            Self::Unavailable => "Unavailable",
        }
    }

    /// The one log line of a refused shard.
    pub(in crate::invoices) fn log(self, hash: &PaymentHash, envelope: &Envelope) {
        metrics::counter!("ampd_htlcs_refused_total", "reason" => self.name()).increment(1);
        tracing::info!(
            reason = %self,
            %hash,
            set_id = %envelope.amp.set_id,
            channel = %envelope.channel_id,
            "AMP shard refused"
        );
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<FailReason> for Refusal {
    fn from(reason: FailReason) -> Self {
        Self::Set(reason)
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        tracing::error!("the database cannot be read: {error}");
        Self::Unavailable
    }
}
