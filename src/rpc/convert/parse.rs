//! Parses and validates request fields: amounts, keys, hashes, channel points.

use std::str::FromStr;

use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint, Txid};
use tonic::Status;

use crate::rpc::convert::errors::{invalid, refused};
use lnd_api::proto::lnrpc::ChannelPoint;
use lnd_api::proto::lnrpc::channel_point::FundingTxid;

/// One sat per virtual byte in sat per 1000 weight units.
pub(in crate::rpc) const KW_PER_VBYTE: u64 = 250;

/// Returns the amount in msat, given in either sat or msat but not both; 0 if neither is set.
pub(in crate::rpc) fn amount_msat(sat: i64, msat: i64) -> Result<u64, Status> {
    if sat != 0 && msat != 0 {
        return Err(refused("sat and msat arguments are mutually exclusive"));
    }
    let negative = |_| refused("amount cannot be negative");
    let sat = u64::try_from(sat).map_err(negative)?;
    let msat = u64::try_from(msat).map_err(negative)?;
    let in_msat = sat.checked_mul(1000);
    let in_msat = in_msat.ok_or_else(|| invalid(format!("amount of {sat} sat is too large")))?;
    Ok(in_msat.max(msat))
}

/// Converts the value of `field`, which must not be negative.
pub(in crate::rpc) fn not_negative<T>(value: T, field: &str) -> Result<u64, Status>
where
    T: Copy + std::fmt::Display + TryInto<u64>,
{
    value
        .try_into()
        .map_err(|_| invalid(format!("{field} must not be negative, is {value}")))
}

/// Converts the value of `field` to a type with a smaller range.
pub(in crate::rpc) fn within<T, U>(value: T, field: &str) -> Result<U, Status>
where
    T: Copy + std::fmt::Display + TryInto<U>,
{
    value
        .try_into()
        .map_err(|_| invalid(format!("{field} is out of range: {value}")))
}

/// Parses a compressed public key of 33 bytes.
pub(in crate::rpc) fn public_key(bytes: &[u8]) -> Result<PublicKey, Status> {
    if bytes.len() != 33 {
        let length = bytes.len();
        return Err(refused(format!(
            "invalid vertex length of {length}, want 33"
        )));
    }
    PublicKey::from_slice(bytes).map_err(|error| refused(format!("invalid public key: {error}")))
}

/// Parses a public key in hex.
pub(in crate::rpc) fn public_key_hex(text: &str) -> Result<PublicKey, Status> {
    PublicKey::from_str(text.trim())
        .map_err(|error| refused(format!("invalid public key: {error}")))
}

/// Parses a payment hash or set_id of 32 bytes.
pub(in crate::rpc) fn hash(bytes: &[u8]) -> Result<[u8; 32], Status> {
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| refused(format!("invalid hash length of {length}, want 32")))
}

/// Parses a payment hash or set_id in hex.
pub(in crate::rpc) fn hash_hex(text: &str) -> Result<[u8; 32], Status> {
    let bytes = Vec::<u8>::from_hex(text.trim());
    hash(&bytes.map_err(|error| refused(format!("invalid hash: {error}")))?)
}

/// Parses the 32 bytes of `field`; `None` if it is empty.
pub(in crate::rpc) fn optional_32(bytes: &[u8], field: &str) -> Result<Option<[u8; 32]>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let length = bytes.len();
    let array = bytes.try_into().map_err(|_| {
        refused(format!(
            "{field} must be exactly 32 bytes, is instead {length}"
        ))
    })?;
    Ok(Some(array))
}

/// Parses a channel point. Txid bytes are in internal (reversed) order.
pub(in crate::rpc) fn channel_point(point: Option<&ChannelPoint>) -> Result<OutPoint, Status> {
    let missing = || refused("channel point must be specified: funding_txid and output_index");
    let point = point.ok_or_else(missing)?;
    let txid = match point.funding_txid.as_ref().ok_or_else(missing)? {
        FundingTxid::FundingTxidBytes(bytes) => Txid::from_byte_array(hash(bytes)?),
        FundingTxid::FundingTxidStr(text) => Txid::from_str(text.trim())
            .map_err(|error| refused(format!("invalid funding txid {text}: {error}")))?,
    };
    Ok(OutPoint::new(txid, point.output_index))
}

