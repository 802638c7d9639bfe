//! BumpFee: raises the fee of an unconfirmed payment (RBF) or cooperative close (CPFP).

use bitcoin::{Amount, FeeRate, Txid};
use tonic::Status;

use crate::chain::FeeEstimates;
use crate::rpc::Context;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::on_chain::{label, outpoint};
use crate::rpc::convert::parse::per_kw;
use crate::wallet::{Bump, Child};
use lnd_api::proto::walletrpc::{BumpFeeRequest, BumpFeeResponse};

/// Replaces the payment with this output, or spends the closing transaction with it by a child (CPFP).
pub(super) async fn bump(
    context: &Context,
    request: &BumpFeeRequest,
) -> Result<BumpFeeResponse, Status> {
    let fee_rate = fee_rate(&context.fees, request)?;
    let txid = outpoint(request.outpoint.as_ref())?.txid;
    let most = (request.budget > 0).then(|| Amount::from_sat(request.budget));
    if let Some(closing) = context.channels.unconfirmed_close(txid)? {
        let unknown =
            || Status::internal(format!("no channel record for closing transaction {txid}"));
        let parent_fee = closing.fee.ok_or_else(unknown)?;
        let child = context.funds.send(String::new(), move |wallet| {
            wallet.pay_for(&Child {
                parent: &closing.transaction,
                parent_fee,
                fee_rate,
                most,
            })
        });
        return Ok(BumpFeeResponse {
            status: format!("Successfully bumped {txid} with child {}", child.await?),
        });
    }
    let label = label_of(context, txid)?;
    let bump = Bump {
        txid,
        fee_rate,
        most,
        reserve: context.channels.reserve().required(),
    };
    let replacement = context.funds.send(label, move |wallet| wallet.bump(&bump));
    let replacement = replacement.await?;
    Ok(BumpFeeResponse {
        status: format!("Successfully replaced {txid} with {replacement}"),
    })
}

/// Returns the payment's label, which its replacement keeps.
fn label_of(context: &Context, txid: Txid) -> Result<String, Status> {
    let known = context.wallet.transaction(txid);
    label(&known.map(|known| known.label).unwrap_or_default())
}

fn fee_rate(fees: &FeeEstimates, request: &BumpFeeRequest) -> Result<FeeRate, Status> {
    if request.deadline_delta != 0 {
        return Err(unsupported(
            "deadline_delta is not supported: ampd bumps once, immediately",
        ));
    }
    if request.force && request.immediate {
        return Err(refused(
            "either Force or Immediate should be set, but not both",
        ));
    }
    let sat_per_kw = match (request.sat_per_byte, request.sat_per_vbyte) {
        (0, 0) => from_target(fees, request.target_conf)?,
        _ if request.target_conf != 0 => {
            return Err(refused(
                "either TargetConf or SatPerVbyte should be set, but not both",
            ));
        }
        (0, rate) => per_kw(rate)?,
        (rate, 0) => per_kw(rate.into())?,
        _ => {
            return Err(refused(
                "either SatPerByte or SatPerVbyte should be set, but not both",
            ));
        }
    };
    Ok(FeeRate::from_sat_per_kwu(sat_per_kw))
}

fn from_target(fees: &FeeEstimates, blocks: u32) -> Result<u64, Status> {
    match blocks {
        0 => Err(refused(
            "no fee specified: set target_conf or sat_per_vbyte",
        )),
        blocks => Ok(fees.sat_per_kw(blocks).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_exactly_one_fee_field() {
        let fees = FeeEstimates::default();
        let rate = |target_conf, sat_per_byte, sat_per_vbyte| {
            let request = BumpFeeRequest {
                target_conf,
                sat_per_byte,
                sat_per_vbyte,
                ..Default::default()
            };
            fee_rate(&fees, &request).map(FeeRate::to_sat_per_kwu)
        };
        assert_eq!(rate(0, 0, 4).unwrap(), 1000);
        assert_eq!(rate(0, 4, 0).unwrap(), 1000);
        assert_eq!(rate(6, 0, 0).unwrap(), u64::from(fees.sat_per_kw(6)));
        for (target, per_byte, per_vbyte) in [(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)] {
            assert!(rate(target, per_byte, per_vbyte).is_err());
        }
        assert!(rate(0, 0, u64::MAX).is_err());
    }

    #[test]
    fn rejects_unsupported_sweeper_options() {
        let fees = FeeEstimates::default();
        let request = BumpFeeRequest {
            sat_per_vbyte: 5,
            deadline_delta: 6,
            budget: 1000,
            ..Default::default()
        };
        let error = fee_rate(&fees, &request).unwrap_err();
        assert_eq!(error.code(), tonic::Code::Unimplemented);
    }
}
