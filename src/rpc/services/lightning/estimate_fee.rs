//! EstimateFee: the fee of an on-chain payment.

use bitcoin::{Amount, FeeRate};
use tonic::Status;

use crate::rpc::convert::errors::refused;
use crate::rpc::convert::on_chain::{check_strategy, coins, outpoint_message, outputs};
use crate::rpc::convert::parse::{min_confs, within};
use crate::rpc::{Context, signed};
use crate::wallet::{Outputs, Spend};
use lnd_api::proto::lnrpc::{EstimateFeeRequest, EstimateFeeResponse};

/// The sat per 1000 weight units in one sat per virtual byte.
const KW_PER_VBYTE: u64 = 250;

/// Estimates a payment's fee without making it. As in lnd, the anchor reserve is not considered.
pub(super) fn estimate(
    context: &Context,
    request: &EstimateFeeRequest,
) -> Result<EstimateFeeResponse, Status> {
    check_strategy(request.coin_selection_strategy)?;
    let fee_rate = match within(request.target_conf, "target_conf")? {
        0 => return Err(refused("no fee preference specified")),
        blocks => FeeRate::from_sat_per_kwu(context.fees.sat_per_kw(blocks).into()),
    };
    let estimate = context.wallet.estimate(&Spend {
        outputs: Outputs::Exactly(outputs(&context.wallet, &request.addr_to_amount)?),
        fee_rate,
        min_confs: min_confs(request.min_confs, request.spend_unconfirmed)?,
        reserve: Amount::ZERO,
        coins: coins(&request.inputs)?,
    })?;
    let sat_per_vbyte = fee_rate.to_sat_per_kwu() / KW_PER_VBYTE;
    let inputs = estimate.coins.into_iter().map(outpoint_message);
    Ok(EstimateFeeResponse {
        fee_sat: signed(estimate.fee.to_sat()),
        feerate_sat_per_byte: signed(sat_per_vbyte),
        sat_per_vbyte,
        // lnd sets only the text form of the id.
        inputs: inputs
            .map(|mut input| {
                input.txid_bytes.clear();
                input
            })
            .collect(),
    })
}