/// The requested fee of an on-chain transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum FeeChoice {
    SatPerVbyte(u64),
    /// The confirmation target in blocks.
    ConfirmIn(u32),
    /// The client did not set a fee.
    Unsaid,
}

impl FeeChoice {
    /// Parses lnd's three fee fields.
    pub(in crate::rpc) fn of(
        target_conf: i32,
        per_vbyte: u64,
        per_byte: i64,
    ) -> Result<Self, Status> {
        let per_byte = not_negative(per_byte, "sat_per_byte")?;
        if per_vbyte != 0 && per_byte != 0 {
            return Err(refused(
                "either sat_per_byte or sat_per_vbyte should be set, but not both",
            ));
        }
        let rate = per_vbyte.max(per_byte);
        let blocks: u32 = within(target_conf, "target_conf")?;
        match (rate, blocks) {
            (0, 0) => Ok(Self::Unsaid),
            (0, blocks) => Ok(Self::ConfirmIn(blocks)),
            (rate, 0) => Ok(Self::SatPerVbyte(rate)),
            _ => Err(refused(
                "either target_conf or sat_per_vbyte should be set, but not both",
            )),
        }
    }
}

/// Converts a fee rate to sat per 1000 weight units.
pub(in crate::rpc) fn per_kw(sat_per_vbyte: u64) -> Result<u64, Status> {
    sat_per_vbyte
        .checked_mul(KW_PER_VBYTE)
        .ok_or_else(|| invalid(format!("sat_per_vbyte of {sat_per_vbyte} is too large")))
}

/// Returns the minimum confirmations of a coin to be spent, from lnd's two fields.
pub(in crate::rpc) fn min_confs(min_confs: i32, spend_unconfirmed: bool) -> Result<u32, Status> {
    match (u32::try_from(min_confs), spend_unconfirmed) {
        (Err(_), _) => Err(refused(
            "minimum number of confirmations must be a non-negative number",
        )),
        (Ok(0), false) => Ok(1),
        (Ok(0), true) => Ok(0),
        (Ok(_), true) => Err(refused("SpendUnconfirmed set to true with MinConfs > 0")),
        (Ok(confs), false) => Ok(confs),
    }
}

/// Checks a range of creation dates (Unix seconds) as lnd does; 0 means no bound.
pub(in crate::rpc) fn creation_dates(start: u64, end: u64) -> Result<(), Status> {
    if start != 0 && end != 0 && start >= end {
        return Err(refused(format!(
            "start date({start}) must be before end date({end})"
        )));
    }
    Ok(())
}

/// Checks that an invoice is for our network. Testnet and testnet4 invoices share one prefix.
pub(in crate::rpc) fn check_network(invoice: Network, ours: Network) -> Result<(), Status> {
    let same = match (invoice, ours) {
        (Network::Testnet, Network::Testnet4) => true,
        (invoice, ours) => invoice == ours,
    };
    if same {
        return Ok(());
    }
    let ours = network_name(ours);
    Err(refused(format!(
        "invoice not for current active network '{ours}'"
    )))
}

