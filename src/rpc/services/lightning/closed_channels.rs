//! ClosedChannels.

use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use bitcoin::{Network, Txid};
use tonic::Status;

use super::channel_words::{close_initiator, open_initiator};
use crate::channels::closed::{CloseType, ClosedChannel};
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc::channel_close_summary::ClosureType;
use lnd_api::proto::lnrpc::{ChannelCloseSummary, ClosedChannelsRequest, ClosedChannelsResponse};

/// Lists the closed channels that match the request.
pub(super) fn list(
    context: &Context,
    request: &ClosedChannelsRequest,
) -> Result<ClosedChannelsResponse, Status> {
    let closed = context.channels.closed()?;
    let shown = closed
        .iter()
        .filter(|channel| wanted(request, channel.close_type));
    Ok(ClosedChannelsResponse {
        channels: shown
            .map(|channel| summary(channel, context.node.network))
            .collect(),
    })
}

/// Returns whether the channel matches the filters; without filters every channel does.
fn wanted(request: &ClosedChannelsRequest, kind: CloseType) -> bool {
    let asked = match kind {
        CloseType::Cooperative => request.cooperative,
        CloseType::LocalForce => request.local_force,
        CloseType::RemoteForce => request.remote_force,
        CloseType::FundingCanceled => request.funding_canceled,
    };
    asked || *request == ClosedChannelsRequest::default()
}

/// Returns a closed channel in lnd's form.
pub(super) fn summary(channel: &ClosedChannel, network: Network) -> ChannelCloseSummary {
    let (settled, time_locked) = balances(channel);
    let genesis = bitcoin::constants::genesis_block(network).block_hash();
    let closing = channel.closing;
    let peer = channel
        .peer
        .map(|peer| peer.serialize().to_lower_hex_string());
    ChannelCloseSummary {
        channel_point: channel.channel_point.to_string(),
        chan_id: channel.scid.unwrap_or_default(),
        chain_hash: genesis.to_string(),
        closing_tx_hash: closing.map_or(Txid::all_zeros(), |c| c.txid).to_string(),
        remote_pubkey: peer.unwrap_or_default(),
        capacity: signed(channel.capacity_sat),
        close_height: closing
            .and_then(|closing| closing.height)
            .unwrap_or_default(),
        settled_balance: signed(settled),
        time_locked_balance: signed(time_locked),
        close_type: close_type(channel.close_type).into(),
        open_initiator: open_initiator(channel.initiator).into(),
        close_initiator: close_initiator(channel.close_initiator).into(),
        ..Default::default()
    }
}

/// Returns the settled balance and the time-locked part of it, in sat. As in lnd, both are equal for our
/// own force close.
fn balances(channel: &ClosedChannel) -> (u64, u64) {
    let local = channel.local_balance_msat / 1000;
    match channel.close_type {
        CloseType::Cooperative | CloseType::RemoteForce => (local, 0),
        CloseType::LocalForce => (local, local),
        CloseType::FundingCanceled => (0, 0),
    }
}

fn close_type(kind: CloseType) -> ClosureType {
    match kind {
        CloseType::Cooperative => ClosureType::CooperativeClose,
        CloseType::LocalForce => ClosureType::LocalForceClose,
        CloseType::RemoteForce => ClosureType::RemoteForceClose,
        CloseType::FundingCanceled => ClosureType::FundingCanceled,
    }
}

#[cfg(test)]
mod tests {
    use lightning::ln::types::ChannelId;

    use super::*;
    use crate::channels::closed::CloseInitiator;
    use crate::channels::closing_transaction::ClosingTransaction;
    use crate::rpc::test_recordings::{printed, recorded, without};

    fn closed() -> ClosedChannel {
        let lnd = recorded("closedchannels.json")["channels"][0].take();
        let text = |name: &str| lnd[name].as_str().unwrap().to_owned();
        ClosedChannel {
            channel_id: ChannelId([7; 32]),
            channel_point: text("channel_point").parse().unwrap(),
            scid: Some(123_145_302_441_984),
            peer: Some(text("remote_pubkey").parse().unwrap()),
            capacity_sat: 400_000,
            local_balance_msat: 56_741_000,
            initiator: true,
            private: false,
            close_type: CloseType::Cooperative,
            close_initiator: CloseInitiator::Local,
            reason: String::new(),
            closing: Some(ClosingTransaction {
                txid: text("closing_tx_hash").parse().unwrap(),
                height: Some(125),
                kind: None,
            }),
        }
    }

    #[test]
    fn closed_channel_matches_lnd() {
        let lnd = recorded("closedchannels.json")["channels"][0].take();
        let ours = printed(&summary(&closed(), Network::Regtest));
        // lncli prints the id as `scid`.
        let reshaped = ["chan_id", "scid", "scid_str"];
        assert_eq!(ours["chan_id"], lnd["scid"]);
        assert_eq!(without(ours, &reshaped), without(lnd, &reshaped));
    }

    #[test]
    fn filters_select_by_close_type() {
        let all = ClosedChannelsRequest::default();
        assert!(wanted(&all, CloseType::Cooperative));
        assert!(wanted(&all, CloseType::FundingCanceled));
        let local_force = ClosedChannelsRequest {
            local_force: true,
            ..all
        };
        assert!(wanted(&local_force, CloseType::LocalForce));
        assert!(!wanted(&local_force, CloseType::RemoteForce));
    }

    #[test]
    fn unfunded_channel_has_no_closing_transaction() {
        let never = ClosedChannel {
            close_type: CloseType::FundingCanceled,
            closing: None,
            peer: None,
            ..closed()
        };
        let shown = summary(&never, Network::Regtest);
        assert_eq!(shown.closing_tx_hash, "00".repeat(32));
        assert_eq!((shown.settled_balance, shown.close_height), (0, 0));
        assert_eq!(shown.remote_pubkey, "");
    }
}
