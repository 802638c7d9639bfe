//! FundPsbt, SignPsbt, FinalizePsbt.

use bitcoin::consensus::encode::serialize;
use bitcoin::{FeeRate, Psbt};
use tonic::Status;

use super::leases::{message, seconds};
use crate::chain::FeeEstimates;
use crate::rpc::Context;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::on_chain::{check_account, check_strategy, coins, outputs};
use crate::rpc::convert::parse::{min_confs, per_kw};
use crate::wallet::{Outputs, PsbtOrder, Spend};
use lnd_api::layout::lnd_lease_id;
use lnd_api::proto::walletrpc::fund_psbt_request::{Fees, Template};
use lnd_api::proto::walletrpc::{
    FinalizePsbtRequest, FinalizePsbtResponse, FundPsbtRequest, FundPsbtResponse, SignPsbtRequest,
    SignPsbtResponse,
};

/// Selects coins for a PSBT; returns once their leases are on disk.
pub(super) async fn fund(
    context: &Context,
    request: FundPsbtRequest,
) -> Result<FundPsbtResponse, Status> {
    check_account(&request.account)?;
    check_strategy(request.coin_selection_strategy)?;
    if request.change_type != 0 {
        return Err(unsupported(
            "change of type p2tr is not supported: the wallet's change addresses are p2wkh",
        ));
    }
    let order = order(context, request)?;
    let funded = context.funds.save(|wallet| wallet.fund_psbt(&order));
    let funded = funded.await?;
    let change = funded.change.and_then(|index| i32::try_from(index).ok());
    Ok(FundPsbtResponse {
        funded_psbt: funded.psbt.serialize(),
        change_output_index: change.unwrap_or(-1),
        locked_utxos: funded.leases.iter().map(message).collect(),
    })
}

fn order(context: &Context, request: FundPsbtRequest) -> Result<PsbtOrder, Status> {
    let fee_rate = fee_rate(&context.fees, request.fees.as_ref())?;
    let min_confs = min_confs(request.min_confs, request.spend_unconfirmed)?;
    let lease_id = lease_id(&request.custom_lock_id)?;
    let (outputs, coins, template) = match request.template {
        Some(Template::Raw(raw)) => {
            let outputs = outputs(&context.wallet, &raw.outputs)?;
            (outputs, coins(&raw.inputs)?, None)
        }
        Some(Template::Psbt(bytes)) => {
            let psbt =
                parse(&bytes).map_err(|error| refused(format!("could not parse {error}")))?;
            let inputs = psbt.unsigned_tx.input.iter();
            let coins = inputs.map(|input| input.previous_output).collect();
            (psbt.unsigned_tx.output.clone(), coins, Some(psbt))
        }
        Some(Template::CoinSelect(_)) => {
            return Err(unsupported(
                "coin_select is not supported: use psbt or raw, with all inputs or none",
            ));
        }
        None => {
            return Err(refused(
                "transaction template missing, need to specify either PSBT or raw TX template",
            ));
        }
    };
    Ok(PsbtOrder {
        spend: Spend {
            outputs: Outputs::Exactly(outputs),
            fee_rate,
            min_confs,
            reserve: context.channels.reserve().required(),
            coins,
        },
        template,
        lease_id,
        lease_seconds: seconds(request.lock_expiration_seconds),
    })
}

fn fee_rate(estimates: &FeeEstimates, fees: Option<&Fees>) -> Result<FeeRate, Status> {
    let sat_per_kw = match fees {
        Some(Fees::TargetConf(blocks)) if *blocks > 0 => estimates.sat_per_kw(*blocks).into(),
        Some(Fees::SatPerVbyte(rate)) if *rate > 0 => per_kw(*rate)?,
        Some(Fees::SatPerKw(rate)) if *rate > 0 => *rate,
        _ => {
            return Err(refused(
                "fee definition missing, need to specify either target_conf, sat_per_vbyte or \
                 sat_per_kw",
            ));
        }
    };
    Ok(FeeRate::from_sat_per_kwu(sat_per_kw))
}

