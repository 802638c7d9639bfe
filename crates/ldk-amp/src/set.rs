//! The recipient's set: the HTLCs that together form one AMP payment.
//!
//! An HTLC is passed to [`HtlcSet::accept`] after it was checked against its invoice. The set holds
//! it until the amounts reach the sender's total, then derives all preimages from the shares, and
//! settles or fails all HTLCs together. The rules are those of lnd's invoice registry; differences
//! (an invalid set fails alone, a settled set is closed) are documented where they occur.

use std::collections::BTreeMap;

use lightning::types::payment::PaymentHash;

use super::{Child, Claim, FailReason, HtlcKey, HtlcRef, Outcome, SetId, Share};

#[cfg(test)]
mod tests;

/// Blocks before an HTLC's expiry at which LDK fails it back. Used if an event has no
/// `claim_deadline`.
const FAIL_BACK_BUFFER: u32 = 39;

/// An HTLC of a set, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHtlc {
    /// The channel and id of the HTLC.
    pub key: HtlcKey,
    /// The payment hash of the HTLC.
    pub payment_hash: PaymentHash,
    /// The actual amount of the HTLC in msat, which may exceed the onion's `amt_to_forward`.
    pub amount_msat: u64,
    /// The share from the AMP record.
    pub share: Share,
    /// The child index from the AMP record.
    pub child_index: u32,
    /// The total of the set according to the sender, in msat.
    pub total_msat: u64,
    /// The height at which the HTLC expires.
    pub cltv_expiry: u32,
    /// The height before which LDK needs the claim (`Event::PaymentClaimable::claim_deadline`).
    pub claim_deadline: Option<u32>,
    /// The height at which the HTLC was accepted. Failure messages contain the height of the
    /// failure instead; LDK sets it.
    pub accepted_height: u32,
    /// The Unix time in seconds at which the HTLC was first accepted. A replay does not change it.
    pub accepted_at: u64,
}

impl SetHtlc {
    fn reference(&self) -> HtlcRef {
        HtlcRef {
            key: self.key,
            payment_hash: self.payment_hash,
        }
    }

    fn deadline(&self) -> u32 {
        let fallback = self.cltv_expiry.saturating_sub(FAIL_BACK_BUFFER);
        self.claim_deadline.unwrap_or(fallback)
    }
}

/// Limits on the HTLCs held for unknown payers, and on late claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimits {
    /// The maximum number of HTLCs in one set.
    pub max_htlcs: usize,
    /// How long an HTLC waits for the rest of its set, in seconds.
    pub hold_seconds: u64,
    /// Blocks that must remain before the earliest claim deadline of a set to settle it.
    pub claim_margin_blocks: u32,
}

impl Default for SetLimits {
    /// * 128 HTLCs: lnd splits into 16 by default.
    /// * 120 seconds: lnd's `DefaultHtlcHoldDuration`, which lnd senders rely on.
    /// * 2 blocks: claims are made at once, but a block may arrive in between. A payment with the
    ///   smallest final CLTV delta that LDK accepts (42) has 3 left when it arrives.
    fn default() -> Self {
        Self {
            max_htlcs: 128,
            hold_seconds: 120,
            claim_margin_blocks: 2,
        }
    }
}

/// The HTLCs of one set id on one invoice, and whether they were settled.
///
/// Failed and removed HTLCs leave the set. An open set can fill again: after `mpp_timeout`, an lnd
/// sender retries the amount under the same set id.
#[derive(Clone, Debug)]
pub struct HtlcSet {
    set_id: SetId,
    limits: SetLimits,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Open(BTreeMap<HtlcKey, SetHtlc>),
    Settled(Vec<Claim>),
}

impl HtlcSet {
    /// Creates an empty set.
    pub fn new(set_id: SetId, limits: SetLimits) -> Self {
        Self::restore(set_id, limits, [])
    }

    /// Restores a stored open set.
    pub fn restore(
        set_id: SetId,
        limits: SetLimits,
        held: impl IntoIterator<Item = SetHtlc>,
    ) -> Self {
        let held = held.into_iter().map(|htlc| (htlc.key, htlc)).collect();
        Self {
            set_id,
            limits,
            state: State::Open(held),
        }
    }

    /// Restores a stored settled set with its claims.
    pub fn restore_settled(set_id: SetId, limits: SetLimits, claims: Vec<Claim>) -> Self {
        Self {
            set_id,
            limits,
            state: State::Settled(claims),
        }
    }

    /// Returns the set id.
    pub fn set_id(&self) -> SetId {
        self.set_id
    }

