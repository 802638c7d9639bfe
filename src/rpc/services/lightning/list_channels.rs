//! ListChannels.

use bitcoin::hex::DisplayHex;
use tonic::Status;

use super::channel_words::{DUST_LIMIT_SAT, commitment_type};
use crate::channels::config::MAX_ACCEPTED_HTLCS;
use crate::channels::list::{Channel, ChannelState, PendingHtlc};
use crate::rpc::convert::errors::refused;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc;
use lnd_api::proto::lnrpc::{ListChannelsRequest, ListChannelsResponse};

/// Lists the open channels that match the request.
pub(super) fn list(
    context: &Context,
    request: &ListChannelsRequest,
) -> Result<ListChannelsResponse, Status> {
    check(request)?;
    let mut shown = Vec::new();
    let channels = context.channels.list();
    for open in channels.iter().filter(|channel| wanted(request, channel)) {
        let mut message = channel(open);
        if request.peer_alias_lookup {
            message.peer_alias = context.graph.alias(&open.peer);
        }
        shown.push(message);
    }
    Ok(ListChannelsResponse { channels: shown })
}

fn check(request: &ListChannelsRequest) -> Result<(), Status> {
    if request.active_only && request.inactive_only {
        return Err(refused(
            "either `active_only` or `inactive_only` can be set, but not both",
        ));
    }
    if request.public_only && request.private_only {
        return Err(refused(
            "either `public_only` or `private_only` can be set, but not both",
        ));
    }
    if !matches!(request.peer.len(), 0 | 33) {
        return Err(refused("invalid `peer` key"));
    }
    Ok(())
}

fn wanted(request: &ListChannelsRequest, channel: &Channel) -> bool {
    let peer = request.peer.is_empty() || request.peer == channel.peer.serialize();
    let activity =
        (channel.active || !request.active_only) && (!channel.active || !request.inactive_only);
    let publicity =
        (channel.private || !request.private_only) && (!channel.private || !request.public_only);
    channel.state == ChannelState::Open && peer && activity && publicity
}

/// Returns an open channel in lnd's form. Fields that LDK does not track (satoshis sent and received,
/// updates, uptime) are 0.
pub(super) fn channel(channel: &Channel) -> lnrpc::Channel {
    lnrpc::Channel {
        active: channel.active,
        remote_pubkey: channel.peer.serialize().to_lower_hex_string(),
        channel_point: channel
            .channel_point
            .map(|p| p.to_string())
            .unwrap_or_default(),
        chan_id: channel.scid.unwrap_or_default(),
        capacity: signed(channel.capacity_sat),
        local_balance: signed(channel.local_balance_sat()),
        remote_balance: signed(channel.remote_balance_sat()),
        commit_fee: signed(channel.commit_fee_sat),
        commit_weight: signed(channel.commit_weight),
        fee_per_kw: i64::from(channel.fee_per_kw),
        unsettled_balance: signed(channel.balance.unsettled_msat / 1000),
        num_updates: channel.num_updates,
        pending_htlcs: channel.pending_htlcs.iter().map(htlc).collect(),
        csv_delay: u32::from(channel.local_csv_delay),
        private: channel.private,
        initiator: channel.initiator,
        chan_status_flags: "ChanStatusDefault".to_owned(),
        local_chan_reserve_sat: signed(channel.local_reserve_sat),
        remote_chan_reserve_sat: signed(channel.remote_reserve_sat),
        commitment_type: commitment_type(channel.commitment_type).into(),
        local_constraints: Some(local_constraints(channel)),
        remote_constraints: Some(remote_constraints(channel)),
        alias_scids: channel.alias_scids.clone(),
        ..Default::default()
    }
}

/// Returns the constraints on our side, most of which the peer chooses. LDK does not expose how many HTLCs
/// the peer accepts, so this reports BOLT 2's maximum.
fn local_constraints(channel: &Channel) -> lnrpc::ChannelConstraints {
    lnrpc::ChannelConstraints {
        csv_delay: u32::from(channel.local_csv_delay),
        chan_reserve_sat: channel.local_reserve_sat,
        dust_limit_sat: DUST_LIMIT_SAT,
        max_pending_amt_msat: channel.remote_max_in_flight_msat,
        min_htlc_msat: channel.remote_min_htlc_msat,
        max_accepted_htlcs: u32::from(MAX_ACCEPTED_HTLCS),
    }
}

