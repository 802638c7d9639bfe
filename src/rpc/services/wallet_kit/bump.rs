//! BumpFee: raises the fee of an unconfirmed payment (RBF) or cooperative close (CPFP).

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, Transaction, Txid};
use tonic::Status;

use crate::chain::FeeEstimates;
use crate::channels::closed::ClosedChannel;
use crate::rpc::Context;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::on_chain::{label, outpoint};
use crate::rpc::convert::parse::per_kw;
use crate::rpc::services::lightning::send_coins::make_and_publish;
use crate::wallet::{Bump, Child};
use lnd_api::proto::walletrpc::{BumpFeeRequest, BumpFeeResponse};

/// Replaces the payment with this output, or spends the closing transaction with it by a child (CPFP).
pub(super) async fn bump(
    context: Arc<Context>,
    request: &BumpFeeRequest,
) -> Result<BumpFeeResponse, Status> {
    let fee_rate = fee_rate(&context.fees, request)?;
    let txid = outpoint(request.outpoint.as_ref())?.txid;
    let most = (request.budget > 0).then(|| Amount::from_sat(request.budget));
    if let Some(closing) = closing(&context, txid)? {
        let child = make_and_publish(context, String::new(), move |context| {
            context.wallet.pay_for(&Child {
                parent: &closing.transaction,
                parent_fee: closing.fee,
                fee_rate,
                most,
            })
        });
        return Ok(BumpFeeResponse {
            status: format!("Successfully bumped {txid} with child {}", child.await?),
        });
    }
    let label = label_of(&context, txid)?;
    let bump = Bump {
        txid,
        fee_rate,
        most,
        reserve: context.reserve.required(),
    };
    let replacement =
        make_and_publish(context, label, move |context| context.wallet.bump(&bump)).await?;
    Ok(BumpFeeResponse {
        status: format!("Successfully replaced {txid} with {replacement}"),
    })
}

/// An unconfirmed cooperative closing transaction.
struct Closing {
    transaction: Transaction,
    fee: Amount,
}

/// Returns the unconfirmed cooperative close with this id, if there is one.
fn closing(context: &Context, txid: Txid) -> Result<Option<Closing>, Status> {
    let mut waiting = context.spends.unconfirmed_closes().into_iter();
    let Some(transaction) = waiting.find(|one| one.compute_txid() == txid) else {
        return Ok(None);
    };
    let records: Vec<ClosedChannel> = context.store.closed_channels()?;
    let spends = |record: &&ClosedChannel| {
        let mut inputs = transaction.input.iter();
        inputs.any(|input| input.previous_output == record.channel_point)
    };
    let record = records.iter().find(spends);
    let capacity = record.map(|record| Amount::from_sat(record.capacity_sat));
    let paid: Amount = transaction.output.iter().map(|output| output.value).sum();
    let fee = capacity.and_then(|capacity| capacity.checked_sub(paid));
    let unknown = || Status::internal(format!("no channel record for closing transaction {txid}"));
    Ok(Some(Closing {
        fee: fee.ok_or_else(unknown)?,
        transaction,
    }))
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
