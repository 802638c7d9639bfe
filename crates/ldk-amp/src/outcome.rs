//! What a set decides about its HTLCs, with the reasons as data.

use std::fmt;

use lightning::types::payment::{PaymentHash, PaymentPreimage};

use super::HtlcKey;

/// The answer to an HTLC that came in. The caller carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The set is incomplete: keep the HTLC until more come or its time is over.
    Hold,
    /// The set is complete and its shares are good: claim all of these.
    Settle(Vec<Claim>),
    /// Fail these: the new HTLC alone, or the whole set.
    Fail {
        reason: FailReason,
        htlcs: Vec<HtlcRef>,
    },
}

/// Names an HTLC towards the channel manager, which fails by payment hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtlcRef {
    pub key: HtlcKey,
    pub payment_hash: PaymentHash,
}

/// An HTLC and what claims it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub key: HtlcKey,
    pub payment_hash: PaymentHash,
    pub preimage: PaymentPreimage,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("key", &self.key)
            .field("payment_hash", &self.payment_hash)
            .finish_non_exhaustive()
    }
}

/// Why HTLCs of a set fail. The names are those of lnd's results where lnd has the case.
///
/// On the wire all of them are `incorrect_or_unknown_payment_details`, except [`Self::MppTimeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The set id is all zero.
    AmpError,
    /// The sender's total is zero.
    HtlcSetTotalTooLow,
    /// The sender's total differs from that of the HTLCs held so far.
    HtlcSetTotalMismatch,
    /// The amounts are complete, but the shares do not give the payment hashes.
    AmpReconstruction,
    /// The HTLC waited too long for the rest of its set (`mpp_timeout`, code 23).
    MppTimeout,
    /// The set is settled already. lnd would accept more; no honest sender does this.
    HtlcSetSettled,
    /// The set has as many HTLCs as we hold for one. lnd has no such limit.
    HtlcSetTooLarge,
    /// The set is complete, but one of its HTLCs is too close to the height at which it is failed
    /// back. Claiming the others only would not be atomic.
    ClaimDeadlineTooNear,
}

impl FailReason {
    /// The reason's name in logs and in HTLC events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AmpError => "AmpError",
            Self::HtlcSetTotalTooLow => "HtlcSetTotalTooLow",
            Self::HtlcSetTotalMismatch => "HtlcSetTotalMismatch",
            Self::AmpReconstruction => "AmpReconstruction",
            Self::MppTimeout => "MppTimeout",
            Self::HtlcSetSettled => "HtlcSetSettled",
            Self::HtlcSetTooLarge => "HtlcSetTooLarge",
            Self::ClaimDeadlineTooNear => "ClaimDeadlineTooNear",
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
