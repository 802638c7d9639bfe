//! Fee negotiation of cooperative closes (`closing_signed`, BOLT 2).
//!
//! The opener pays the fee and proposes first. Peers that send a `fee_range` (LDK, CLN, Eclair) pick
//! a fee from it; lnd sends no range and proposes one fee after another until both sides are close.
//! LDK's implementation can cost the opener money in two ways. The range it sends extends to the
//! most it would pay to avoid a force close, and an LDK peer may pick that maximum. It also
//! force-closes when a peer without a range twice proposes a fee outside LDK's own range.
//!
//! So the gateway narrows the outgoing range to what we are willing to pay and keeps unacceptable
//! fees from LDK. A peer without a range gets our offer again: lnd moves by 10 % each time and
//! accepts once it is within 30 %. Any other peer is disconnected with a warning; negotiation
//! restarts when it reconnects.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ClosingSigned, ClosingSignedFeeRange};
use lightning::ln::types::ChannelId;

/// The most times one offer is repeated. From 1000 sat/vB to 1 takes 73 steps of 10 %.
const MAX_REPEATS: u32 = 100;

/// The limit on the closing fee of a channel that we opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingTerms {
    /// Exactly the fee that LDK offers first.
    Exactly,
    /// LDK's first offer, plus up to `more_sat` sat for a peer that sends no range.
    UpTo { more_sat: u64 },
}

/// Returns the terms of a channel, or `None` if the peer pays the fee.
pub(super) type FindTerms = dyn Fn(&PublicKey, &ChannelId) -> Option<ClosingTerms> + Send + Sync;

/// The reaction to a fee proposed by a peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Pass the message to LDK, which accepts the fee or makes a counter-offer.
    LeaveToLdk,
    /// Send our offer again.
    Repeat(ClosingSigned),
    /// Send a warning and disconnect.
    Refuse,
}

/// Our latest offer for one channel.
struct Offer {
    peer: PublicKey,
    sent: ClosingSigned,
    range: ClosingSignedFeeRange,
    /// The highest fee, in sat, accepted from a peer that sends no range.
    most_sat: u64,
    /// Whether we pay the fee.
    is_ours: bool,
    repeats: u32,
}

/// Our latest offers for all closing channels.
#[derive(Default)]
pub(super) struct ClosingFees(HashMap<ChannelId, Offer>);

impl ClosingFees {
    /// Records LDK's outgoing offer and narrows its range to `terms`.
    pub(super) fn outgoing(
        &mut self,
        peer: PublicKey,
        message: &mut ClosingSigned,
        terms: Option<ClosingTerms>,
    ) {
        let Some(ldks) = message.fee_range.clone() else {
            return;
        };
        // LDK drops the channel when it accepts a fee, so there are no terms then: reuse the range of
        // our first offer.
        let earlier = self.0.get(&message.channel_id);
        let (mut range, most_sat, is_ours) = match (terms, earlier) {
            (Some(terms), _) => {
                let (max_sat, most_sat) = limits(&ldks, terms);
                (bounded(&ldks, max_sat), most_sat, true)
            }
            (None, Some(earlier)) => (earlier.range.clone(), earlier.most_sat, earlier.is_ours),
            (None, None) => (ldks.clone(), ldks.max_fee_satoshis, false),
        };
        // BOLT 2: the proposed fee must lie within the range sent with it.
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

    /// Decides how to react to the fee proposed by the peer.
    pub(super) fn incoming(&mut self, peer: &PublicKey, message: &ClosingSigned) -> Answer {
        let Some(offer) = self.0.get_mut(&message.channel_id) else {
            return Answer::LeaveToLdk;
        };
        if offer.peer != *peer {
            return Answer::LeaveToLdk;
        }
        let (fee, min) = (message.fee_satoshis, offer.range.min_fee_satoshis);
        match &message.fee_range {
            Some(theirs) if theirs.max_fee_satoshis < min => Answer::Refuse,
            // The peer pays, so LDK may pick any fee.
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

    /// Drops the peer's offers: negotiation restarts after a reconnect (BOLT 2).
    pub(super) fn forget_peer(&mut self, peer: &PublicKey) {
        self.0.retain(|_, offer| offer.peer != *peer);
    }

    /// Drops the offer of a closed channel.
    pub(super) fn forget_channel(&mut self, channel_id: &ChannelId) {
        self.0.remove(channel_id);
    }
}

/// Returns the upper end of the range we send and the maximum for a peer without a range, in sat.
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
