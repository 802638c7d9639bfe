//! The decisions of a set about its HTLCs, and the reasons for failures.
//!
//! A set only decides. The caller stores the decision and carries it out, with LDK's `claim_funds` or
//! `fail_htlc_backwards`.

use std::fmt;

use lightning::types::payment::{PaymentHash, PaymentPreimage};

use super::HtlcKey;

/// The decision about an incoming HTLC. The caller carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The set is incomplete: hold the HTLC until more arrive or it times out.
    Hold,
    /// The set is complete and its shares are valid: claim all of these.
    Settle(Vec<Claim>),
    /// Fail these: the new HTLC alone, or the whole set.
    Fail {
        /// The reason, the same for all of them.
        reason: FailReason,
        /// The HTLCs to fail.
        htlcs: Vec<HtlcRef>,
    },
}

/// Identifies an HTLC to fail. The hash is included because LDK fails HTLCs by payment hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtlcRef {
    /// The channel and id of the HTLC.
    pub key: HtlcKey,
    /// The payment hash of the HTLC.
    pub payment_hash: PaymentHash,
}

/// An HTLC with the preimage that claims it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The channel and id of the HTLC.
    pub key: HtlcKey,
    /// The payment hash of the HTLC.
    pub payment_hash: PaymentHash,
    /// The preimage of that hash.
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

/// The reason for failing HTLCs of a set. The names are lnd's wherever lnd has the same case.
///
/// On the wire all of them are `incorrect_or_unknown_payment_details`, except [`Self::MppTimeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The set id is all zero.
    AmpError,
    /// The total in the MPP record is zero.
    HtlcSetTotalTooLow,
    /// The total in the MPP record differs from that of the held HTLCs.
    HtlcSetTotalMismatch,
    /// The amounts are complete, but the preimages derived from the shares do not match the payment
    /// hashes.
    AmpReconstruction,
    /// The HTLC waited too long for the rest of its set (`mpp_timeout`, code 23).
    MppTimeout,
    /// The set has already been settled. lnd would accept more HTLCs; no honest sender sends them.
    HtlcSetSettled,
    /// The set has reached the maximum number of HTLCs. lnd has no such limit.
    HtlcSetTooLarge,
    /// The set is complete, but one of its HTLCs is too close to the height at which it is failed
    /// back. Claiming only the others would not be atomic.
    ClaimDeadlineTooNear,
}

impl FailReason {
    /// Returns the name of the reason, for logs and HTLC events.
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
