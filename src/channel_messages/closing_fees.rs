//! The fees that we and our peers name for a cooperative close.
//!
//! BOLT 2: the opener pays the fee of a cooperative close. It names a fee first, and peers that send a
//! `fee_range` (LDK, CLN, Eclair) pick one of that range; lnd sends none and names one fee after the
//! other until both are close. LDK's part in this has two faults that cost the opener money: the range
//! that it sends includes what it would pay at most to avoid a forced close, which an LDK peer then
//! takes, and it closes by force when a peer without a range names a fee outside its own range twice.
//!
//! So the range that leaves is what we really offer, and a fee outside of what we take does not reach
//! LDK. A peer without a range gets our offer once more: lnd moves by a tenth each time, and gives in
//! when it is within three tenths. Any other is disconnected with a warning; the negotiation begins
//! anew when it is back.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ClosingSigned, ClosingSignedFeeRange};
use lightning::ln::types::ChannelId;

/// How often one offer is repeated. 1000 sat/vB become 1 in 73 steps of a tenth.
const MAX_REPEATS: u32 = 100;

/// What the close of a channel that we opened may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingTerms {
    /// Exactly the fee that LDK offers first.
    Exactly,
    /// What LDK offers first, and so many sat more if a peer without a range asks for it.
    UpTo { more_sat: u64 },
}

/// Finds the terms of a channel; none if the peer pays the fee.
pub type FindTerms = dyn Fn(&PublicKey, &ChannelId) -> Option<ClosingTerms> + Send + Sync;

/// What to do with a fee that a peer names.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// LDK takes it, or answers with another fee.
    LeaveToLdk,
    /// Send this once more.
    Repeat(ClosingSigned),
    /// Warn the peer and disconnect.
    Refuse,
}

/// Our latest offer for one channel.
struct Offer {
    peer: PublicKey,
    sent: ClosingSigned,
    range: ClosingSignedFeeRange,
    /// The highest fee, in sat, that we take from a peer that names no range.
    most_sat: u64,
    /// Whether the fee is ours to pay.
    is_ours: bool,
    repeats: u32,
}

/// The offers of all channels that are being closed.
#[derive(Default)]
pub struct ClosingFees(HashMap<ChannelId, Offer>);

impl ClosingFees {
    /// Notes what LDK sends, and narrows its range to what we offer.
    pub fn outgoing(
        &mut self,
        peer: PublicKey,
        message: &mut ClosingSigned,
        terms: Option<ClosingTerms>,
    ) {
        let Some(ldks) = message.fee_range.clone() else {
            return;
        };
        // LDK forgets the channel when it accepts a fee: then the range is that of our first offer.
        let earlier = self.0.get(&message.channel_id);
        let (mut range, most_sat, is_ours) = match (terms, earlier) {
            (Some(terms), _) => {
                let (max_sat, most_sat) = limits(&ldks, terms);
                (bounded(&ldks, max_sat), most_sat, true)
            }
            (None, Some(earlier)) => (earlier.range.clone(), earlier.most_sat, earlier.is_ours),
            (None, None) => (ldks.clone(), ldks.max_fee_satoshis, false),
        };
        // A fee outside of the range that comes with it is invalid (BOLT 2).
        range.max_fee_satoshis = range.max_fee_satoshis.max(message.fee_satoshis);
        range.min_fee_satoshis = range.min_fee_satoshis.min(message.fee_satoshis);
        message.fee_range = Some(range.clone());
        let offer = Offer {
            peer,
            sent: message.clone(),
            range,
            most_sat,
            is_ours,
            repeats: 0,
        };
        self.0.insert(message.channel_id, offer);
    }

    /// What to do with the fee that the peer names.
    pub fn incoming(&mut self, peer: &PublicKey, message: &ClosingSigned) -> Answer {
        let Some(offer) = self.0.get_mut(&message.channel_id) else {
            return Answer::LeaveToLdk;
        };
        if offer.peer != *peer {
            return Answer::LeaveToLdk;
        }
        let (fee, min) = (message.fee_satoshis, offer.range.min_fee_satoshis);
        match &message.fee_range {
            Some(theirs) if theirs.max_fee_satoshis < min => Answer::Refuse,
            // LDK picks a fee for which they pay.
            Some(_) if !offer.is_ours => Answer::LeaveToLdk,
            Some(_) if (min..=offer.range.max_fee_satoshis).contains(&fee) => Answer::LeaveToLdk,
            Some(_) => Answer::Refuse,
            None if (min..=offer.most_sat).contains(&fee) => Answer::LeaveToLdk,
            None if offer.repeats == MAX_REPEATS => Answer::Refuse,
            None => {
                offer.repeats += 1;
                Answer::Repeat(offer.sent.clone())
            }
        }
    }

    /// The negotiation begins anew when the peer is back (BOLT 2).
    pub fn forget_peer(&mut self, peer: &PublicKey) {
        self.0.retain(|_, offer| offer.peer != *peer);
    }

    pub fn forget_channel(&mut self, channel_id: &ChannelId) {
        self.0.remove(channel_id);
    }
}

/// The upper end of the range that we send, and the most for a peer without one, in sat.
fn limits(ldks: &ClosingSignedFeeRange, terms: ClosingTerms) -> (u64, u64) {
    match terms {
        ClosingTerms::Exactly => (ldks.min_fee_satoshis, ldks.min_fee_satoshis),
        ClosingTerms::UpTo { more_sat } => {
            let max_sat = ldks.max_fee_satoshis.saturating_sub(more_sat);
            (max_sat, ldks.max_fee_satoshis)
        }
    }
}

fn bounded(ldks: &ClosingSignedFeeRange, max_sat: u64) -> ClosingSignedFeeRange {
    ClosingSignedFeeRange {
        min_fee_satoshis: ldks.min_fee_satoshis,
        max_fee_satoshis: max_sat.max(ldks.min_fee_satoshis),
    }
}

#[cfg(test)]
mod tests;
