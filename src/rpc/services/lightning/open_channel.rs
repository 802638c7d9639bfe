//! OpenChannelSync and OpenChannel.

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::channels::channel_events::ChannelEvent;
use crate::channels::open::{FundingFee, OpenError, OpenRequest, Opening};
use crate::rpc::Context;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::parse::{
    FeeChoice, min_confs, not_negative, public_key, public_key_hex, within,
};
use crate::rpc::transport::events::next;
use crate::rpc::transport::streams::{Answers, Writer, stream};
use lnd_api::proto::lnrpc::channel_point::FundingTxid;
use lnd_api::proto::lnrpc::open_status_update::Update;
use lnd_api::proto::lnrpc::{
    ChannelOpenUpdate, ChannelPoint, CommitmentType, OpenChannelRequest, OpenStatusUpdate,
    PendingUpdate,
};

/// The confirmation target of a funding transaction, in blocks, if the client sets none (lnd).
const DEFAULT_TARGET: u32 = 6;

/// Opens a channel and returns once its funding transaction is broadcast.
pub(super) async fn open(
    context: &Context,
    request: &OpenChannelRequest,
) -> Result<ChannelPoint, Status> {
    let request = read(request)?;
    check_synced(context)?;
    let opening = context.channels.open(&request)?;
    Ok(channel_point(&opening.funded().await?))
}

/// Opens a channel and streams when its funding transaction is broadcast and when the channel is usable.
pub(super) fn open_and_follow(
    context: &Context,
    stop: CancellationToken,
    request: &OpenChannelRequest,
) -> Result<Answers<OpenStatusUpdate>, Status> {
    let request = read(request)?;
    check_synced(context)?;
    // Subscribe before opening so that no event is missed.
    let events = context.channels.events();
    let opening = context.channels.open(&request)?;
    Ok(stream(stop, move |writer| follow(writer, opening, events)))
}

/// Refuses while unsynced: the funding transaction could spend coins that are already spent. lnd's text.
fn check_synced(context: &Context) -> Result<(), Status> {
    match context.chain.is_synced(context.node.network) {
        true => Ok(()),
        false => Err(refused(
            "channels cannot be created before the wallet is fully synced",
        )),
    }
}

async fn follow(
    writer: Writer<OpenStatusUpdate>,
    opening: Opening,
    mut events: Receiver<ChannelEvent>,
) -> Result<(), Status> {
    let pending_chan_id = opening.temporary_channel_id.0.to_vec();
    let update = |update| OpenStatusUpdate {
        pending_chan_id: pending_chan_id.clone(),
        update: Some(update),
    };
    let point = opening.funded().await?;
    let pending = Update::ChanPending(PendingUpdate {
        txid: point.txid.to_byte_array().to_vec(),
        output_index: point.vout,
        ..Default::default()
    });
    writer.send(update(pending)).await;
    until_open(point, &mut events).await?;
    let channel_point = Some(channel_point(&point));
    let open = Update::ChanOpen(ChannelOpenUpdate { channel_point });
    writer.send(update(open)).await;
    Ok(())
}

async fn until_open(point: OutPoint, events: &mut Receiver<ChannelEvent>) -> Result<(), Status> {
    loop {
        let why = match next(events).await? {
            ChannelEvent::Open(channel) if channel.channel_point == Some(point) => return Ok(()),
            ChannelEvent::Closed(record) if record.channel_point == point => record.reason,
            ChannelEvent::FundingTimeout(timed_out) if timed_out == point => {
                "its funding transaction did not confirm in time".to_owned()
            }
            _ => continue,
        };
        return Err(refused(format!(
            "the channel was closed before it opened: {why}"
        )));
    }
}

/// Returns the channel point as lnd does in responses, with the transaction id as bytes.
pub(super) fn channel_point(point: &OutPoint) -> ChannelPoint {
    let txid = point.txid.to_byte_array().to_vec();
    ChannelPoint {
        funding_txid: Some(FundingTxid::FundingTxidBytes(txid)),
        output_index: point.vout,
    }
}