    /// Returns whether the set is settled.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled(_))
    }

    /// Returns the HTLCs that wait for the rest of the set; none once it is settled.
    pub fn held(&self) -> impl Iterator<Item = &SetHtlc> {
        self.open().into_iter().flat_map(BTreeMap::values)
    }

    /// Returns the sum of the held HTLCs in msat, saturating at `u64::MAX`.
    pub fn held_msat(&self) -> u64 {
        self.held()
            .fold(0, |sum, htlc| sum.saturating_add(htlc.amount_msat))
    }

    /// Returns the total of the set according to the sender, in msat; `None` if no HTLC is held.
    pub fn total_msat(&self) -> Option<u64> {
        self.held().next().map(|htlc| htlc.total_msat)
    }

    /// Returns the earlier decision if the set contains this HTLC: a held HTLC remains held, with
    /// its original time; a settled one is claimed again with its own preimage.
    ///
    /// Call it before applying any other rule. Failed HTLCs are no longer in the set; the caller must
    /// remember them.
    pub fn replay(&self, key: &HtlcKey) -> Option<Outcome> {
        match &self.state {
            State::Open(held) => held.contains_key(key).then_some(Outcome::Hold),
            State::Settled(claims) => {
                let claim = claims.iter().find(|claim| claim.key == *key);
                claim.map(|claim| Outcome::Settle(vec![*claim]))
            }
        }
    }

    /// Adds an HTLC and decides about it, and about the whole set if it completes it.
    ///
    /// `height` is the current block height.
    pub fn accept(&mut self, htlc: SetHtlc, height: u32) -> Outcome {
        if let Some(outcome) = self.replay(&htlc.key) {
            return outcome;
        }
        if let Err(reason) = self.check(&htlc) {
            return Outcome::Fail {
                reason,
                htlcs: vec![htlc.reference()],
            };
        }
        let total_msat = htlc.total_msat;
        if let State::Open(held) = &mut self.state {
            held.insert(htlc.key, htlc);
        }
        // The total is a u64, so a sum that overflows has reached it.
        if self.held_msat() < total_msat {
            return Outcome::Hold;
        }
        self.complete(height)
    }

    /// Returns the HTLCs whose hold time is over at `now` (Unix time in seconds). The caller must remove
    /// them and fail them with `mpp_timeout`. Each HTLC has its own hold time.
    pub fn overdue(&self, now: u64) -> Vec<HtlcKey> {
        let limit = self.limits.hold_seconds;
        self.held()
            .filter(|htlc| now.saturating_sub(htlc.accepted_at) >= limit)
            .map(|htlc| htlc.key)
            .collect()
    }

    /// Returns the Unix time in seconds at which the next hold time ends; `None` if no HTLC is held.
    pub fn next_expiry(&self) -> Option<u64> {
        let expiry = |htlc: &SetHtlc| htlc.accepted_at.saturating_add(self.limits.hold_seconds);
        self.held().map(expiry).min()
    }

    /// Removes a held HTLC that is gone for another reason (its channel was closed, or LDK failed
    /// it).
    pub fn remove(&mut self, key: &HtlcKey) -> Option<SetHtlc> {
        match &mut self.state {
            State::Open(held) => held.remove(key),
            State::Settled(_) => None,
        }
    }

    /// Removes all held HTLCs, to fail them.
    pub fn clear(&mut self) -> Vec<HtlcRef> {
        match &mut self.state {
            State::Open(held) => std::mem::take(held)
                .into_values()
                .map(|htlc| htlc.reference())
                .collect(),
            State::Settled(_) => Vec::new(),
        }
    }

    fn open(&self) -> Option<&BTreeMap<HtlcKey, SetHtlc>> {
        match &self.state {
            State::Open(held) => Some(held),
            State::Settled(_) => None,
        }
    }

    /// Checks the rules for the new HTLC alone, in lnd's order.
    fn check(&self, htlc: &SetHtlc) -> Result<(), FailReason> {
        let held = self.open().ok_or(FailReason::HtlcSetSettled)?;
        if htlc.total_msat == 0 {
            return Err(FailReason::HtlcSetTotalTooLow);
        }
        if held
            .values()
            .any(|other| other.total_msat != htlc.total_msat)
        {
            return Err(FailReason::HtlcSetTotalMismatch);
        }
        if self.set_id.is_zero() {
            return Err(FailReason::AmpError);
        }
        if held.len() >= self.limits.max_htlcs {
            return Err(FailReason::HtlcSetTooLarge);
        }
        Ok(())
    }

    /// Settles a complete set if there is time left and the shares are valid; otherwise fails all
    /// HTLCs.
    fn complete(&mut self, height: u32) -> Outcome {
        match self.claims(height) {
            Ok(claims) => {
                self.state = State::Settled(claims.clone());
                Outcome::Settle(claims)
            }
            Err(reason) => Outcome::Fail {
                reason,
                htlcs: self.clear(),
            },
        }
    }

    fn claims(&self, height: u32) -> Result<Vec<Claim>, FailReason> {
        let earliest = self.held().map(SetHtlc::deadline).min().unwrap_or(0);
        if earliest < height.saturating_add(self.limits.claim_margin_blocks) {
            return Err(FailReason::ClaimDeadlineTooNear);
        }
        let root = self
            .held()
            .fold(Share::ZERO, |root, htlc| root.xor(&htlc.share));
        self.held().map(|htlc| claim(&root, htlc)).collect()
    }
}

/// Derives the HTLC's preimage and checks it against the payment hash.
fn claim(root: &Share, htlc: &SetHtlc) -> Result<Claim, FailReason> {
    let child = Child::derive(root, &htlc.share, htlc.child_index);
    if child.hash != htlc.payment_hash {
        return Err(FailReason::AmpReconstruction);
    }
    Ok(Claim {
        key: htlc.key,
        payment_hash: htlc.payment_hash,
        preimage: child.preimage,
    })
}