/// Returns the constraints on the peer, most of which we choose.
fn remote_constraints(channel: &Channel) -> lnrpc::ChannelConstraints {
    lnrpc::ChannelConstraints {
        csv_delay: u32::from(channel.remote_csv_delay),
        chan_reserve_sat: channel.remote_reserve_sat,
        dust_limit_sat: DUST_LIMIT_SAT,
        max_pending_amt_msat: channel.local_max_in_flight_msat,
        min_htlc_msat: channel.local_min_htlc_msat,
        max_accepted_htlcs: u32::from(MAX_ACCEPTED_HTLCS),
    }
}

fn htlc(htlc: &PendingHtlc) -> lnrpc::Htlc {
    lnrpc::Htlc {
        incoming: htlc.incoming,
        amount: signed(htlc.amount_msat / 1000),
        hash_lock: htlc.payment_hash.0.to_vec(),
        expiration_height: htlc.expiry_height,
        htlc_index: htlc.htlc_id.unwrap_or_default(),
        locked_in: htlc.htlc_id.is_some(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::services::lightning::test_data;
    use crate::rpc::test_recordings::{printed, recorded, without};

    /// Fields that LDK does not track, that come from the graph, or that lncli derives from `chan_id`.
    const NOT_COMPARED: [&str; 9] = [
        "total_satoshis_sent",
        "num_updates",
        "lifetime",
        "uptime",
        "peer_alias",
        "chan_id",
        "scid",
        "scid_str",
        "custom_channel_data",
    ];

    #[test]
    fn channel_matches_lnd() {
        let lnd = recorded("listchannels.json")["channels"][0].take();
        let ours = printed(&channel(&test_data::channel()));
        assert_eq!(without(ours, &NOT_COMPARED), without(lnd, &NOT_COMPARED));
    }

    #[test]
    fn filters_select_channels() {
        let shown = |request: ListChannelsRequest, change: fn(&mut Channel)| {
            let mut channel = test_data::channel();
            change(&mut channel);
            wanted(&request, &channel)
        };
        let all = ListChannelsRequest::default;
        assert!(shown(all(), |_| {}));
        assert!(!shown(all(), |c| c.state = ChannelState::Opening));
        assert!(!shown(all(), |c| c.state = ChannelState::Closing));
        let active_only = || ListChannelsRequest {
            active_only: true,
            ..all()
        };
        assert!(shown(active_only(), |_| {}));
        assert!(!shown(active_only(), |c| c.active = false));
        let inactive_only = || ListChannelsRequest {
            inactive_only: true,
            ..all()
        };
        assert!(!shown(inactive_only(), |_| {}));
        assert!(shown(inactive_only(), |c| c.active = false));
        let private_only = || ListChannelsRequest {
            private_only: true,
            ..all()
        };
        assert!(!shown(private_only(), |_| {}));
        assert!(shown(private_only(), |c| c.private = true));
        let public_only = || ListChannelsRequest {
            public_only: true,
            ..all()
        };
        assert!(!shown(public_only(), |c| c.private = true));
        let of_peer = |peer: Vec<u8>| ListChannelsRequest { peer, ..all() };
        assert!(shown(
            of_peer(test_data::channel().peer.serialize().into()),
            |_| {}
        ));
        assert!(!shown(of_peer(vec![2; 33]), |_| {}));
    }

    #[test]
    fn rejects_contradictory_filters() {
        let request = ListChannelsRequest {
            active_only: true,
            inactive_only: true,
            ..Default::default()
        };
        assert!(check(&request).is_err());
        let request = ListChannelsRequest {
            peer: vec![1],
            ..Default::default()
        };
        assert_eq!(check(&request).unwrap_err().message(), "invalid `peer` key");
    }
}
