//! The exact balance of each side of a channel in msat, derived from LDK's figures.
//!
//! LDK 0.2 has no field for our balance, but its capacities are exact differences
//! (`get_available_balances_for_scope` in LDK's `channel.rs`):
//!
//! ```text
//! outbound_capacity = ours   - our outbound HTLCs  - anchors (if we opened) - our reserve, or 0
//! inbound_capacity  = theirs - their outbound HTLCs - anchors (if they did)  - their reserve, or 0
//! ```
//!
//! Adding the constants back gives the balance, unless the capacity was clamped to 0. In that case
//! it follows from the other side's balance and the pending HTLCs, since all of them add up to the
//! channel's capacity. `ChainMonitor`'s balances are not sufficient: they are in sat and exclude
//! the commitment fee.

use lightning::ln::channel_state::ChannelDetails;

/// Two anchor outputs of 330 sat on each commitment, paid by the opener (BOLT 3).
pub const ANCHORS_SAT: u64 = 660;
/// Weight of an anchor commitment without HTLCs (BOLT 3).
const ANCHOR_COMMITMENT_WEIGHT: u64 = 1124;
/// Weight of a commitment without anchors and HTLCs (BOLT 3).
const PLAIN_COMMITMENT_WEIGHT: u64 = 724;
/// Weight of each HTLC output on a commitment (BOLT 3).
const HTLC_WEIGHT: u64 = 172;

/// The balances of a channel. Their sum is its capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelBalance {
    /// Our balance in msat, before the commitment fee and anchors, without pending HTLCs.
    pub local_msat: u64,
    /// The peer's balance in msat, likewise.
    pub remote_msat: u64,
    /// The amount in pending HTLCs of both directions, in msat.
    pub unsettled_msat: u64,
    /// False if both sides are below their reserve; then LDK's figures give only bounds.
    ///
    /// This requires that nearly the whole channel is in flight. In addition, LDK does not list a
    /// peer's new HTLC for the milliseconds until it is signed. If our side is below our reserve
    /// during that time, the HTLC counts as ours, up to that reserve.
    pub exact: bool,
}

/// Returns the balance of an open channel, before and after the commitment is signed.
pub fn channel_balance(channel: &ChannelDetails) -> ChannelBalance {
    let capacity_msat = channel.channel_value_satoshis.saturating_mul(1000);
    let parts = Parts::of(channel);
    let listed = capacity_msat.saturating_sub(listed_htlcs_msat(channel));
    let (local_msat, remote_msat, exact) = match (parts.local(), parts.remote()) {
        (Some(local), Some(remote)) => (local, remote, true),
        (Some(local), None) => (
            local,
            listed.saturating_sub(local).min(parts.remote_floor_msat),
            true,
        ),
        (None, Some(remote)) => (
            listed.saturating_sub(remote).min(parts.local_floor_msat),
            remote,
            true,
        ),
        (None, None) => {
            let local = listed.min(parts.local_floor_msat);
            (local, listed.saturating_sub(local), false)
        }
    };
    let unsettled_msat = capacity_msat
        .saturating_sub(local_msat)
        .saturating_sub(remote_msat);
    ChannelBalance {
        local_msat,
        remote_msat,
        unsettled_msat,
        exact,
    }
}

/// Returns the weight of the current commitment transaction, including its HTLCs above dust.
pub fn commitment_weight(channel: &ChannelDetails) -> u64 {
    let base = if has_anchors(channel) {
        ANCHOR_COMMITMENT_WEIGHT
    } else {
        PLAIN_COMMITMENT_WEIGHT
    };
    let incoming = channel
        .pending_inbound_htlcs
        .iter()
        .filter(|htlc| !htlc.is_dust)
        .count();
    let outgoing = channel
        .pending_outbound_htlcs
        .iter()
        .filter(|htlc| !htlc.is_dust)
        .count();
    base + HTLC_WEIGHT * (incoming + outgoing) as u64
}

/// Returns the fee of the current commitment transaction in sat, which the opener pays.
pub fn commitment_fee_sat(channel: &ChannelDetails) -> u64 {
    u64::from(channel.feerate_sat_per_1000_weight.unwrap_or(0)) * commitment_weight(channel) / 1000
}

/// Returns whether the channel's commitments have anchor outputs.
pub fn has_anchors(channel: &ChannelDetails) -> bool {
    let kind = channel.channel_type.as_ref();
    kind.is_some_and(|kind| kind.supports_anchors_zero_fee_htlc_tx())
}

/// LDK's capacities and the amounts that LDK subtracted from the balances to get them.
struct Parts {
    outbound_msat: u64,
    inbound_msat: u64,
    local_floor_msat: u64,
    remote_floor_msat: u64,
}

impl Parts {
    fn of(channel: &ChannelDetails) -> Self {
        let anchors_msat = if has_anchors(channel) {
            ANCHORS_SAT * 1000
        } else {
            0
        };
        let (ours, theirs) = if channel.is_outbound {
            (anchors_msat, 0)
        } else {
            (0, anchors_msat)
        };
        let reserve = channel.unspendable_punishment_reserve.unwrap_or(0);
        let peer_reserve = channel.counterparty.unspendable_punishment_reserve;
        Self {
            outbound_msat: channel.outbound_capacity_msat,
            inbound_msat: channel.inbound_capacity_msat,
            local_floor_msat: reserve.saturating_mul(1000).saturating_add(ours),
            remote_floor_msat: peer_reserve.saturating_mul(1000).saturating_add(theirs),
        }
    }

    /// Returns our balance in msat, if it exceeds what LDK subtracted.
    fn local(&self) -> Option<u64> {
        (self.outbound_msat > 0).then(|| self.outbound_msat.saturating_add(self.local_floor_msat))
    }

    /// Returns the peer's balance in msat, if it exceeds what LDK subtracted.
    fn remote(&self) -> Option<u64> {
        (self.inbound_msat > 0).then(|| self.inbound_msat.saturating_add(self.remote_floor_msat))
    }
}

/// Returns the sum of the HTLCs that LDK lists, in msat.
fn listed_htlcs_msat(channel: &ChannelDetails) -> u64 {
    let incoming = channel
        .pending_inbound_htlcs
        .iter()
        .map(|htlc| htlc.amount_msat);
    let outgoing = channel
        .pending_outbound_htlcs
        .iter()
        .map(|htlc| htlc.amount_msat);
    incoming.chain(outgoing).fold(0, u64::saturating_add)
}
