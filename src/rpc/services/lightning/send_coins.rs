//! SendCoins and SendMany: on-chain payments.

use std::sync::Arc;

use bitcoin::{Amount, Transaction, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;
use tonic::Status;

use crate::chain::ChainError;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::on_chain::{check_strategy, coins, fee_rate, label, on_disk, outputs};
use crate::rpc::convert::parse::{min_confs, not_negative};
use crate::wallet::{Outputs, Spend, WalletError};
use lnd_api::proto::lnrpc::{
    SendCoinsRequest, SendCoinsResponse, SendManyRequest, SendManyResponse,
};

/// Pays to one address.
pub(super) async fn send(
    context: Arc<Context>,
    request: SendCoinsRequest,
) -> Result<SendCoinsResponse, Status> {
    check_strategy(request.coin_selection_strategy)?;
    let (target, per_byte) = (request.target_conf, request.sat_per_byte);
    let spend = Spend {
        outputs: one_output(&context, &request)?,
        fee_rate: fee_rate(&context.fees, target, request.sat_per_vbyte, per_byte)?,
        min_confs: min_confs(request.min_confs, request.spend_unconfirmed)?,
        reserve: context.reserve.required(),
        coins: coins(&request.outpoints)?,
    };
    let txid = pay(context, spend, label(&request.label)?).await?;
    Ok(SendCoinsResponse {
        txid: txid.to_string(),
    })
}

/// Pays to several addresses in one transaction.
pub(super) async fn send_many(
    context: Arc<Context>,
    request: SendManyRequest,
) -> Result<SendManyResponse, Status> {
    check_strategy(request.coin_selection_strategy)?;
    let (target, per_byte) = (request.target_conf, request.sat_per_byte);
    let spend = Spend {
        outputs: Outputs::Exactly(outputs(&context.wallet, &request.addr_to_amount)?),
        fee_rate: fee_rate(&context.fees, target, request.sat_per_vbyte, per_byte)?,
        min_confs: min_confs(request.min_confs, request.spend_unconfirmed)?,
        reserve: context.reserve.required(),
        coins: Vec::new(),
    };
    let txid = pay(context, spend, label(&request.label)?).await?;
    Ok(SendManyResponse {
        txid: txid.to_string(),
    })
}

async fn pay(context: Arc<Context>, spend: Spend, label: String) -> Result<Txid, Status> {
    make_and_publish(context, label, move |context| context.wallet.send(&spend)).await
}

/// Creates, signs and broadcasts a transaction. It completes even if the client disconnects: otherwise the
/// wallet would build on a transaction that was never broadcast.
///
/// If bitcoind is unreachable, no transaction is created and no coins are spent.
pub(in crate::rpc) async fn make_and_publish(
    context: Arc<Context>,
    label: String,
    make: impl FnOnce(&Context) -> Result<Transaction, WalletError> + Send + 'static,
) -> Result<Txid, Status> {
    let sent = tokio::spawn(async move {
        let reachable = context.broadcaster.check_reachable().await;
        reachable.map_err(|error| Status::unavailable(format!("nothing was sent: {error}")))?;
        let transaction = make_and_keep(&context, make).await?;
        publish(&context, &transaction, &label).await?;
        Ok(transaction.compute_txid())
    });
    match sent.await {
        Ok(sent) => sent,
        Err(error) => Err(Status::internal(format!("the payment failed: {error}"))),
    }
}

/// Creates a transaction and returns it once it is on disk: a wallet that lost it in a crash would spend
/// its coins again.
async fn make_and_keep(
    context: &Context,
    make: impl FnOnce(&Context) -> Result<Transaction, WalletError>,
) -> Result<Transaction, Status> {
    let mut made = None;
    let kept = on_disk(&context.store, || {
        let transaction = make(context)?;
        made = Some(transaction.compute_txid());
        Ok(transaction)
    });
    let kept = kept.await;
    if let (Err(_), Some(txid)) = (&kept, made) {
        free_coins(context, txid);
    }
    kept
}

fn free_coins(context: &Context, txid: Txid) {
    if let Err(kept) = context.wallet.cancel(txid) {
        tracing::error!(%txid, %kept, "cannot release the coins of an unsent payment");
    }
}

async fn publish(context: &Context, transaction: &Transaction, label: &str) -> Result<(), Status> {
    let txid = transaction.compute_txid();
    let published = context
        .broadcaster
        .publish(std::slice::from_ref(transaction));
    let answer = match published.await {
        Ok(()) => Ok(()),
        Err(error) if error.is_refusal() => {
            free_coins(context, txid);
            return Err(error.into());
        }
        Err(error) => {
            // bitcoind was reachable before and may or may not have the transaction. Releasing its coins
            // could make the client pay twice, so the payment stands.
            tracing::warn!(%txid, %error, "cannot reach bitcoind; the payment will be rebroadcast");
            context.broadcaster.broadcast_transactions(&[transaction]);
            Err(publish_unknown(txid, &error))
        }
    };
    // The transaction was just created, so the label can only be lost along with it.
    if let Err(error) = context.wallet.label(txid, label, true) {
        tracing::warn!(%txid, %error, "cannot label the payment");
    }
    answer
}

fn publish_unknown(txid: Txid, error: &ChainError) -> Status {
    Status::unavailable(format!(
        "transaction {txid} may have been sent and will be rebroadcast until it confirms: check the \
         wallet's transactions before you pay again ({error})"
    ))
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