/// Returns lnd's name for a network.
pub(in crate::rpc) fn network_name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "mainnet",
        Network::Testnet => "testnet",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn rejects_negative_amounts_and_amounts_in_both_units() {
        assert_eq!(amount_msat(0, 0).unwrap(), 0);
        assert_eq!(amount_msat(5, 0).unwrap(), 5000);
        assert_eq!(amount_msat(0, 5).unwrap(), 5);
        assert_eq!(
            text(amount_msat(1, 1)),
            "sat and msat arguments are mutually exclusive"
        );
        assert_eq!(text(amount_msat(-5, 0)), "amount cannot be negative");
        assert_eq!(text(amount_msat(0, i64::MIN)), "amount cannot be negative");
        assert!(amount_msat(i64::MAX, 0).is_err());
    }

    #[test]
    fn rejects_keys_and_hashes_of_wrong_length() {
        for length in [0, 1, 31, 33, 100] {
            assert!(hash(&vec![2; length]).is_err());
            assert!(hash_hex(&"02".repeat(length)).is_err());
        }
        for length in [0, 1, 32, 34, 65] {
            assert!(public_key(&vec![2; length]).is_err());
        }
        assert!(public_key(&[0xff; 33]).is_err());
        assert!(hash_hex("xy").is_err());
        assert_eq!(optional_32(&[], "x").unwrap(), None);
        assert_eq!(
            text(optional_32(&[0, 1], "payment addr")),
            "payment addr must be exactly 32 bytes, is instead 2"
        );
    }

    #[test]
    fn start_date_must_be_before_end_date() {
        assert!(creation_dates(0, 0).is_ok());
        assert!(creation_dates(5, 0).is_ok());
        assert!(creation_dates(0, 5).is_ok());
        assert!(creation_dates(4, 5).is_ok());
        let error = "start date(5) must be before end date(5)";
        assert_eq!(text(creation_dates(5, 5)), error);
    }

    #[test]
    fn channel_point_accepts_txid_bytes_and_hex() {
        let hex = "b075a1b6befabb0cb1d04a04f678e9a648ab85b715040c7d8e083909e8034c7b";
        let mut bytes = Vec::<u8>::from_hex(hex).unwrap();
        bytes.reverse();
        let as_text = FundingTxid::FundingTxidStr(hex.into());
        let read = |funding_txid| {
            let point = ChannelPoint {
                funding_txid: Some(funding_txid),
                output_index: 3,
            };
            channel_point(Some(&point))
        };
        let point = read(as_text).unwrap();
        assert_eq!(point.to_string(), format!("{hex}:3"));
        assert_eq!(read(FundingTxid::FundingTxidBytes(bytes)).unwrap(), point);
        assert!(read(FundingTxid::FundingTxidBytes(vec![1])).is_err());
        assert!(read(FundingTxid::FundingTxidStr("1".into())).is_err());
        assert!(channel_point(None).is_err());
        assert!(channel_point(Some(&ChannelPoint::default())).is_err());
    }

    #[test]
    fn rejects_conflicting_fee_fields() {
        assert_eq!(FeeChoice::of(0, 0, 0).unwrap(), FeeChoice::Unsaid);
        assert_eq!(FeeChoice::of(6, 0, 0).unwrap(), FeeChoice::ConfirmIn(6));
        assert_eq!(FeeChoice::of(0, 0, 2).unwrap(), FeeChoice::SatPerVbyte(2));
        for (target_conf, per_vbyte, per_byte) in [(1, 1, 0), (0, 1, 1), (-1, 0, 0), (0, 0, -1)] {
            assert!(FeeChoice::of(target_conf, per_vbyte, per_byte).is_err());
        }
        assert!(per_kw(u64::MAX).is_err());
    }

    #[test]
    fn unconfirmed_coins_are_spent_only_if_requested() {
        assert_eq!(min_confs(0, false).unwrap(), 1);
        assert_eq!(min_confs(0, true).unwrap(), 0);
        assert_eq!(min_confs(3, false).unwrap(), 3);
        assert!(min_confs(1, true).is_err());
        assert!(min_confs(-1, false).is_err());
    }

    #[test]
    fn rejects_invoices_of_other_networks() {
        assert!(check_network(Network::Testnet, Network::Testnet4).is_ok());
        assert_eq!(
            text(check_network(Network::Signet, Network::Regtest)),
            "invoice not for current active network 'regtest'"
        );
    }
}
