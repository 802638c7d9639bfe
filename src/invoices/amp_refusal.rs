//! The reasons for failing an AMP shard.

use std::fmt;

use lightning_types::payment::PaymentHash;

use super::decision::Answer;
use crate::storage::StorageError;
use ldk_amp::Envelope;
use ldk_amp::FailReason;

/// Why a shard is failed, on arrival or after it was held.
///
/// On the wire all are `incorrect_or_unknown_payment_details`, except `MppTimeout`. The names are
/// lnd's wherever lnd has the same case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A rule of the set itself.
    Set(FailReason),
    /// LDK reported the shard again after it was canceled.
    ReplayToCanceled,
    /// An AMP record without an MPP record.
    AmpError,
    InvoiceNotFound,
    HtlcInvoiceTypeMismatch,
    /// The invoice is canceled, or disabled by its owner.
    InvoiceNotOpen,
    /// The invoice has expired by our clock. lnd only relies on its expiry watcher to cancel such
    /// invoices.
    InvoiceExpired,
    /// The total in the MPP record is zero, or less than the invoice amount.
    HtlcSetTotalTooLow,
    ExpiryTooSoon,
    /// The limit of incomplete sets, or of their HTLCs on this channel, is reached. lnd has no such
    /// limit.
    TooMuchHeld,
    /// The shard was held, and its invoice was canceled or disabled, or has expired.
    Canceled,
    /// The shard was held, and LDK has failed it back.
    Gone,
    /// The database cannot be read.
    Unavailable,
}

impl Refusal {
    /// The reason's name in logs and metrics.
    pub(super) const fn name(self) -> &'static str {
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

    /// Logs and counts a failed shard, and returns the instruction that fails it.
    pub(super) fn answer(self, hash: &PaymentHash, envelope: Envelope) -> Answer {
        self.log(hash, &envelope);
        match self {
            Self::Set(FailReason::MppTimeout) => Answer::FailTimedOut(*hash, Box::new(envelope)),
            _ => Answer::Fail(*hash),
        }
    }

    fn log(self, hash: &PaymentHash, envelope: &Envelope) {
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
        tracing::error!("AMP shard refused: cannot read the database: {error}");
        Self::Unavailable
    }
}
