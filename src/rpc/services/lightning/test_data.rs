//! Test data: an open and a closed channel as the channels module returns them.

use bitcoin::OutPoint;
use lightning::ln::types::ChannelId;

use crate::channels::balance::ChannelBalance;
use crate::channels::closed::{CloseInitiator, CloseType, ClosedChannel};
use crate::channels::list::{Channel, ChannelState, CommitmentType};

/// The first channel of `listchannels.json`: 400,000 sat, opened by us.
pub(super) fn channel() -> Channel {
    let point = "b075a1b6befabb0cb1d04a04f678e9a648ab85b715040c7d8e083909e8034c7b:0";
    let peer = "0263023b725db9e82890799459688ca409a67560e4dc5f3e9ff442e63bac5a1f5c";
    let point: OutPoint = point.parse().unwrap();
    Channel {
        channel_id: ChannelId([7; 32]),
        peer: peer.parse().unwrap(),
        channel_point: Some(point),
        state: ChannelState::Open,
        active: true,
        scid: Some(123_145_302_441_984),
        alias_scids: Vec::new(),
        capacity_sat: 400_000,
        balance: ChannelBalance {
            // lnd's balance plus what it subtracts: the fee of 2811 sat and two anchors of 330 sat.
            local_msat: 55_148_000 + 2_811_000 + 660_000,
            remote_msat: 341_381_000,
            unsettled_msat: 0,
            exact: true,
        },
        commit_fee_sat: 2811,
        commit_weight: 1116,
        fee_per_kw: 2500,
        commitment_type: CommitmentType::Anchors,
        initiator: true,
        private: false,
        pending_htlcs: Vec::new(),
        local_csv_delay: 144,
        remote_csv_delay: 144,
        local_reserve_sat: 4000,
        remote_reserve_sat: 4000,
        local_min_htlc_msat: 1,
        remote_min_htlc_msat: 1,
        local_max_in_flight_msat: 396_000_000,
        remote_max_in_flight_msat: 396_000_000,
        sendable_msat: 0,
        confirmations: 6,
        confirmations_required: Some(3),
        base_fee_msat: 1000,
        fee_rate_ppm: 1,
        cltv_delta_blocks: 80,
        num_updates: 0,
    }
}

/// The same channel after a cooperative close.
pub(super) fn closed() -> ClosedChannel {
    let open = channel();
    ClosedChannel {
        channel_id: open.channel_id,
        channel_point: open.channel_point.unwrap(),
        scid: open.scid,
        peer: Some(open.peer),
        capacity_sat: open.capacity_sat,
        local_balance_msat: 55_148_000,
        initiator: true,
        private: false,
        close_type: CloseType::Cooperative,
        close_initiator: CloseInitiator::Local,
        reason: String::new(),
        closing: None,
    }
}
