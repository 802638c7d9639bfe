//! Parsers for the values of flags: hex, amounts, channel points, times, durations, custom
//! records, invoices.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bitcoin::Txid;
use bitcoin::hex::FromHex;
use chrono::{DateTime, NaiveDate, NaiveTime};

use ampd_text::amount::{self, Unit};
use lnd_api::proto::lnrpc::{ChannelPoint, OutPoint, channel_point::FundingTxid};

/// Bytes parsed from hex (or base64). clap would treat a plain `Vec` as a repeated flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hex(pub Vec<u8>);

/// Parses hex digits in upper or lower case.
pub(crate) fn hex(text: &str) -> Result<Hex, String> {
    Vec::from_hex(text)
        .map(Hex)
        .map_err(|_| format!("{text:?} is not hex"))
}

/// Parses 32 bytes in hex, such as a payment hash.
pub(crate) fn hex_32(text: &str) -> Result<Hex, String> {
    match hex(text)? {
        Hex(bytes) if bytes.len() != 32 => Err(format!(
            "must be exactly 32 bytes, is instead {}",
            bytes.len()
        )),
        hash => Ok(hash),
    }
}

/// Parses an amount and returns it in msat. A number without a unit is in satoshis.
pub(crate) fn msat(text: &str) -> Result<u64, String> {
    amount::parse_msat(text, Unit::Sat).map_err(|error| error.to_string())
}

/// Parses an amount and returns it in msat. A number without a unit is in msat.
pub(crate) fn bare_msat(text: &str) -> Result<u64, String> {
    amount::parse_msat(text, Unit::Msat).map_err(|error| error.to_string())
}

/// Parses a whole number of satoshis.
pub(crate) fn sat(text: &str) -> Result<u64, String> {
    amount::parse_sat(text).map_err(|error| error.to_string())
}

/// Parses a duration in Go's format: `1m0s`, `1.5h`, `300ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected a duration such as 30s, 5m or 1m30s"))
}

/// Parses a time and returns it in seconds since 1970. Accepts that number, a date (`2026-11-30`, UTC,
/// its first second) or RFC 3339 (`2026-11-30T12:00:00Z`).
pub(crate) fn time_from(text: &str) -> Result<u64, String> {
    time(text, NaiveTime::MIN)
}

/// Like [`time_from`], but a date means its last second.
pub(crate) fn time_to(text: &str) -> Result<u64, String> {
    // 23:59:59 exists on every day.
    time(
        text,
        NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default(),
    )
}

fn time(text: &str, of_day: NaiveTime) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let date = || Some(text.parse::<NaiveDate>().ok()?.and_time(of_day).and_utc());
    let instant = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let time = instant.ok().or_else(date);
    time.and_then(|time| u64::try_from(time.timestamp()).ok())
        .ok_or_else(|| {
            format!(
                "{text:?} is not a time: expected 2026-11-30, 2026-11-30T12:00:00Z or seconds since 1970"
            )
        })
}

/// Converts an amount to the API's type. [`ampd_text::amount`] accepts none above `i64::MAX`.
pub(crate) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// Parses a channel point or other outpoint: `txid:index`.
pub(crate) fn outpoint(text: &str) -> Result<bitcoin::OutPoint, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not of the form txid:index"))
}

/// Returns a channel point as the API's message.
pub(crate) fn channel_point(txid: Txid, output_index: u32) -> ChannelPoint {
    let funding_txid = Some(FundingTxid::FundingTxidStr(txid.to_string()));
    ChannelPoint {
        funding_txid,
        output_index,
    }
}

/// Parses addresses with amounts in satoshis, in lncli's format: `{"address": 1000}`.
pub(crate) fn amounts(text: &str) -> Result<Amounts, String> {
    serde_json::from_str(text)
        .map(Amounts)
        .map_err(|error| format!("{error}; expected {{\"address\": satoshis}}"))
}

/// Addresses with amounts in satoshis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amounts(pub BTreeMap<String, u64>);

impl Amounts {
    /// Converts the amounts to the type of most API fields.
    pub(crate) fn signed(self) -> BTreeMap<String, i64> {
        let amounts = self.0.into_iter();
        amounts.map(|(to, sat)| (to, signed(sat))).collect()
    }
}

/// Parses base64, such as a PSBT.
pub(crate) fn base64(text: &str) -> Result<Hex, String> {
    let bytes = BASE64_STANDARD.decode(text.trim());
    bytes
        .map(Hex)
        .map_err(|error| format!("not base64: {error}"))
}

/// Returns an outpoint as the API's message.
pub(crate) fn wallet_output(output: &bitcoin::OutPoint) -> OutPoint {
    OutPoint {
        txid_bytes: Vec::new(),
        txid_str: output.txid.to_string(),
        output_index: output.vout,
    }
}

/// Parses custom records: `id=hex,id=hex`.
pub(crate) fn records(text: &str) -> Result<BTreeMap<u64, Vec<u8>>, String> {
    let record = |item: &str| {
        let (id, value) = item.split_once('=')?;
        Some((id.trim().parse().ok()?, Vec::from_hex(value.trim()).ok()?))
    };
    let wrong = |item: &str| format!("{item:?} is not of the form id=hex");
    text.split(',')
        .map(|item| record(item).ok_or_else(|| wrong(item)))
        .collect()
}

/// Removes surrounding whitespace and the prefix `lightning:`, with which web pages write invoices.
pub(crate) fn without_scheme(invoice: &str) -> &str {
    let invoice = invoice.trim();
    match invoice.get(..10) {
        Some(scheme) if scheme.eq_ignore_ascii_case("lightning:") => &invoice[10..],
        _ => invoice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_errors_state_the_length() {
        let error = hex_32("0011").unwrap_err();
        assert_eq!(error, "must be exactly 32 bytes, is instead 2");
        assert!(hex("0g").is_err() && hex("001").is_err());
        assert_eq!(hex("00fF"), Ok(Hex(vec![0, 255])));
    }

    #[test]
    fn custom_records_are_separated_by_commas() {
        let expected = BTreeMap::from([(65536, vec![0]), (34349334, vec![0x68, 0x69])]);
        assert_eq!(records("34349334=6869,65536=00"), Ok(expected));
        for text in ["", "1", "x=00", "1=0", "1=00,", "-1=00"] {
            assert!(records(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_dates_or_rfc_3339() {
        assert_eq!(time_from("1700000000"), Ok(1_700_000_000));
        assert_eq!(time_from("2001-09-09"), Ok(999_993_600));
        assert_eq!(time_to("2001-09-09"), Ok(999_993_600 + 86_399));
        for text in ["2001-09-09T01:46:40Z", "2001-09-09T03:46:40+02:00"] {
            assert_eq!(time_from(text), Ok(1_000_000_000));
            assert_eq!(time_to(text), Ok(1_000_000_000));
        }
        for text in [
            "",
            "-1",
            "yesterday",
            "2001-02-29",
            "1969-12-31",
            "01.02.2003",
        ] {
            assert!(time_from(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_gos_format() {
        assert_eq!(duration("1m0s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert!(duration("60").is_err());
    }

    #[test]
    fn lightning_scheme_is_removed() {
        assert_eq!(without_scheme("LIGHTNING:lnbc1"), "lnbc1");
        assert_eq!(without_scheme(" lnbcrt1xyz\n"), "lnbcrt1xyz");
        assert_eq!(without_scheme("äöüßäöüß"), "äöüßäöüß");
    }
}
