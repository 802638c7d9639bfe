//! CloseChannel: closes a channel and streams the progress.

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lightning::chain::chaininterface::FEERATE_FLOOR_SATS_PER_KW;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::chain::FeeEstimates;
use crate::channels::close::{CloseRequest, CloseUpdate, Closing, ClosingFee};
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::{FeeChoice, KW_PER_VBYTE, channel_point, per_kw, within};
use crate::rpc::transport::streams::{Answers, Writer, stream};
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::proto::lnrpc::{
    ChannelCloseUpdate, CloseChannelRequest, CloseStatusUpdate, InstantUpdate, PendingUpdate,
};

const BLOCKS_PER_DAY: u32 = 144;

/// Starts closing the channel; the stream reports the closing transaction and then its confirmation.
pub(super) async fn close(
    context: &Context,
    stop: &CancellationToken,
    request: &CloseChannelRequest,
) -> Result<Answers<CloseStatusUpdate>, Status> {
    let point = channel_point(request.channel_point.as_ref())?;
    let order = read(context, request)?;
    let pending_htlcs = pending_htlcs(context, &point);
    let closing = context.channels.close(point, order).await?;
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

fn read(context: &Context, request: &CloseChannelRequest) -> Result<CloseRequest, Status> {
    let fee = FeeChoice::of(
        request.target_conf,
        request.sat_per_vbyte,
        request.sat_per_byte,
    )?;
    if request.force {
        let any_fee = fee != FeeChoice::Unsaid || request.max_fee_per_vbyte != 0;
        if any_fee || !request.delivery_address.is_empty() {
            return Err(refused(
                "force closing a channel uses a pre-defined fee and address: set neither",
            ));
        }
        return Ok(CloseRequest::Force);
    }
    let fee = closing_fee(&context.fees, fee, request.max_fee_per_vbyte)?;
    let delivery = match request.delivery_address.as_str() {
        "" => None,
        address => Some(context.wallet.parse_address(address)?.script_pubkey()),
    };
    Ok(CloseRequest::Cooperative { fee, delivery })
}

/// Returns the fee for a close, within lnd's limit for it (sat/vB; 0 means no limit).
fn closing_fee(
    fees: &FeeEstimates,
    choice: FeeChoice,
    most_per_vbyte: u64,
) -> Result<ClosingFee, Status> {
    let most = match most_per_vbyte {
        0 => None,
        rate => Some(within(per_kw(rate)?, "max_fee_per_vbyte")?),
    };
    let fee = match (choice, most) {
        (FeeChoice::Unsaid, None) => return Ok(ClosingFee::Estimate(fees.closing_sat_per_kw())),
        (FeeChoice::Unsaid, Some(most)) => fees.closing_sat_per_kw().min(most),
        (FeeChoice::ConfirmIn(blocks), most) => {
            fees.sat_per_kw(blocks).min(most.unwrap_or(u32::MAX))
        }
        (FeeChoice::SatPerVbyte(rate), most) => {
            if most.is_some() && rate > most_per_vbyte {
                return Err(refused(format!(
                    "sat_per_vbyte of {rate} is above max_fee_per_vbyte of {most_per_vbyte}"
                )));
            }
            within(per_kw(rate)?, "sat_per_vbyte")?
        }
    };
    // 1 sat/vB is rounded up, as everywhere, so that it is not below the minimum relay fee.
    let sat_per_kw = fee.max(FEERATE_FLOOR_SATS_PER_KW);
    let least = fees.mempool_min_sat_per_kw();
    if sat_per_kw < least {
        return Err(refused(format!(
            "fee rate is below bitcoind's current mempool minimum of {} sat/vB: the closing transaction \
             would not be relayed",
            u64::from(least).div_ceil(KW_PER_VBYTE)
        )));
    }
    Ok(ClosingFee::Exactly {
        sat_per_kw,
        day_sat_per_kw: fees.sat_per_kw(BLOCKS_PER_DAY),
    })
}

fn pending_htlcs(context: &Context, point: &bitcoin::OutPoint) -> i32 {
    let channels = context.channels.list();
    let channel = channels.iter().find(|c| c.channel_point == Some(*point));
    let count = channel.map_or(0, |channel| channel.pending_htlcs.len());
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Sends a pending update, even if the transaction has confirmed by then, and then the confirmation.
async fn follow(
    writer: &Writer<CloseStatusUpdate>,
    mut closing: Closing,
    force: bool,
) -> Result<(), Status> {
    let mut pending_sent = false;
    loop {
        let (txid, confirmed) = match closing.next().await? {
            CloseUpdate::Pending(txid) => (txid, false),
            CloseUpdate::Confirmed { txid, .. } => (txid, true),
        };
        if !(confirmed && pending_sent) {
            writer
                .send(update(Update::ClosePending(pending(txid, force))))
                .await;
            pending_sent = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fee(choice: FeeChoice, most_per_vbyte: u64) -> Result<ClosingFee, String> {
        let fee = closing_fee(&FeeEstimates::flat(2_500), choice, most_per_vbyte);
        fee.map_err(|status| status.message().to_owned())
    }

    fn exactly(sat_per_kw: u32) -> Result<ClosingFee, String> {
        Ok(ClosingFee::Exactly {
            sat_per_kw,
            day_sat_per_kw: 2_500,
        })
    }

    #[test]
    fn uses_requested_fee_or_our_estimate() {
        assert_eq!(fee(FeeChoice::Unsaid, 0), Ok(ClosingFee::Estimate(2_500)));
        assert_eq!(fee(FeeChoice::ConfirmIn(6), 0), exactly(2_500));
        assert_eq!(fee(FeeChoice::SatPerVbyte(40), 0), exactly(10_000));
        assert_eq!(fee(FeeChoice::SatPerVbyte(1), 0), exactly(253));
    }

    #[test]
    fn limit_caps_estimates_and_rejects_higher_requests() {
        assert_eq!(fee(FeeChoice::Unsaid, 4), exactly(1_000));
        assert_eq!(fee(FeeChoice::Unsaid, 40), exactly(2_500));
        assert_eq!(fee(FeeChoice::ConfirmIn(6), 4), exactly(1_000));
        assert_eq!(fee(FeeChoice::SatPerVbyte(4), 4), exactly(1_000));
        let error = fee(FeeChoice::SatPerVbyte(5), 4).unwrap_err();
        assert_eq!(error, "sat_per_vbyte of 5 is above max_fee_per_vbyte of 4");
    }
}
