//! The flags that `sendpayment` and `payinvoice` share.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::error::{CliError, error};
use super::follow::View;
use super::values::{Hex, bare_msat, duration, hex, msat, records, sat};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use lnd_api::tlv::MESSAGE;

/// Up to this amount, in msat, lncli's default fee limit is the whole amount.
const SMALL_PAYMENT_MSAT: u64 = 1_000_000;
/// lncli's default fee limit for larger amounts, in percent.
const DEFAULT_FEE_PERCENT: u64 = 5;

/// The flags that `sendpayment` and `payinvoice` share.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct PaymentFlags {
    /// Invoice to pay
    #[arg(long)]
    pub pay_req: Option<String>,
    /// Fee limit (sat, or with a unit) [default: the amount up to 1000 sat, above that 5% of it]
    #[arg(long, value_parser = msat)]
    fee_limit: Option<u64>,
    /// Fee limit as a percentage of the amount
    #[arg(long, conflicts_with = "fee_limit")]
    fee_limit_percent: Option<u64>,
    /// Time after which no further attempts are made
    #[arg(long, value_parser = duration, default_value = "1m0s")]
    timeout: Duration,
    /// Make no further attempts if this command is interrupted
    #[arg(long)]
    cancelable: bool,
    /// Maximum total time lock (blocks); 0 means 2016
    #[arg(long, default_value_t = 0)]
    cltv_limit: i32,
    /// Public key of the last hop before the receiver
    #[arg(long, value_parser = hex)]
    last_hop: Option<Hex>,
    /// Outgoing channel for the first hop (chan_id); may be repeated
    #[arg(long)]
    outgoing_chan_id: Vec<u64>,
    /// Pay without asking for confirmation
    #[arg(long, short)]
    pub force: bool,
    /// Allow payments to this node; not supported
    #[arg(long)]
    allow_self_payment: bool,
    /// Custom records for the receiver: id=hex,id=hex (IDs from 65536)
    #[arg(long, value_parser = records)]
    data: Option<BTreeMap<u64, Vec<u8>>>,
    /// With --json: print every update, not only the final state
    #[arg(long)]
    inflight_updates: bool,
    /// Maximum number of parts
    #[arg(long, default_value_t = 16)]
    max_parts: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Maximum part size (sat)
    #[arg(long, value_parser = sat, conflicts_with = "max_shard_size_msat")]
    max_shard_size_sat: Option<u64>,
    /// Maximum part size (msat)
    #[arg(long, value_parser = bare_msat)]
    max_shard_size_msat: Option<u64>,
    /// Pay with AMP (implied by an AMP invoice)
    #[arg(long)]
    amp: bool,
    /// Same as --amp, for compatibility with old versions of lncli. AMP invoices can be paid repeatedly
    /// without it
    #[arg(long)]
    amp_reuse: bool,
    /// Payment address (hex). With an AMP invoice, it replaces that of the invoice: the payment is then
    /// spontaneous, and the receiver must accept such payments (accept-amp)
    #[arg(long)]
    pub pay_addr: Option<String>,
    /// Message to the receiver (custom record 34349334)
    #[arg(long)]
    message: Option<String>,
    /// Time preference from -1 (low fee) to 1 (reliable route); has no effect
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.0)]
    time_pref: f64,
}

impl PaymentFlags {
    /// Returns whether AMP was requested.
    pub(crate) fn is_amp(&self) -> bool {
        self.amp || self.amp_reuse
    }

    /// Returns the format in which the payment is shown.
    pub(crate) fn view(&self) -> Result<View, CliError> {
        match (self.json, self.inflight_updates) {
            (true, true) => Ok(View::JsonUpdates),
            (true, false) => Ok(View::Json),
            (false, false) => Ok(View::Table),
            (false, true) => error("--inflight_updates requires --json"),
        }
    }

    /// Returns a request with the values of these flags, except for the fee limit.
    pub(crate) fn request(&self) -> Result<SendPaymentRequest, CliError> {
        let timeout = i32::try_from(self.timeout.as_secs()).unwrap_or(i32::MAX);
        if timeout == 0 {
            return error("payment timeout must be greater than zero: set at least 1s");
        }
        if !(-1.0..=1.0).contains(&self.time_pref) {
            return error("time preference must be in range -1 to 1");
        }
        let last_hop = self
            .last_hop
            .as_ref()
            .map(|key| key.0.clone())
            .unwrap_or_default();
        if !matches!(last_hop.len(), 0 | 33) {
            return error(format!(
                "last_hop must be 33 bytes, is instead {}",
                last_hop.len()
            ));
        }
        let shard_msat = self.max_shard_size_sat.map(|sat| sat * 1000);
        Ok(SendPaymentRequest {
            timeout_seconds: timeout,
            cancelable: self.cancelable,
            cltv_limit: self.cltv_limit,
            last_hop_pubkey: last_hop,
            outgoing_chan_ids: self.outgoing_chan_id.clone(),
            allow_self_payment: self.allow_self_payment,
            dest_custom_records: self.records()?,
            no_inflight_updates: self.view()? == View::Json,
            max_parts: self.max_parts,
            max_shard_size_msat: shard_msat.or(self.max_shard_size_msat).unwrap_or(0),
            amp: self.is_amp(),
            time_pref: self.time_pref,
            ..Default::default()
        })
    }

