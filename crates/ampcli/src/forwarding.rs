//! Forwarding: `feereport`, `fwdinghistory`, `updatechanpolicy`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_json};
use super::values::{channel_point, outpoint};
use lnd_api::proto::lnrpc::policy_update_request::Scope;
use lnd_api::proto::lnrpc::{
    FailedUpdate, FeeReportRequest, ForwardingHistoryRequest, InboundFee, PolicyUpdateRequest,
};

const DAY_SECONDS: u64 = 86_400;

/// lncli's units of time, in seconds. A month has 30.44 days, a year 365.25.
const UNITS: [(char, u64); 7] = [
    ('s', 1),
    ('m', 60),
    ('h', 3_600),
    ('d', DAY_SECONDS),
    ('w', 604_800),
    ('M', 2_630_016),
    ('y', 31_557_600),
];

/// Show the fee policies of our channels and the fees earned.
#[derive(Debug, Args)]
pub(crate) struct FeeReport {}

impl FeeReport {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(
            node.lightning
                .fee_report(FeeReportRequest {})
                .await?
                .get_ref(),
        )
    }
}

/// Show the history of forwarded HTLCs.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct FwdingHistory {
    /// START_TIME END_TIME INDEX_OFFSET MAX_EVENTS, except those set by flags
    // Separate arguments: a list whose values may begin with a dash would also take the flags after it.
    #[arg(value_name = "VALUES", allow_hyphen_values = true)]
    first: Option<String>,
    #[arg(hide = true, allow_hyphen_values = true)]
    second: Option<String>,
    #[arg(hide = true)]
    third: Option<String>,
    #[arg(hide = true)]
    fourth: Option<String>,
    /// Start time: seconds since 1970, or relative to now: -30m, -3d, -1w [default: -24h]
    #[arg(long, allow_hyphen_values = true)]
    start_time: Option<String>,
    /// End time, in the same formats [default: now]
    #[arg(long, allow_hyphen_values = true)]
    end_time: Option<String>,
    /// Number of events to skip
    #[arg(long)]
    index_offset: Option<String>,
    /// Maximum number of events to show, at most 50000 [default: 100]
    #[arg(long)]
    max_events: Option<String>,
    /// Omit the aliases of the peers
    #[arg(long)]
    skip_peer_alias_lookup: bool,
    /// Only HTLCs received over this channel (chan_id); may be repeated
    #[arg(long, value_delimiter = ',')]
    incoming_chan_ids: Vec<u64>,
    /// Only HTLCs sent over this channel (chan_id); may be repeated
    #[arg(long, value_delimiter = ',')]
    outgoing_chan_ids: Vec<u64>,
}

impl FwdingHistory {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request(now())?;
        print(node.lightning.forwarding_history(request).await?.get_ref())
    }

    fn request(self, now: u64) -> Result<ForwardingHistoryRequest, CliError> {
        let given = [self.first, self.second, self.third, self.fourth];
        let mut values = given.into_iter().flatten();
        let start = self.start_time.or_else(|| values.next());
        let end = self.end_time.or_else(|| values.next());
        let offset = self.index_offset.or_else(|| values.next());
        let max_events = self.max_events.or_else(|| values.next());
        refuse_more(values)?;
        let day_ago = now.saturating_sub(DAY_SECONDS);
        Ok(ForwardingHistoryRequest {
            start_time: start.map_or(Ok(day_ago), |text| moment(&text, now))?,
            // 0 means up to now. The current second as the end would omit forwards in it.
            end_time: end.map_or(Ok(0), |text| moment(&text, now))?,
            index_offset: offset.map_or(Ok(0), |text| number("index_offset", &text))?,
            num_max_events: max_events.map_or(Ok(0), |text| number("max_events", &text))?,
            peer_alias_lookup: !self.skip_peer_alias_lookup,
            incoming_chan_ids: self.incoming_chan_ids,
            outgoing_chan_ids: self.outgoing_chan_ids,
        })
    }
}

