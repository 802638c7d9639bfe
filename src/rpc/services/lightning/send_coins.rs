//! SendCoins and SendMany: on-chain payments.

use bitcoin::Amount;
use tonic::Status;

use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::on_chain::{check_strategy, coins, fee_rate, label, outputs};
use crate::rpc::convert::parse::{min_confs, not_negative};
use crate::wallet::{Outputs, Spend};
use lnd_api::proto::lnrpc::{
    SendCoinsRequest, SendCoinsResponse, SendManyRequest, SendManyResponse,
};

/// Pays to one address.
pub(super) async fn send(
    context: &Context,
    request: &SendCoinsRequest,
) -> Result<SendCoinsResponse, Status> {
    check_strategy(request.coin_selection_strategy)?;
    let (target, per_byte) = (request.target_conf, request.sat_per_byte);
    let spend = Spend {
        outputs: one_output(context, request)?,
        fee_rate: fee_rate(&context.fees, target, request.sat_per_vbyte, per_byte)?,
        min_confs: min_confs(request.min_confs, request.spend_unconfirmed)?,
        reserve: context.channels.reserve().required(),
        coins: coins(&request.outpoints)?,
    };
    let sent = context
        .funds
        .send(label(&request.label)?, move |wallet| wallet.send(&spend));
    let txid = sent.await?;
    Ok(SendCoinsResponse {
        txid: txid.to_string(),
    })
}

/// Pays to several addresses in one transaction.
pub(super) async fn send_many(
    context: &Context,
    request: &SendManyRequest,
) -> Result<SendManyResponse, Status> {
    check_strategy(request.coin_selection_strategy)?;
    let (target, per_byte) = (request.target_conf, request.sat_per_byte);
    let spend = Spend {
        outputs: Outputs::Exactly(outputs(&context.wallet, &request.addr_to_amount)?),
        fee_rate: fee_rate(&context.fees, target, request.sat_per_vbyte, per_byte)?,
        min_confs: min_confs(request.min_confs, request.spend_unconfirmed)?,
        reserve: context.channels.reserve().required(),
        coins: Vec::new(),
    };
    let sent = context
        .funds
        .send(label(&request.label)?, move |wallet| wallet.send(&spend));
    let txid = sent.await?;
    Ok(SendManyResponse {
        txid: txid.to_string(),
    })
}

fn one_output(context: &Context, request: &SendCoinsRequest) -> Result<Outputs, Status> {
    let to = context.wallet.parse_address(&request.addr)?.script_pubkey();
    Ok(match amount(request)? {
        Some(amount) => Outputs::one(to, amount),
        None => Outputs::All(to),
    })
}

/// Returns the amount to send; `None` sends everything.
fn amount(request: &SendCoinsRequest) -> Result<Option<Amount>, Status> {
    match (request.send_all, request.amount) {
        (true, 0) => Ok(None),
        (true, _) => Err(refused("amount set while SendAll is active")),
        (false, sat) => not_negative(sat, "amount").map(|sat| Some(Amount::from_sat(sat))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_send_all_or_an_amount() {
        let request = |send_all, amount| SendCoinsRequest {
            send_all,
            amount,
            ..Default::default()
        };
        let exactly = Some(Amount::from_sat(1000));
        assert_eq!(amount(&request(false, 1000)).unwrap(), exactly);
        assert_eq!(amount(&request(true, 0)).unwrap(), None);
        assert!(amount(&request(true, 1)).is_err());
        assert!(amount(&request(false, -1)).is_err());
    }
}