    fn records(&self) -> Result<BTreeMap<u64, Vec<u8>>, CliError> {
        let mut records = self.data.clone().unwrap_or_default();
        if let Some(message) = &self.message {
            let earlier = records.insert(MESSAGE, message.clone().into_bytes());
            if earlier.is_some() {
                return error(format!(
                    "--message and record {MESSAGE} in --data are the same record: set only one of them"
                ));
            }
        }
        Ok(records)
    }

    /// Returns the fee limit for a payment of this amount, in msat.
    #[must_use]
    pub(crate) fn fee_limit_msat(&self, amount_msat: u64) -> u64 {
        match (self.fee_limit, self.fee_limit_percent) {
            (Some(limit), _) => limit,
            (None, Some(percent)) => percent_of(amount_msat, percent),
            (None, None) if amount_msat <= SMALL_PAYMENT_MSAT => amount_msat,
            (None, None) => percent_of(amount_msat, DEFAULT_FEE_PERCENT),
        }
    }
}

/// Returns a percentage of the amount, rounded up.
fn percent_of(amount_msat: u64, percent: u64) -> u64 {
    let part = (u128::from(amount_msat) * u128::from(percent)).div_ceil(100);
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: PaymentFlags,
    }

    fn flags(args: &[&str]) -> PaymentFlags {
        Line::parse_from(std::iter::once(&"ampcli").chain(args)).flags
    }

    #[test]
    fn default_fee_limit_is_that_of_lncli() {
        let flags = flags(&[]);
        assert_eq!(flags.fee_limit_msat(1_000_000), 1_000_000);
        assert_eq!(flags.fee_limit_msat(1_000_020), 50_001);
        assert_eq!(flags.fee_limit_msat(u64::MAX), u64::MAX / 20 + 1);
    }

    #[test]
    fn fee_limit_is_an_amount_or_a_percentage() {
        assert_eq!(flags(&["--fee_limit", "7"]).fee_limit_msat(1), 7_000);
        assert_eq!(flags(&["--fee_limit=7msat"]).fee_limit_msat(1), 7);
        assert_eq!(flags(&["--fee_limit_percent=3"]).fee_limit_msat(1_000), 30);
        assert_eq!(flags(&["--fee_limit_percent=0"]).fee_limit_msat(1_000), 0);
        assert!(Line::try_parse_from(["", "--fee_limit=1", "--fee_limit_percent=1"]).is_err());
    }

    #[test]
    fn message_is_added_to_the_records_in_data() {
        let request = flags(&["--message", "tea ☕", "--data=65536=01"]).request();
        let records = request.unwrap().dest_custom_records;
        assert_eq!(records[&MESSAGE], "tea ☕".as_bytes());
        assert_eq!(records[&65_536], [1]);
        assert!(
            flags(&["--message=a", "--data=34349334=62"])
                .request()
                .is_err()
        );
    }

    #[test]
    fn amp_reuse_is_the_same_as_amp() {
        assert!(flags(&["--amp_reuse"]).request().unwrap().amp);
        assert!(flags(&["--amp"]).request().unwrap().amp);
        assert!(!flags(&[]).request().unwrap().amp);
    }

    #[test]
    fn limits_are_copied_to_the_request() {
        let args = [
            "--allow_self_payment",
            "--cancelable",
            "--time_pref=-0.5",
            "--max_shard_size_sat=5",
            "--cltv_limit=90",
            "--max_parts=3",
            "--timeout=1m30s",
            "--outgoing_chan_id=7",
            "--outgoing_chan_id=8",
        ];
        let expected = SendPaymentRequest {
            allow_self_payment: true,
            cancelable: true,
            time_pref: -0.5,
            max_shard_size_msat: 5_000,
            cltv_limit: 90,
            max_parts: 3,
            timeout_seconds: 90,
            outgoing_chan_ids: vec![7, 8],
            ..Default::default()
        };
        assert_eq!(flags(&args).request().unwrap(), expected);
        let msat = flags(&["--max_shard_size_msat=5"]).request().unwrap();
        assert_eq!(msat.max_shard_size_msat, 5);
        for args in [["--timeout=0s"], ["--time_pref=1.5"], ["--last_hop=0011"]] {
            assert!(flags(&args).request().is_err(), "{args:?}");
        }
    }

    #[test]
    fn defaults_are_those_of_lncli() {
        let request = flags(&[]).request().unwrap();
        let expected = SendPaymentRequest {
            timeout_seconds: 60,
            max_parts: 16,
            ..Default::default()
        };
        assert_eq!(request, expected);
        assert!(flags(&["--json"]).request().unwrap().no_inflight_updates);
        assert!(
            !flags(&["--json", "--inflight_updates"])
                .request()
                .unwrap()
                .no_inflight_updates
        );
        assert!(flags(&["--inflight_updates"]).request().is_err());
    }
}