/// Update the forwarding policy of all channels or of one channel.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct UpdateChanPolicy {
    /// BASE_FEE_MSAT FEE_RATE TIME_LOCK_DELTA CHAN_POINT, except those set by flags
    #[arg(value_name = "VALUES")]
    values: Vec<String>,
    /// Base fee (msat)
    #[arg(long)]
    base_fee_msat: Option<String>,
    /// Fee rate as a fraction of the amount, e.g. 0.000001
    #[arg(long)]
    fee_rate: Option<String>,
    /// Fee rate (ppm)
    #[arg(long, conflicts_with = "fee_rate")]
    fee_rate_ppm: Option<u32>,
    /// Inbound base fee (msat); not supported
    #[arg(long, allow_negative_numbers = true, requires = "inbound_fee_rate_ppm")]
    inbound_base_fee_msat: Option<i32>,
    /// Inbound fee rate (ppm); not supported
    #[arg(
        long,
        allow_negative_numbers = true,
        requires = "inbound_base_fee_msat"
    )]
    inbound_fee_rate_ppm: Option<i32>,
    /// CLTV delta for forwarded HTLCs (blocks), at least 48
    #[arg(long)]
    time_lock_delta: Option<String>,
    /// Minimum HTLC size (msat); cannot be changed after the channel was opened
    #[arg(long)]
    min_htlc_msat: Option<u64>,
    /// Maximum HTLC size (msat); cannot be changed after the channel was opened
    #[arg(long, default_value_t = 0)]
    max_htlc_msat: u64,
    /// Channel point (txid:index) of the channel to update [default: all channels]
    #[arg(long)]
    chan_point: Option<String>,
    /// Create missing graph edges; has no effect, none are missing
    #[arg(long)]
    create_missing_edge: bool,
}

impl UpdateChanPolicy {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request()?;
        let answer = node.lightning.update_channel_policy(request).await?;
        let failed = answer.get_ref().failed_updates.iter().map(failure);
        print_json(&json!({ "failed_updates": failed.collect::<Vec<_>>() }))
    }

    fn request(self) -> Result<PolicyUpdateRequest, CliError> {
        let mut values = self.values.into_iter();
        let base_fee = self.base_fee_msat.or_else(|| values.next());
        let fee_rate = match self.fee_rate_ppm {
            Some(_) => Some("0".to_owned()),
            None => self.fee_rate.or_else(|| values.next()),
        };
        let delta = self.time_lock_delta.or_else(|| values.next());
        let point = self.chan_point.or_else(|| values.next());
        refuse_more(values)?;
        let (Some(base_fee), Some(fee_rate), Some(delta)) = (base_fee, fee_rate, delta) else {
            return error(
                "arguments missing: set base_fee_msat, fee_rate (or fee_rate_ppm) and time_lock_delta",
            );
        };
        let fees = self.inbound_base_fee_msat.zip(self.inbound_fee_rate_ppm);
        Ok(PolicyUpdateRequest {
            base_fee_msat: number("base_fee_msat", &base_fee)?,
            fee_rate: number("fee_rate", &fee_rate)?,
            time_lock_delta: number::<u16>("time_lock_delta", &delta)?.into(),
            max_htlc_msat: self.max_htlc_msat,
            min_htlc_msat: self.min_htlc_msat.unwrap_or(0),
            min_htlc_msat_specified: self.min_htlc_msat.is_some(),
            fee_rate_ppm: self.fee_rate_ppm.unwrap_or(0),
            inbound_fee: fees.map(|(base_fee_msat, fee_rate_ppm)| InboundFee {
                base_fee_msat,
                fee_rate_ppm,
            }),
            create_missing_edge: self.create_missing_edge,
            scope: Some(scope(point)?),
        })
    }
}

fn scope(point: Option<String>) -> Result<Scope, CliError> {
    let Some(point) = point else {
        return Ok(Scope::Global(true));
    };
    let point = outpoint(&point).map_err(CliError::Text)?;
    Ok(Scope::ChanPoint(channel_point(point.txid, point.vout)))
}