fn read(request: &OpenChannelRequest) -> Result<OpenRequest, Status> {
    refuse_unsupported(request)?;
    let peer = if request.node_pubkey.is_empty() {
        public_key_hex(&request.node_pubkey_string)?
    } else {
        public_key(&request.node_pubkey)?
    };
    // A negative amount is reported as too small.
    let capacity_sat = u64::try_from(request.local_funding_amount);
    let min_htlc_msat = not_negative(request.min_htlc_msat, "min_htlc_msat")?;
    let remote_csv_delay: u16 = within(request.remote_csv_delay, "remote_csv_delay")?;
    let base_fee: u32 = within(request.base_fee, "base_fee")?;
    let fee_rate: u32 = within(request.fee_rate, "fee_rate")?;
    Ok(OpenRequest {
        peer,
        capacity_sat: capacity_sat.map_err(|_| OpenError::TooSmall)?,
        push_sat: not_negative(request.push_sat, "push_sat")?,
        private: request.private,
        scid_alias: request.scid_alias,
        fee: fee(request)?,
        min_htlc_msat: (min_htlc_msat > 0).then_some(min_htlc_msat),
        remote_csv_delay: (remote_csv_delay > 0).then_some(remote_csv_delay),
        base_fee_msat: request.use_base_fee.then_some(base_fee),
        fee_rate_ppm: request.use_fee_rate.then_some(fee_rate),
    })
}

fn fee(request: &OpenChannelRequest) -> Result<FundingFee, Status> {
    let choice = FeeChoice::of(
        request.target_conf,
        request.sat_per_vbyte,
        request.sat_per_byte,
    )?;
    Ok(match choice {
        FeeChoice::SatPerVbyte(rate) => FundingFee::SatPerVbyte(rate),
        FeeChoice::ConfirmIn(blocks) => FundingFee::ConfirmIn(blocks),
        FeeChoice::Unsaid => FundingFee::ConfirmIn(DEFAULT_TARGET),
    })
}

/// Refuses fields that, if ignored, would open a different channel than the client wants.
fn refuse_unsupported(request: &OpenChannelRequest) -> Result<(), Status> {
    let anchors = [
        CommitmentType::UnknownCommitmentType.into(),
        CommitmentType::Anchors.into(),
    ];
    let unsupported_fields = [
        ("funding_shim", request.funding_shim.is_some()),
        ("close_address", !request.close_address.is_empty()),
        (
            "remote_max_value_in_flight_msat",
            request.remote_max_value_in_flight_msat != 0,
        ),
        ("remote_max_htlcs", request.remote_max_htlcs != 0),
        ("max_local_csv", request.max_local_csv != 0),
        (
            "commitment_type other than ANCHORS",
            !anchors.contains(&request.commitment_type),
        ),
        ("zero_conf", request.zero_conf),
        (
            "remote_chan_reserve_sat",
            request.remote_chan_reserve_sat != 0,
        ),
        ("fund_max", request.fund_max),
        ("memo", !request.memo.is_empty()),
        ("outpoints", !request.outpoints.is_empty()),
        (
            "min_confs other than 1",
            min_confs(request.min_confs, request.spend_unconfirmed)? != 1,
        ),
    ];
    match unsupported_fields.iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(unsupported(format!(
            "{field} is not supported when opening a channel: leave it out"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn request() -> OpenChannelRequest {
        let key = "0263023b725db9e82890799459688ca409a67560e4dc5f3e9ff442e63bac5a1f5c";
        OpenChannelRequest {
            node_pubkey_string: key.into(),
            local_funding_amount: 400_000,
            ..Default::default()
        }
    }

    #[test]
    fn unset_fields_use_the_nodes_defaults() {
        let read = read(&request()).unwrap();
        assert_eq!(read.capacity_sat, 400_000);
        assert_eq!(read.fee, FundingFee::ConfirmIn(6));
        assert_eq!((read.min_htlc_msat, read.remote_csv_delay), (None, None));
        assert_eq!((read.base_fee_msat, read.fee_rate_ppm), (None, None));
    }

    #[test]
    fn accepts_zero_fees() {
        let request = OpenChannelRequest {
            use_base_fee: true,
            use_fee_rate: true,
            ..request()
        };
        let read = read(&request).unwrap();
        assert_eq!((read.base_fee_msat, read.fee_rate_ppm), (Some(0), Some(0)));
    }

    #[test]
    fn rejects_malformed_requests() {
        let change: [fn(&mut OpenChannelRequest); 6] = [
            |r| r.local_funding_amount = -1,
            |r| r.push_sat = -1,
            |r| r.min_htlc_msat = -1,
            |r| r.remote_csv_delay = 70_000,
            |r| r.base_fee = u64::MAX,
            |r| r.node_pubkey = vec![2; 5],
        ];
        for change in change {
            let mut request = request();
            change(&mut request);
            assert!(read(&request).is_err(), "{request:?}");
        }
    }

    #[test]
    fn names_the_unsupported_field() {
        let request = OpenChannelRequest {
            zero_conf: true,
            ..request()
        };
        let status = read(&request).unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().contains("zero_conf"));
    }
}