fn lease_id(given: &[u8]) -> Result<[u8; 32], Status> {
    if given.is_empty() {
        return Ok(lnd_lease_id());
    }
    given
        .try_into()
        .map_err(|_| refused("custom lock ID must be exactly 32 bytes"))
}

/// Signs our inputs.
pub(super) fn sign(
    context: &Context,
    request: &SignPsbtRequest,
) -> Result<SignPsbtResponse, Status> {
    let mut psbt = parse_funded(&request.funded_psbt)?;
    let mut inputs = psbt.inputs.iter();
    let lacks = |input: &bitcoin::psbt::Input| {
        input.witness_utxo.is_none() && input.non_witness_utxo.is_none()
    };
    if let Some(index) = inputs.position(lacks) {
        return Err(refused(format!(
            "input (index={index}) doesn't specify any UTXO info"
        )));
    }
    let signed = context.wallet.sign_psbt_inputs(&mut psbt)?;
    let signed = signed
        .into_iter()
        .filter_map(|index| u32::try_from(index).ok());
    Ok(SignPsbtResponse {
        signed_psbt: psbt.serialize(),
        signed_inputs: signed.collect(),
    })
}

/// Signs our inputs and finalizes the PSBT.
pub(super) fn finalize(
    context: &Context,
    request: &FinalizePsbtRequest,
) -> Result<FinalizePsbtResponse, Status> {
    check_account(&request.account)?;
    let mut psbt = parse_funded(&request.funded_psbt)?;
    if is_complete(&psbt) {
        return Err(refused("PSBT is already fully signed"));
    }
    let transaction = context.wallet.finalize_psbt(&mut psbt);
    let transaction =
        transaction.map_err(|error| refused(format!("error finalizing PSBT: {error}")))?;
    Ok(FinalizePsbtResponse {
        signed_psbt: psbt.serialize(),
        raw_final_tx: serialize(&transaction),
    })
}

fn is_complete(psbt: &Psbt) -> bool {
    let mut inputs = psbt.inputs.iter();
    inputs.all(|input| input.final_script_sig.is_some() || input.final_script_witness.is_some())
}

fn parse_funded(bytes: &[u8]) -> Result<Psbt, Status> {
    parse(bytes).map_err(|error| refused(format!("error parsing {error}")))
}

fn parse(bytes: &[u8]) -> Result<Psbt, String> {
    Psbt::deserialize(bytes).map_err(|error| format!("PSBT: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_a_fee() {
        let fees = FeeEstimates::default();
        let rate = |given| fee_rate(&fees, given).map(FeeRate::to_sat_per_kwu);
        assert_eq!(rate(Some(&Fees::SatPerVbyte(2))).unwrap(), 500);
        assert_eq!(rate(Some(&Fees::SatPerKw(777))).unwrap(), 777);
        let target = u64::from(fees.sat_per_kw(6));
        assert_eq!(rate(Some(&Fees::TargetConf(6))).unwrap(), target);
        for none in [None, Some(&Fees::SatPerKw(0)), Some(&Fees::TargetConf(0))] {
            let error = rate(none).unwrap_err();
            assert!(error.message().starts_with("fee definition missing"));
        }
        assert!(rate(Some(&Fees::SatPerVbyte(u64::MAX))).is_err());
    }

    #[test]
    fn rejects_malformed_psbts() {
        for bytes in [&[][..], &[1, 2, 3], b"psbt\xff"] {
            let error = parse_funded(bytes).unwrap_err();
            assert!(error.message().starts_with("error parsing PSBT: "));
        }
    }

    #[test]
    fn leases_use_lnds_id_or_the_clients() {
        assert_eq!(lease_id(&[]).unwrap(), lnd_lease_id());
        assert_eq!(lease_id(&[5; 32]).unwrap(), [5; 32]);
        assert!(lease_id(&[5; 31]).is_err());
    }
}