/// Formats a failed update as lncli does, with the outpoint as one string.
fn failure(failed: &FailedUpdate) -> Value {
    let output = failed.outpoint.clone().unwrap_or_default();
    json!({
        "outpoint": format!("{}:{}", output.txid_str, output.output_index),
        "reason": failed.reason().as_str_name(),
        "update_error": failed.update_error,
    })
}

fn refuse_more(mut values: impl Iterator<Item = String>) -> Result<(), CliError> {
    match values.next() {
        Some(value) => error(format!("unexpected argument {value:?}")),
        None => Ok(()),
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, CliError> {
    text.parse()
        .map_err(|_| CliError::Text(format!("unable to decode {name}: {text:?}")))
}

/// Parses a time, given in seconds since 1970 or relative to `now`, and returns it in seconds since 1970.
fn moment(text: &str, now: u64) -> Result<u64, CliError> {
    let ago = text.strip_prefix('-').and_then(|ago| {
        let unit = ago.chars().next_back()?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let count: u64 = ago.strip_suffix(unit)?.parse().ok()?;
        Some(now.saturating_sub(count.checked_mul(*seconds)?))
    });
    ago.map_or_else(|| number("time", text), Ok)
}

/// Returns the current time in seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct History {
        #[command(flatten)]
        command: FwdingHistory,
    }

    #[derive(Parser)]
    struct Policy {
        #[command(flatten)]
        command: UpdateChanPolicy,
    }

    fn history(args: &[&str]) -> Result<ForwardingHistoryRequest, CliError> {
        let args = std::iter::once(&"ampcli").chain(args);
        History::try_parse_from(args)
            .unwrap()
            .command
            .request(1_000_000)
    }

    fn policy(args: &[&str]) -> Result<PolicyUpdateRequest, CliError> {
        let args = std::iter::once(&"ampcli").chain(args);
        Policy::try_parse_from(args).unwrap().command.request()
    }

    #[test]
    fn times_are_absolute_or_relative_to_now() {
        let moment = |text| moment(text, 1_000_000).map_err(|error| error.to_string());
        assert_eq!(moment("17"), Ok(17));
        assert_eq!(moment("-17s"), Ok(999_983));
        assert_eq!(moment("-1w"), Ok(395_200));
        assert_eq!(moment("-1y"), Ok(0));
        for wrong in ["", "-", "-1", "-d", "1d", "-1x", "-99999999999999999999d"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_and_positional_values_can_be_combined() {
        let day = history(&[]).unwrap();
        assert_eq!((day.start_time, day.end_time), (913_600, 0));
        let all = history(&["-1h", "999999", "5", "7"]).unwrap();
        assert_eq!((all.start_time, all.end_time), (996_400, 999_999));
        assert_eq!((all.index_offset, all.num_max_events), (5, 7));
        let mixed = history(&["--start_time", "-2h", "7", "--max_events=3"]).unwrap();
        assert_eq!((mixed.start_time, mixed.end_time), (992_800, 7));
        assert_eq!((mixed.index_offset, mixed.num_max_events), (0, 3));
        assert!(history(&["1", "--start_time=1", "2", "3", "4"]).is_err());
    }

    #[test]
    fn policy_applies_to_all_channels_or_one() {
        let all = policy(&["1000", "0.000002", "80"]).unwrap();
        assert_eq!(all.scope, Some(Scope::Global(true)));
        assert_eq!((all.base_fee_msat, all.time_lock_delta), (1_000, 80));
        assert!((all.fee_rate - 0.000_002).abs() < 1e-12);
        assert!(!all.min_htlc_msat_specified);
        let point = format!("{}:1", "11".repeat(32));
        let one = policy(&["--fee_rate_ppm=5", "0", "90", &point, "--min_htlc_msat=0"]).unwrap();
        assert!(matches!(one.scope, Some(Scope::ChanPoint(_))));
        assert_eq!((one.fee_rate_ppm, one.base_fee_msat), (5, 0));
        assert!(one.min_htlc_msat_specified && one.fee_rate == 0.0);
        for wrong in [&["1", "2"][..], &["1", "x", "80"], &["1", "0", "80", "x"]] {
            assert!(policy(wrong).is_err(), "{wrong:?}");
        }
    }
}
