//! CloseChannel: a stream of what happens.

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::channels::close::{CloseRequest, CloseUpdate, Closing};
use crate::rpc::Rooms;
use crate::rpc::errors::{refused, unsupported};
use crate::rpc::input::{FeeChoice, channel_point, per_kw, within};
use crate::rpc::proto::lnrpc::close_status_update::Update;
use crate::rpc::proto::lnrpc::{
    ChannelCloseUpdate, CloseChannelRequest, CloseStatusUpdate, InstantUpdate, PendingUpdate,
};
use crate::rpc::streams::{Answers, Writer, stream};

/// Begins to close; the answers tell of the closing transaction and then of its block.
pub(super) async fn close(
    rooms: &Rooms,
    stop: &CancellationToken,
    request: &CloseChannelRequest,
) -> Result<Answers<CloseStatusUpdate>, Status> {
    let point = channel_point(request.channel_point.as_ref())?;
    let order = read(rooms, request)?;
    let pending_htlcs = pending_htlcs(rooms, &point);
    let closing = rooms.closer.close(point, order).await?;
    let instant = request.no_wait.then_some(InstantUpdate {
        num_pending_htlcs: pending_htlcs,
    });
    let (force, stop) = (request.force, stop.clone());
    Ok(stream(stop, move |writer| async move {
        if let Some(instant) = instant {
            writer.send(update(Update::CloseInstant(instant))).await;
        }
        follow(&writer, closing, force).await
    }))
}

fn read(rooms: &Rooms, request: &CloseChannelRequest) -> Result<CloseRequest, Status> {
    if request.max_fee_per_vbyte != 0 {
        return Err(unsupported(
            "max_fee_per_vbyte is not supported: LDK sets its own limit for the fee of a close",
        ));
    }
    let fee = FeeChoice::of(
        request.target_conf,
        request.sat_per_vbyte,
        request.sat_per_byte,
    )?;
    if request.force {
        if fee != FeeChoice::Unsaid || !request.delivery_address.is_empty() {
            return Err(refused(
                "force closing a channel uses a pre-defined fee and address: give neither",
            ));
        }
        return Ok(CloseRequest::Force);
    }
    let feerate_per_kw = match fee {
        FeeChoice::SatPerVbyte(rate) => Some(within(per_kw(rate)?, "sat_per_vbyte")?),
        FeeChoice::ConfirmIn(blocks) => Some(rooms.fees.sat_per_kw(blocks)),
        FeeChoice::Unsaid => None,
    };
    let delivery = match request.delivery_address.as_str() {
        "" => None,
        address => Some(rooms.wallet.parse_address(address)?.script_pubkey()),
    };
    Ok(CloseRequest::Cooperative {
        feerate_per_kw,
        delivery,
    })
}

fn pending_htlcs(rooms: &Rooms, point: &bitcoin::OutPoint) -> i32 {
    let channels = crate::channels::list::channels(&rooms.manager);
    let channel = channels.iter().find(|c| c.channel_point == Some(*point));
    let count = channel.map_or(0, |channel| channel.pending_htlcs.len());
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// First that the transaction is on its way, even if it is in a block by then; then the block.
async fn follow(
    writer: &Writer<CloseStatusUpdate>,
    mut closing: Closing,
    force: bool,
) -> Result<(), Status> {
    let mut told = false;
    loop {
        let (txid, confirmed) = match closing.next().await? {
            CloseUpdate::Pending(txid) => (txid, false),
            CloseUpdate::Confirmed { txid, .. } => (txid, true),
        };
        if !(confirmed && told) {
            writer
                .send(update(Update::ClosePending(pending(txid, force))))
                .await;
            told = true;
        }
        if confirmed {
            writer.send(update(Update::ChanClose(closed(txid)))).await;
            return Ok(());
        }
    }
}

fn update(update: Update) -> CloseStatusUpdate {
    CloseStatusUpdate {
        update: Some(update),
    }
}

fn pending(txid: Txid, force: bool) -> PendingUpdate {
    PendingUpdate {
        txid: txid.to_byte_array().to_vec(),
        local_close_tx: force,
        ..Default::default()
    }
}

fn closed(txid: Txid) -> ChannelCloseUpdate {
    ChannelCloseUpdate {
        closing_txid: txid.to_byte_array().to_vec(),
        success: true,
        ..Default::default()
    }
}
