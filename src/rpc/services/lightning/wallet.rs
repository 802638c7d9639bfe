//! WalletBalance and NewAddress.

use std::collections::BTreeMap;

use bitcoin::Amount;
use tonic::Status;

use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::on_chain::{ACCOUNT, check_account};
use crate::rpc::convert::parse::min_confs;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc::{
    AddressType, NewAddressRequest, NewAddressResponse, WalletAccountBalance, WalletBalanceRequest,
    WalletBalanceResponse,
};

/// Returns the wallet's balance, confirmed and unconfirmed.
pub(super) fn balance(
    context: &Context,
    request: &WalletBalanceRequest,
) -> Result<WalletBalanceResponse, Status> {
    check_account(&request.account)?;
    let least = min_confs(request.min_confs, false)?;
    let sums = context.wallet.balance();
    let all = sums.confirmed.checked_add(sums.unconfirmed);
    let all = all.unwrap_or(Amount::MAX_MONEY);
    let confirmed = match least {
        1 => sums.confirmed,
        least => context
            .wallet
            .list_utxos(least)
            .iter()
            .map(|coin| coin.amount)
            .sum(),
    };
    let sat = |amount: Amount| signed(amount.to_sat());
    let unconfirmed = all.checked_sub(confirmed).unwrap_or(Amount::ZERO);
    let account = WalletAccountBalance {
        confirmed_balance: sat(confirmed),
        unconfirmed_balance: sat(unconfirmed),
    };
    Ok(WalletBalanceResponse {
        total_balance: sat(all),
        confirmed_balance: sat(confirmed),
        unconfirmed_balance: sat(unconfirmed),
        locked_balance: sat(sums.locked),
        reserved_balance_anchor_chan: sat(context.channels.reserve().required()),
        account_balance: BTreeMap::from([(ACCOUNT.to_owned(), account)]),
    })
}

/// Returns a receiving address once it is recorded on disk, so that none is handed out again after a crash.
pub(super) async fn new_address(
    context: &Context,
    request: &NewAddressRequest,
) -> Result<NewAddressResponse, Status> {
    check_account(&request.account)?;
    let kind = address_type(request.r#type)?;
    let address = context.funds.save(|wallet| match kind {
        AddressType::UnusedWitnessPubkeyHash => wallet.unused_address(),
        _ => wallet.new_address(),
    });
    let address = address.await?;
    Ok(NewAddressResponse {
        address: address.to_string(),
    })
}

/// Parses an address type, refusing those that the wallet does not support.
fn address_type(number: i32) -> Result<AddressType, Status> {
    match AddressType::try_from(number) {
        Ok(kind @ (AddressType::WitnessPubkeyHash | AddressType::UnusedWitnessPubkeyHash)) => {
            Ok(kind)
        }
        Ok(other) => Err(unsupported(format!(
            "addresses of type {} are not supported: use WITNESS_PUBKEY_HASH (p2wkh)",
            other.as_str_name()
        ))),
        Err(_) => Err(refused(format!("unknown address type: {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn supports_only_p2wkh_addresses() {
        assert_eq!(address_type(0).unwrap(), AddressType::WitnessPubkeyHash);
        assert_eq!(
            address_type(2).unwrap(),
            AddressType::UnusedWitnessPubkeyHash
        );
        for number in [1, 3, 4, 5] {
            assert_eq!(
                address_type(number).unwrap_err().code(),
                Code::Unimplemented
            );
        }
        assert_eq!(address_type(-1).unwrap_err().code(), Code::Unknown);
    }
}
