//! NextAddr, ListAccounts, ListAddresses, RequiredReserve.

use bitcoin::bip32::Xpub;
use bitcoin::{NetworkKind, base58};
use tonic::Status;

use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::on_chain::{ACCOUNT, check_account};
use crate::rpc::{Context, signed};
use crate::wallet::OwnAddress;
use lnd_api::proto::walletrpc::{
    Account, AccountWithAddresses, AddrRequest, AddrResponse, AddressProperty, AddressType,
    ListAccountsRequest, ListAccountsResponse, ListAddressesRequest, ListAddressesResponse,
    RequiredReserveRequest, RequiredReserveResponse,
};

/// Returns a new address once its index is on disk.
pub(super) async fn next_address(
    context: &Context,
    request: &AddrRequest,
) -> Result<AddrResponse, Status> {
    check_account(&request.account)?;
    match address_type(request.r#type)? {
        AddressType::Unknown | AddressType::WitnessPubkeyHash => {}
        other => {
            return Err(unsupported(format!(
                "addresses of type {} are not supported: use WITNESS_PUBKEY_HASH (p2wkh)",
                other.as_str_name()
            )));
        }
    }
    let address = context.funds.save(|wallet| match request.change {
        true => wallet.new_change_address(),
        false => wallet.new_address(),
    });
    let address = address.await?;
    Ok(AddrResponse {
        addr: address.to_string(),
    })
}

/// Lists the wallet's account, or none if another address type is requested.
pub(super) fn list(
    context: &Context,
    request: &ListAccountsRequest,
) -> Result<ListAccountsResponse, Status> {
    check_account(&request.name)?;
    let accounts = match address_type(request.address_type)? {
        AddressType::Unknown | AddressType::WitnessPubkeyHash => vec![account(context)],
        _ => Vec::new(),
    };
    Ok(ListAccountsResponse { accounts })
}

fn account(context: &Context) -> Account {
    let account = context.wallet.account();
    Account {
        name: ACCOUNT.to_owned(),
        address_type: AddressType::WitnessPubkeyHash.into(),
        extended_public_key: slip_132(&account.public_key),
        master_key_fingerprint: account.fingerprint.to_bytes().to_vec(),
        derivation_path: account.path,
        external_key_count: account.external_keys,
        internal_key_count: account.internal_keys,
        watch_only: false,
    }
}

/// Encodes a BIP 84 key as wallets do: `zpub`, or `vpub` on test networks (SLIP 132).
fn slip_132(key: &Xpub) -> String {
    let version = match key.network {
        NetworkKind::Main => [0x04, 0xb2, 0x47, 0x46],
        NetworkKind::Test => [0x04, 0x5f, 0x1c, 0xf6],
    };
    let mut bytes = key.encode();
    bytes[..4].copy_from_slice(&version);
    base58::encode_check(&bytes)
}

/// Lists all addresses of the account.
pub(super) fn addresses(
    context: &Context,
    request: &ListAddressesRequest,
) -> Result<ListAddressesResponse, Status> {
    check_account(&request.account_name)?;
    let addresses = context.wallet.addresses()?.into_iter().map(property);
    let account = AccountWithAddresses {
        name: ACCOUNT.to_owned(),
        address_type: AddressType::WitnessPubkeyHash.into(),
        derivation_path: context.wallet.account().path,
        addresses: addresses.collect(),
    };
    Ok(ListAddressesResponse {
        account_with_addresses: vec![account],
    })
}

fn property(own: OwnAddress) -> AddressProperty {
    AddressProperty {
        address: own.address.to_string(),
        is_internal: own.is_change,
        balance: signed(own.balance.to_sat()),
        derivation_path: own.path,
        public_key: own.public_key.serialize().to_vec(),
    }
}

/// Returns the anchor reserve required with the additional channels.
pub(super) fn reserve(
    context: &Context,
    request: &RequiredReserveRequest,
) -> RequiredReserveResponse {
    let more = usize::try_from(request.additional_public_channels).unwrap_or(usize::MAX);
    RequiredReserveResponse {
        required_reserve: signed(context.channels.reserve().required_with(more).to_sat()),
    }
}

fn address_type(number: i32) -> Result<AddressType, Status> {
    AddressType::try_from(number).map_err(|_| refused(format!("unhandled address type {number}")))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn account_key_matches_bip_84_test_vector() {
        // BIP 84's test vector, and the same key with the version bytes of BIP 32.
        let zpub = "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG8\
                    68RvUUkgDKf31mGDtKsAYz2oz2AGutZYs";
        let mut bytes = base58::decode_check(zpub).unwrap();
        bytes[..4].copy_from_slice(&[0x04, 0x88, 0xb2, 0x1e]);
        let xpub = Xpub::from_str(&base58::encode_check(&bytes)).unwrap();
        assert_eq!(slip_132(&xpub), zpub);
    }

    #[test]
    fn address_types_have_lnds_numbers() {
        assert_eq!(address_type(1).unwrap(), AddressType::WitnessPubkeyHash);
        assert!(address_type(5).is_err() && address_type(-1).is_err());
    }
}
