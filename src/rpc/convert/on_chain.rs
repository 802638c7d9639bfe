//! Shared code of the on-chain wallet calls: accounts, outputs, labels, fees, amounts.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, FeeRate, OutPoint, TxOut, Txid};
use tonic::Status;

use crate::chain::FeeEstimates;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::parse::{FeeChoice, hash, not_negative, per_kw};
use crate::wallet::Wallet;
use lnd_api::proto::lnrpc;

/// lnd's name of the only account.
pub(in crate::rpc) const ACCOUNT: &str = "default";

/// The maximum length of a label in bytes (lnd).
const MAX_LABEL: usize = 500;

/// lnd's label for transactions that an API client creates without a label.
const DEFAULT_LABEL: &str = "external";

/// The default confirmation target in blocks (lnd).
const DEFAULT_TARGET: u32 = 6;

/// Rejects any account but the default one.
pub(in crate::rpc) fn check_account(account: &str) -> Result<(), Status> {
    match account {
        "" | ACCOUNT => Ok(()),
        other => Err(refused(format!(
            "account {other} not found: the only account is {ACCOUNT}"
        ))),
    }
}

/// Rejects other coin selection strategies than the default one.
pub(in crate::rpc) fn check_strategy(strategy: i32) -> Result<(), Status> {
    if strategy == 0 {
        return Ok(());
    }
    Err(unsupported(
        "coin_selection_strategy is not supported: the wallet chooses its coins",
    ))
}

/// Parses a txid in internal byte order.
pub(in crate::rpc) fn txid(bytes: &[u8]) -> Result<Txid, Status> {
    hash(bytes).map(Txid::from_byte_array)
}

/// Parses a txid in hex, in display order.
pub(in crate::rpc) fn txid_hex(text: &str) -> Result<Txid, Status> {
    Txid::from_str(text.trim()).map_err(|error| refused(format!("invalid txid {text}: {error}")))
}

/// Parses an outpoint.
pub(in crate::rpc) fn outpoint(given: Option<&lnrpc::OutPoint>) -> Result<OutPoint, Status> {
    let given = given.ok_or_else(|| refused("empty outpoint provided"))?;
    let txid = match (given.txid_bytes.as_slice(), given.txid_str.as_str()) {
        ([], "") => Err(refused("TxidBytes and TxidStr are both unspecified")),
        ([], text) => txid_hex(text),
        (bytes, _) => txid(bytes),
    };
    Ok(OutPoint::new(txid?, given.output_index))
}

/// Parses the outpoints to spend; rejects duplicates.
pub(in crate::rpc) fn coins(given: &[lnrpc::OutPoint]) -> Result<Vec<OutPoint>, Status> {
    let coins: Vec<_> = given
        .iter()
        .map(|coin| outpoint(Some(coin)))
        .collect::<Result<_, _>>()?;
    if coins.iter().collect::<BTreeSet<_>>().len() < coins.len() {
        return Err(refused("selected outpoints contain duplicate values"));
    }
    Ok(coins)
}

/// Converts an outpoint to lnd's message.
pub(in crate::rpc) fn outpoint_message(coin: OutPoint) -> lnrpc::OutPoint {
    lnrpc::OutPoint {
        txid_bytes: coin.txid.to_byte_array().to_vec(),
        txid_str: coin.txid.to_string(),
        output_index: coin.vout,
    }
}

/// Parses the outputs to create, as amounts in sat by address.
pub(in crate::rpc) fn outputs<T>(
    wallet: &Wallet,
    amounts: &BTreeMap<String, T>,
) -> Result<Vec<TxOut>, Status>
where
    T: Copy + std::fmt::Display + TryInto<u64>,
{
    let output = |(address, sat): (&String, &T)| {
        let value = Amount::from_sat(not_negative(*sat, "amount")?);
        let script_pubkey = wallet.parse_address(address)?.script_pubkey();
        Ok(TxOut {
            value,
            script_pubkey,
        })
    };
    amounts.iter().map(output).collect()
}

/// Returns the label of a transaction that an API client creates, or lnd's default if it is empty.
pub(in crate::rpc) fn label(given: &str) -> Result<String, Status> {
    let length = given.len();
    if length > MAX_LABEL {
        return Err(refused(format!(
            "label length: {length} exceeds limit of {MAX_LABEL}"
        )));
    }
    Ok(match given {
        "" => DEFAULT_LABEL.to_owned(),
        given => given.to_owned(),
    })
}

