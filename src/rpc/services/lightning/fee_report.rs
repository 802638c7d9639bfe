//! FeeReport: our channels' forwarding fees and what they earned.

use tonic::Status;

use crate::channels::list::{Channel, ChannelState, channels};
use crate::clock::unix_nanos;
use crate::rpc::Context;
use lnd_api::proto::lnrpc::{ChannelFeeReport, FeeReportRequest, FeeReportResponse};

const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// The unit of fee rates: millionths of the amount.
const MILLION: f64 = 1_000_000.0;

/// Reports the fees of all open channels, and the fees earned in the last day, week and 30 days, in sat.
pub(super) fn report(context: &Context, _: &FeeReportRequest) -> Result<FeeReportResponse, Status> {
    let now = unix_nanos();
    let earned = |days: u64| -> Result<u64, Status> {
        let from = now.saturating_sub(days * DAY_NS);
        Ok(context.store.forward_fees_msat(from, now)? / 1000)
    };
    let channels = channels(&context.manager);
    let open = channels.iter().filter(|c| c.state == ChannelState::Open);
    Ok(FeeReportResponse {
        channel_fees: open.filter_map(fees).collect(),
        day_fee_sum: earned(1)?,
        week_fee_sum: earned(7)?,
        month_fee_sum: earned(30)?,
    })
}

fn fees(channel: &Channel) -> Option<ChannelFeeReport> {
    Some(ChannelFeeReport {
        chan_id: channel.scid?,
        channel_point: channel.channel_point?.to_string(),
        base_fee_msat: channel.base_fee_msat.into(),
        fee_per_mil: channel.fee_rate_ppm.into(),
        fee_rate: f64::from(channel.fee_rate_ppm) / MILLION,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::services::lightning::test_data;
    use crate::rpc::test_recordings::{printed, recorded};

    #[test]
    fn fees_match_lnd() {
        let lnd = recorded("feereport.json");
        let ours = fees(&test_data::channel()).unwrap();
        assert_eq!(printed(&ours), lnd["channel_fees"][0]);
    }
}
