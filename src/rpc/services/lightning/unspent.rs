//! ListUnspent: the wallet's spendable outputs.

use tonic::Status;

use crate::rpc::convert::on_chain::{check_account, confirmations, outpoint_message};
use crate::rpc::{Context, signed};
use crate::wallet::Coin;
use lnd_api::proto::lnrpc::{AddressType, ListUnspentRequest, ListUnspentResponse, Utxo};

/// Lists the unleased outputs with a number of confirmations in the requested range.
pub(super) fn list(
    context: &Context,
    request: &ListUnspentRequest,
) -> Result<ListUnspentResponse, Status> {
    let (least, most) = (request.min_confs, request.max_confs);
    let utxos = between(context, least, most, &request.account)?;
    Ok(ListUnspentResponse { utxos })
}

/// Lists them for both services that have the call.
pub(in crate::rpc) fn between(
    context: &Context,
    min_confs: i32,
    max_confs: i32,
    account: &str,
) -> Result<Vec<Utxo>, Status> {
    check_account(account)?;
    let (least, most) = confirmations(min_confs, max_confs)?;
    let coins = context.wallet.list_utxos(least).into_iter();
    let coins = coins.filter(|coin| coin.confirmations <= most);
    Ok(coins.map(|coin| utxo(&coin)).collect())
}

fn utxo(coin: &Coin) -> Utxo {
    Utxo {
        address_type: AddressType::WitnessPubkeyHash.into(),
        address: coin.address.to_string(),
        amount_sat: signed(coin.amount.to_sat()),
        pk_script: coin.address.script_pubkey().to_hex_string(),
        outpoint: Some(outpoint_message(coin.outpoint)),
        confirmations: i64::from(coin.confirmations),
    }
}