/// Returns the requested fee rate, from lnd's three fee fields.
pub(in crate::rpc) fn fee_rate(
    fees: &FeeEstimates,
    target_conf: i32,
    per_vbyte: u64,
    per_byte: i64,
) -> Result<FeeRate, Status> {
    let sat_per_kw = match FeeChoice::of(target_conf, per_vbyte, per_byte)? {
        FeeChoice::SatPerVbyte(rate) => per_kw(rate)?,
        FeeChoice::ConfirmIn(blocks) => u64::from(fees.sat_per_kw(blocks)),
        FeeChoice::Unsaid => u64::from(fees.sat_per_kw(DEFAULT_TARGET)),
    };
    Ok(FeeRate::from_sat_per_kwu(sat_per_kw))
}

/// Parses the minimum and maximum confirmations, with lnd's checks.
pub(in crate::rpc) fn confirmations(min: i32, max: i32) -> Result<(u32, u32), Status> {
    let least = u32::try_from(min).map_err(|_| refused("min confirmations must be >= 0"))?;
    match u32::try_from(max) {
        Ok(most) if least <= most => Ok((least, most)),
        _ => Err(refused("max confirmations must be >= min confirmations")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn only_the_default_account_exists() {
        assert!(check_account("").is_ok());
        assert!(check_account("default").is_ok());
        assert!(check_account("imported").is_err());
    }

    #[test]
    fn outpoints_accept_txid_bytes_and_hex() {
        let hex = "b075a1b6befabb0cb1d04a04f678e9a648ab85b715040c7d8e083909e8034c7b";
        let coin = format!("{hex}:3").parse().unwrap();
        let message = outpoint_message(coin);
        assert_eq!(message.txid_str, hex);
        for (txid_bytes, txid_str) in [
            (message.txid_bytes.clone(), String::new()),
            (vec![], hex.to_owned()),
        ] {
            let given = lnrpc::OutPoint {
                txid_bytes,
                txid_str,
                output_index: 3,
            };
            assert_eq!(outpoint(Some(&given)).unwrap(), coin);
        }
        assert_eq!(text(outpoint(None)), "empty outpoint provided");
        assert!(outpoint(Some(&lnrpc::OutPoint::default())).is_err());
        let twice = [message.clone(), message.clone()];
        assert_eq!(
            text(coins(&twice)),
            "selected outpoints contain duplicate values"
        );
        assert_eq!(coins(&[message]).unwrap(), [coin]);
    }

    #[test]
    fn labels_have_a_maximum_length_and_a_default() {
        assert_eq!(label("").unwrap(), "external");
        assert_eq!(label("tea").unwrap(), "tea");
        assert!(label(&"x".repeat(500)).is_ok());
        assert_eq!(
            text(label(&"x".repeat(501))),
            "label length: 501 exceeds limit of 500"
        );
    }

    #[test]
    fn fee_rate_is_the_requested_one_or_an_estimate() {
        let fees = FeeEstimates::default();
        let rate = |per_vbyte, target| {
            let rate = fee_rate(&fees, target, per_vbyte, 0);
            rate.unwrap().to_sat_per_kwu()
        };
        assert_eq!(rate(3, 0), 750);
        assert_eq!(rate(0, 144), u64::from(fees.sat_per_kw(144)));
        assert_eq!(rate(0, 0), u64::from(fees.sat_per_kw(6)));
        assert!(fee_rate(&fees, 0, u64::MAX, 0).is_err());
        assert!(fee_rate(&fees, -1, 0, 0).is_err());
    }

    #[test]
    fn rejects_invalid_confirmation_ranges() {
        assert_eq!(confirmations(0, 0).unwrap(), (0, 0));
        assert_eq!(confirmations(1, i32::MAX).unwrap().0, 1);
        assert_eq!(text(confirmations(-1, 5)), "min confirmations must be >= 0");
        for (min, max) in [(2, 1), (0, -1)] {
            assert_eq!(
                text(confirmations(min, max)),
                "max confirmations must be >= min confirmations"
            );
        }
    }
}
