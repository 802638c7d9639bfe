//! GetTransaction, PublishTransaction, LabelTransaction, EstimateFee.

use std::sync::Arc;

use bitcoin::Transaction;
use bitcoin::consensus::encode::deserialize;
use tonic::Status;

use crate::chain::FeeEstimates;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::on_chain::{self, txid, txid_hex};
use crate::rpc::services::lightning::transactions::message;
use lnd_api::proto::lnrpc;
use lnd_api::proto::walletrpc::{
    self, EstimateFeeRequest, EstimateFeeResponse, GetTransactionRequest, LabelTransactionRequest,
    LabelTransactionResponse, PublishResponse,
};

/// Returns one of the wallet's transactions.
pub(super) fn get(
    context: &Context,
    request: &GetTransactionRequest,
) -> Result<lnrpc::Transaction, Status> {
    if request.txid.is_empty() {
        return Err(refused("must provide a transaction hash"));
    }
    let found = context.wallet.transaction(txid_hex(&request.txid)?);
    let found = found.ok_or_else(|| refused("can not find transaction"))?;
    Ok(message(&found, context.node.network))
}

/// Broadcasts a transaction. One that involves the wallet is added to it and rebroadcast until it confirms.
pub(super) async fn publish(
    context: Arc<Context>,
    request: &walletrpc::Transaction,
) -> Result<PublishResponse, Status> {
    let transaction = transaction(&request.tx_hex)?;
    let label = on_chain::label(&request.label)?;
    // The wallet must record what was broadcast even if the client disconnects.
    let sent = tokio::spawn(async move {
        context.funds.publish(&transaction, &label).await?;
        Ok(PublishResponse::default())
    });
    match sent.await {
        Ok(sent) => sent,
        Err(error) => Err(Status::internal(format!("the call failed: {error}"))),
    }
}

fn transaction(bytes: &[u8]) -> Result<Transaction, Status> {
    if bytes.is_empty() {
        return Err(refused("must provide a transaction to publish"));
    }
    deserialize(bytes).map_err(|error| refused(format!("invalid transaction: {error}")))
}

/// Labels a transaction; returns once the label is on disk.
pub(super) async fn label(
    context: &Context,
    request: &LabelTransactionRequest,
) -> Result<LabelTransactionResponse, Status> {
    if request.label.is_empty() {
        return Err(refused("cannot label transaction with empty label"));
    }
    let label = on_chain::label(&request.label)?;
    let txid = txid(&request.txid)?;
    let noted = context
        .funds
        .save(|wallet| wallet.label(txid, &label, request.overwrite));
    noted.await?;
    Ok(LabelTransactionResponse {
        status: format!("transaction label '{label}' added"),
    })
}

/// Estimates the fee rate for a confirmation target.
pub(super) fn estimate_fee(
    fees: &FeeEstimates,
    request: &EstimateFeeRequest,
) -> Result<EstimateFeeResponse, Status> {
    let blocks = u32::try_from(request.conf_target).ok();
    let blocks = blocks
        .filter(|blocks| *blocks > 0)
        .ok_or_else(|| refused("confirmation target must be greater than 0"))?;
    Ok(EstimateFeeResponse {
        sat_per_kw: fees.sat_per_kw(blocks).into(),
        min_relay_fee_sat_per_kw: fees.mempool_min_sat_per_kw().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmation_target_must_be_positive() {
        let fees = FeeEstimates::default();
        let rate = |conf_target| estimate_fee(&fees, &EstimateFeeRequest { conf_target });
        assert_eq!(rate(6).unwrap().sat_per_kw, i64::from(fees.sat_per_kw(6)));
        assert_eq!(rate(6).unwrap().min_relay_fee_sat_per_kw, 253);
        for wrong in [0, -1, i32::MIN] {
            let error = rate(wrong).unwrap_err();
            assert_eq!(
                error.message(),
                "confirmation target must be greater than 0"
            );
        }
    }

    #[test]
    fn rejects_malformed_transactions() {
        assert_eq!(
            transaction(&[]).unwrap_err().message(),
            "must provide a transaction to publish"
        );
        for bytes in [vec![0], vec![0xff; 100]] {
            assert!(transaction(&bytes).is_err());
        }
    }
}
