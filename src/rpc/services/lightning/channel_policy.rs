//! UpdateChannelPolicy.

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use tonic::Status;

use crate::channels::policy::{Change, PolicyError};
use crate::rpc::Context;
use crate::rpc::convert::errors::{invalid, refused, unsupported};
use crate::rpc::convert::parse::{channel_point, within};
use lnd_api::proto::lnrpc;
use lnd_api::proto::lnrpc::policy_update_request::Scope;
use lnd_api::proto::lnrpc::{
    FailedUpdate, PolicyUpdateRequest, PolicyUpdateResponse, UpdateFailure,
};

/// The smallest nonzero fee rate, as a fraction (lnd).
const MIN_FEE_RATE: f64 = 1e-6;

const MILLION: f64 = 1_000_000.0;

/// Changes the forwarding policy of one channel or of all channels.
pub(super) fn update(
    context: &Context,
    request: &PolicyUpdateRequest,
) -> Result<PolicyUpdateResponse, Status> {
    let only = match &request.scope {
        Some(Scope::Global(_)) => None,
        Some(Scope::ChanPoint(point)) => Some(channel_point(Some(point))?),
        None => return Err(refused("unknown scope: <nil>")),
    };
    let wanted = read(request)?;
    let failed = context.channels.change_policy(only, &wanted);
    let failed = failed.map_err(|error| refused(error.to_string()))?;
    Ok(PolicyUpdateResponse {
        failed_updates: failed.iter().map(failure).collect(),
    })
}

fn read(request: &PolicyUpdateRequest) -> Result<Change, Status> {
    let inbound = request.inbound_fee.unwrap_or_default();
    if (inbound.base_fee_msat, inbound.fee_rate_ppm) != (0, 0) {
        return Err(unsupported("inbound_fee is not supported: leave it out"));
    }
    // A value below u16's range is reported as too small, not as out of range.
    let delta = u16::try_from(request.time_lock_delta);
    let too_large = |_| {
        let delta = request.time_lock_delta;
        refused(format!("time lock delta of {delta} is too big"))
    };
    Ok(Change {
        base_fee_msat: within(request.base_fee_msat, "base_fee_msat")?,
        fee_rate_ppm: fee_rate_ppm(request)?,
        cltv_delta_blocks: delta.map_err(too_large)?,
        min_htlc_msat: request
            .min_htlc_msat_specified
            .then_some(request.min_htlc_msat),
        max_htlc_msat: (request.max_htlc_msat != 0).then_some(request.max_htlc_msat),
    })
}

/// Returns the fee rate in millionths, from whichever of lnd's two fields is set; 0 if neither is.
fn fee_rate_ppm(request: &PolicyUpdateRequest) -> Result<u32, Status> {
    let rate = request.fee_rate;
    if rate == 0.0 {
        return Ok(request.fee_rate_ppm);
    }
    if request.fee_rate_ppm != 0 {
        return Err(invalid(
            "cannot set both FeeRate and FeeRatePpm at the same time",
        ));
    }
    if rate < MIN_FEE_RATE || rate.is_nan() {
        return Err(refused(format!(
            "fee rate of {rate} is too small, min fee rate is {MIN_FEE_RATE}"
        )));
    }
    let ppm = (rate * MILLION).round();
    if ppm > f64::from(u32::MAX) {
        return Err(invalid(format!("fee_rate is out of range: {rate}")));
    }
    // A whole number within u32's range, as checked above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(ppm as u32)
}

fn failure((point, why): &(OutPoint, PolicyError)) -> FailedUpdate {
    let reason = match why {
        PolicyError::NotFound => UpdateFailure::NotFound,
        PolicyError::Pending => UpdateFailure::Pending,
        PolicyError::Fixed { .. } => UpdateFailure::InvalidParameter,
        PolicyError::Refused(_) => UpdateFailure::InternalErr,
    };
    FailedUpdate {
        outpoint: Some(lnrpc::OutPoint {
            txid_bytes: point.txid.to_byte_array().to_vec(),
            txid_str: point.txid.to_string(),
            output_index: point.vout,
        }),
        reason: reason.into(),
        update_error: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use lnd_api::proto::lnrpc::InboundFee;

    fn request() -> PolicyUpdateRequest {
        PolicyUpdateRequest {
            base_fee_msat: 1_000,
            time_lock_delta: 80,
            ..Default::default()
        }
    }

    #[test]
    fn unset_fields_stay_unchanged() {
        let change = read(&request()).unwrap();
        assert_eq!((change.min_htlc_msat, change.max_htlc_msat), (None, None));
        assert_eq!(change.fee_rate_ppm, 0);
        let request = PolicyUpdateRequest {
            min_htlc_msat_specified: true,
            max_htlc_msat: 5,
            ..request()
        };
        let change = read(&request).unwrap();
        assert_eq!(
            (change.min_htlc_msat, change.max_htlc_msat),
            (Some(0), Some(5))
        );
    }

    #[test]
    fn reads_fee_rate_as_fraction_or_ppm() {
        let rate = |fee_rate, fee_rate_ppm| {
            read(&PolicyUpdateRequest {
                fee_rate,
                fee_rate_ppm,
                ..request()
            })
            .map(|change| change.fee_rate_ppm)
            .map_err(|status| status.code())
        };
        assert_eq!(rate(0.000_003, 0), Ok(3));
        assert_eq!(rate(0.0, 77), Ok(77));
        assert_eq!(rate(0.000_001, 1), Err(Code::InvalidArgument));
        assert_eq!(rate(0.000_000_1, 0), Err(Code::Unknown));
        assert_eq!(rate(-1.0, 0), Err(Code::Unknown));
        assert_eq!(rate(f64::NAN, 0), Err(Code::Unknown));
        assert_eq!(rate(1e9, 0), Err(Code::InvalidArgument));
    }

    #[test]
    fn rejects_malformed_policies() {
        let changes: [fn(&mut PolicyUpdateRequest); 4] = [
            |r| r.base_fee_msat = -1,
            |r| r.base_fee_msat = i64::from(u32::MAX) + 1,
            |r| r.time_lock_delta = 70_000,
            |r| {
                r.inbound_fee = Some(InboundFee {
                    base_fee_msat: -1,
                    fee_rate_ppm: 0,
                });
            },
        ];
        for change in changes {
            let mut request = request();
            change(&mut request);
            assert!(read(&request).is_err(), "{request:?}");
        }
    }
}
