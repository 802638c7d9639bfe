//! The node's channels, with all details that LDK provides.

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::{ChannelDetails, ChannelShutdownState};
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::balance::{self, ChannelBalance};
use super::config::REMOTE_CSV_DELAY_BLOCKS;
use crate::ldk::ChannelManager;

/// The state of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelState {
    /// The funding transaction is being negotiated or is unconfirmed.
    Opening,
    /// Ready for payments, whether or not the peer is connected.
    Open,
    /// A cooperative close is in progress.
    Closing,
}

/// The format of the commitment transaction, in lnd's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitmentType {
    StaticRemoteKey,
    Anchors,
}

/// An HTLC that is neither settled nor failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingHtlc {
    pub incoming: bool,
    pub amount_msat: u64,
    pub payment_hash: PaymentHash,
    /// The block height at which the HTLC times out.
    pub expiry_height: u32,
    /// The index of the HTLC in its direction; `None` until it is sent.
    pub htlc_id: Option<u64>,
}

/// A channel of this node.
///
/// `balance` is exact in msat, and both sides agree on it; [`Self::local_balance_sat`] corresponds
/// to lnd's `local_balance`.
#[derive(Debug, Clone)]
pub struct Channel {
    pub channel_id: ChannelId,
    pub peer: PublicKey,
    /// `None` until the funding transaction is known.
    pub channel_point: Option<OutPoint>,
    pub state: ChannelState,
    /// Whether payments are possible now: the channel is open and the peer is connected.
    pub active: bool,
    /// The block, transaction and output of the funding, once it is confirmed.
    pub scid: Option<u64>,
    /// The alias SCIDs of this channel.
    pub alias_scids: Vec<u64>,
    pub capacity_sat: u64,
    pub balance: ChannelBalance,
    /// The fee of our current commitment transaction in sat, paid by the opener.
    pub commit_fee_sat: u64,
    pub commit_weight: u64,
    /// The fee rate of the commitment transaction, in sat per 1000 weight units.
    pub fee_per_kw: u32,
    pub commitment_type: CommitmentType,
    /// Whether we opened the channel.
    pub initiator: bool,
    pub private: bool,
    pub pending_htlcs: Vec<PendingHtlc>,
    /// The delay, in blocks, for our funds after our own force close.
    pub local_csv_delay: u16,
    /// The delay, in blocks, for the peer's funds after its force close; the same for all our
    /// channels.
    pub remote_csv_delay: u16,
    /// The reserve on our side, in sat.
    pub local_reserve_sat: u64,
    /// The reserve on the peer's side, in sat.
    pub remote_reserve_sat: u64,
    /// The smallest HTLC that we accept, in msat.
    pub local_min_htlc_msat: u64,
    /// The smallest HTLC that the peer accepts, in msat.
    pub remote_min_htlc_msat: u64,
    /// The maximum amount that the peer may have in flight to us, in msat.
    pub local_max_in_flight_msat: u64,
    /// The maximum amount that we may have in flight to the peer, in msat.
    pub remote_max_in_flight_msat: u64,
    /// The amount that we could send now in one HTLC, in msat.
    pub sendable_msat: u64,
    pub confirmations: u32,
    /// The number of confirmations before the channel is usable; unknown until the peer accepts.
    pub confirmations_required: Option<u32>,
    /// The base fee for forwards, in msat.
    pub base_fee_msat: u32,
    /// The proportional fee for forwards, in millionths.
    pub fee_rate_ppm: u32,
    /// The difference in blocks between the expiries of a forward's HTLCs.
    pub cltv_delta_blocks: u16,
    /// Always 0: LDK does not count the updates of a channel.
    pub num_updates: u64,
}

impl Channel {
    /// Returns our output of the commitment transaction in sat: lnd's `local_balance`.
    pub fn local_balance_sat(&self) -> u64 {
        self.local_balance_msat() / 1000
    }

    /// Returns the peer's output of the commitment transaction in sat: lnd's `remote_balance`.
    pub fn remote_balance_sat(&self) -> u64 {
        self.remote_balance_msat() / 1000
    }

    /// Returns [`Self::local_balance_sat`] in msat.
    pub fn local_balance_msat(&self) -> u64 {
        self.after_opener_costs(self.balance.local_msat, self.initiator)
    }

    /// Returns [`Self::remote_balance_sat`] in msat.
    pub fn remote_balance_msat(&self) -> u64 {
        self.after_opener_costs(self.balance.remote_msat, !self.initiator)
    }

    /// Subtracts the commitment fee and the anchors from the opener's balance, as far as it
    /// suffices.
    fn after_opener_costs(&self, balance_msat: u64, opener: bool) -> u64 {
        let anchors = match self.commitment_type {
            CommitmentType::Anchors => balance::ANCHORS_SAT,
            CommitmentType::StaticRemoteKey => 0,
        };
        let costs = if opener {
            self.commit_fee_sat.saturating_add(anchors)
        } else {
            0
        };
        balance_msat.saturating_sub(costs.saturating_mul(1000))
    }
}

/// Returns all channels that LDK manages, ordered by id (LDK's own order is random).
pub fn channels(manager: &ChannelManager) -> Vec<Channel> {
    let mut channels: Vec<Channel> = manager.list_channels().iter().map(channel).collect();
    channels.sort_by_key(|channel| channel.channel_id.0);
    channels
}

/// Returns the state of a channel.
pub fn state(channel: &ChannelDetails) -> ChannelState {
    let shutdown = channel.channel_shutdown_state;
    if shutdown.is_some_and(|shutdown| shutdown != ChannelShutdownState::NotShuttingDown) {
        ChannelState::Closing
    } else if channel.is_channel_ready {
        ChannelState::Open
    } else {
        ChannelState::Opening
    }
}

/// Converts LDK's channel details.
pub fn channel(details: &ChannelDetails) -> Channel {
    let config = details.config.unwrap_or_default();
    let anchors = balance::has_anchors(details);
    let max_in_flight = details.channel_value_satoshis.saturating_mul(1000);
    Channel {
        channel_id: details.channel_id,
        peer: details.counterparty.node_id,
        channel_point: details
            .funding_txo
            .map(|point| point.into_bitcoin_outpoint()),
        state: state(details),
        active: details.is_usable,
        scid: details.short_channel_id,
        alias_scids: [details.outbound_scid_alias, details.inbound_scid_alias]
            .into_iter()
            .flatten()
            .collect(),
        capacity_sat: details.channel_value_satoshis,
        balance: balance::channel_balance(details),
        commit_fee_sat: balance::commitment_fee_sat(details),
        commit_weight: balance::commitment_weight(details),
        fee_per_kw: details.feerate_sat_per_1000_weight.unwrap_or(0),
        commitment_type: match anchors {
            true => CommitmentType::Anchors,
            false => CommitmentType::StaticRemoteKey,
        },
        initiator: details.is_outbound,
        private: !details.is_announced,
        pending_htlcs: pending_htlcs(details),
        local_csv_delay: details.force_close_spend_delay.unwrap_or(0),
        remote_csv_delay: REMOTE_CSV_DELAY_BLOCKS,
        local_reserve_sat: details.unspendable_punishment_reserve.unwrap_or(0),
        remote_reserve_sat: details.counterparty.unspendable_punishment_reserve,
        local_min_htlc_msat: details.inbound_htlc_minimum_msat.unwrap_or(0),
        remote_min_htlc_msat: details.counterparty.outbound_htlc_minimum_msat.unwrap_or(0),
        local_max_in_flight_msat: details.inbound_htlc_maximum_msat.unwrap_or(max_in_flight),
        remote_max_in_flight_msat: details
            .counterparty
            .outbound_htlc_maximum_msat
            .unwrap_or(max_in_flight),
        sendable_msat: details.next_outbound_htlc_limit_msat,
        confirmations: details.confirmations.unwrap_or(0),
        confirmations_required: details.confirmations_required,
        base_fee_msat: config.forwarding_fee_base_msat,
        fee_rate_ppm: config.forwarding_fee_proportional_millionths,
        cltv_delta_blocks: config.cltv_expiry_delta,
        num_updates: 0,
    }
}

fn pending_htlcs(details: &ChannelDetails) -> Vec<PendingHtlc> {
    let incoming = details
        .pending_inbound_htlcs
        .iter()
        .map(|htlc| PendingHtlc {
            incoming: true,
            amount_msat: htlc.amount_msat,
            payment_hash: htlc.payment_hash,
            expiry_height: htlc.cltv_expiry,
            htlc_id: Some(htlc.htlc_id),
        });
    let outgoing = details
        .pending_outbound_htlcs
        .iter()
        .map(|htlc| PendingHtlc {
            incoming: false,
            amount_msat: htlc.amount_msat,
            payment_hash: htlc.payment_hash,
            expiry_height: htlc.cltv_expiry,
            htlc_id: htlc.htlc_id,
        });
    incoming.chain(outgoing).collect()
}

#[cfg(test)]
mod tests;
