//! Finding and building routes: `queryroutes`, `buildroute`, `estimateroutefee`.

use std::time::Duration;

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print;
use super::values::{Hex, duration, hex, hex_32, msat, signed, without_scheme};
use lnd_api::from_json;
use lnd_api::proto::lnrpc::fee_limit::Limit;
use lnd_api::proto::lnrpc::{FeeLimit, NodePair, QueryRoutesRequest, RouteHint};
use lnd_api::proto::routerrpc::{BuildRouteRequest, RouteFeeRequest};

/// Query a route to a destination.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct QueryRoutes {
    /// DEST AMT, except those set by flags
    #[arg(value_name = "VALUES")]
    values: Vec<String>,
    /// Public key of the receiver
    #[arg(long)]
    dest: Option<String>,
    /// Amount (sat, or with a unit: 50000msat, 0.001btc)
    #[arg(long)]
    amt: Option<String>,
    /// Fee limit (sat, or with a unit) [default: the amount up to 1000 sat, above that 5% of it]
    #[arg(long, value_parser = msat)]
    fee_limit: Option<u64>,
    /// Fee limit as a percentage of the amount
    #[arg(long, conflicts_with = "fee_limit")]
    fee_limit_percent: Option<u32>,
    /// Final CLTV delta (blocks); 0 means the node's default
    #[arg(long, default_value_t = 0)]
    final_cltv_delta: u16,
    /// Prefer channels by the results of earlier payments, instead of the cheapest route
    #[arg(long)]
    use_mc: bool,
    /// Outgoing channel for the first hop (chan_id); may be repeated
    #[arg(long)]
    outgoing_chan_id: Vec<u64>,
    /// Node pair (NODE1:NODE2) to exclude from the route; may be repeated
    #[arg(long, value_parser = pair)]
    ignore_pair: Vec<NodePair>,
    /// Time preference from -1 (low fee) to 1 (reliable route); has no effect
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.0)]
    time_pref: f64,
    /// Maximum total time lock of the route (blocks); 0 means 2016
    #[arg(long, default_value_t = 0)]
    cltv_limit: u32,
    /// Route hints as JSON: [{"hop_hints":[{"node_id":"02..","chan_id":1,..}]}]
    #[arg(long, value_parser = route_hints)]
    route_hints: Option<RouteHints>,
}

/// Wraps the list, which clap would treat as a repeated flag.
#[derive(Clone, Debug)]
struct RouteHints(Vec<RouteHint>);

impl QueryRoutes {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request()?;
        print(node.lightning.query_routes(request).await?.get_ref())
    }

    fn request(self) -> Result<QueryRoutesRequest, CliError> {
        let mut values = self.values.into_iter();
        let Some(pub_key) = self.dest.or_else(|| values.next()) else {
            return error("dest argument missing");
        };
        let Some(amount) = self.amt.or_else(|| values.next()) else {
            return error("amt argument missing");
        };
        if let Some(value) = values.next() {
            return error(format!("unexpected argument {value:?}"));
        }
        let amount = msat(&amount).map_err(CliError::Text)?;
        let fixed = self.fee_limit.map(|msat| Limit::FixedMsat(signed(msat)));
        let percent = self
            .fee_limit_percent
            .map(|part| Limit::Percent(part.into()));
        let limit = fixed.or(percent);
        Ok(QueryRoutesRequest {
            pub_key,
            amt_msat: signed(amount),
            fee_limit: limit.map(|limit| FeeLimit { limit: Some(limit) }),
            final_cltv_delta: self.final_cltv_delta.into(),
            use_mission_control: self.use_mc,
            ignored_pairs: self.ignore_pair,
            cltv_limit: self.cltv_limit,
            route_hints: self.route_hints.map(|hints| hints.0).unwrap_or_default(),
            time_pref: self.time_pref,
            outgoing_chan_ids: self.outgoing_chan_id,
            ..Default::default()
        })
    }
}

fn pair(text: &str) -> Result<NodePair, String> {
    let expected = "invalid node pair format. Expected <node1 pub key>:<node2 pub key>";
    let (from, to) = text.split_once(':').ok_or(expected)?;
    Ok(NodePair {
        from: hex(from)?.0,
        to: hex(to)?.0,
    })
}

fn route_hints(text: &str) -> Result<RouteHints, String> {
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let hints = json.as_array().ok_or("not a JSON list")?;
    let hints = hints.iter().map(from_json);
    hints.collect::<Result<_, _>>().map(RouteHints)
}

/// Build a route over the given nodes.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct BuildRoute {
    /// Amount (sat, or with a unit: 50000msat) [default: the minimum that the channels forward]
    #[arg(long, value_parser = msat)]
    amt: Option<u64>,
    /// Final CLTV delta (blocks), as in the invoice; 0 means the node's default
    #[arg(long, default_value_t = 0)]
    final_cltv_delta: u16,
    /// Public keys of the nodes, separated by commas, from the first hop to the receiver
    #[arg(long, value_delimiter = ',', value_parser = hex, required = true)]
    hops: Vec<Hex>,
    /// Outgoing channel for the first hop (chan_id); 0 means any
    #[arg(long, default_value_t = 0)]
    outgoing_chan_id: u64,
    /// Payment address of the invoice (hex), which is put in the mpp_record of the last hop
    #[arg(long, value_parser = hex_32)]
    payment_addr: Option<Hex>,
}

impl BuildRoute {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        if self.amt == Some(0) {
            return error("non-zero amount required");
        }
        let request = BuildRouteRequest {
            amt_msat: signed(self.amt.unwrap_or(0)),
            final_cltv_delta: self.final_cltv_delta.into(),
            outgoing_chan_id: self.outgoing_chan_id,
            hop_pubkeys: self.hops.into_iter().map(|hop| hop.0).collect(),
            payment_addr: self.payment_addr.map(|hex| hex.0).unwrap_or_default(),
            ..Default::default()
        };
        print(node.router.build_route(request).await?.get_ref())
    }
}

/// Estimate the fee of a payment to a node (from the channel graph) or an invoice (by a probe).
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct EstimateRouteFee {
    /// Public key of the receiver
    #[arg(long, value_parser = hex, conflicts_with = "pay_req", requires = "amt")]
    dest: Option<Hex>,
    /// Amount (sat, or with a unit: 0.001btc), required with --dest
    #[arg(long, value_parser = super::values::sat)]
    amt: Option<u64>,
    /// Invoice whose receiver is probed
    #[arg(long, required_unless_present = "dest")]
    pay_req: Option<String>,
    /// Timeout of the probe
    #[arg(long, value_parser = duration, default_value = "1m0s")]
    timeout: Duration,
    /// Outgoing channel for the first hop (chan_id); may be repeated
    #[arg(long)]
    outgoing_chan_id: Vec<u64>,
}

impl EstimateRouteFee {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request()?;
        print(node.router.estimate_route_fee(request).await?.get_ref())
    }

    fn request(self) -> Result<RouteFeeRequest, CliError> {
        let invoice = self.pay_req.as_deref().map_or("", without_scheme);
        let mut request = RouteFeeRequest {
            payment_request: invoice.to_owned(),
            timeout: u32::try_from(self.timeout.as_secs()).unwrap_or(u32::MAX),
            outgoing_chan_ids: self.outgoing_chan_id,
            ..Default::default()
        };
        if let Some(Hex(dest)) = self.dest {
            if dest.len() != 33 {
                let length = dest.len();
                return error(format!(
                    "dest node pubkey must be exactly 33 bytes, is instead: {length}"
                ));
            }
            request.dest = dest;
            request.amt_sat = match self.amt {
                None | Some(0) => return error("non-zero amount required"),
                Some(sat) => signed(sat),
            };
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const NODE: &str = "036578a1115e56317819f35d7fd55979a1539bafab72a9017cf33c3d5d45df4f8a";

    #[derive(Debug, Parser)]
    struct Query {
        #[command(flatten)]
        command: QueryRoutes,
    }

    fn query(args: &[&str]) -> Result<QueryRoutesRequest, String> {
        let line = Query::try_parse_from(std::iter::once(&"ampcli").chain(args));
        let command = line.map_err(|error| error.to_string())?.command;
        command.request().map_err(|error| error.to_string())
    }

    #[test]
    fn queryroutes_flags_and_positional_values_are_equivalent() {
        let flags = query(&["--dest", NODE, "--amt=1000"]);
        assert_eq!(query(&[NODE, "1000"]), flags);
        assert_eq!(query(&["--dest", NODE, "1000"]), flags);
        let request = flags.unwrap();
        assert_eq!((request.amt, request.amt_msat), (0, 1_000_000));
        assert_eq!(request.fee_limit, None);
    }

    #[test]
    fn restrictions_of_queryroutes_are_copied_to_the_request() {
        let pair = format!("--ignore_pair={NODE}:{NODE}");
        let hints = r#"[{"hop_hints":[{"node_id":"02","chan_id":5,"cltv_expiry_delta":40}]}]"#;
        let request = query(&[
            NODE,
            "1500msat",
            &pair,
            "--fee_limit_percent=3",
            "--route_hints",
            hints,
            "--outgoing_chan_id=7",
            "--outgoing_chan_id=8",
        ])
        .unwrap();
        assert_eq!(request.amt_msat, 1_500);
        assert_eq!(request.ignored_pairs[0].from[0], 3);
        assert_eq!(request.fee_limit.unwrap().limit, Some(Limit::Percent(3)));
        assert_eq!(request.route_hints[0].hop_hints[0].chan_id, 5);
        assert_eq!(request.outgoing_chan_ids, [7, 8]);
    }

    #[test]
    fn rejects_invalid_arguments() {
        assert_eq!(query(&[]), Err("dest argument missing".into()));
        assert_eq!(query(&[NODE]), Err("amt argument missing".into()));
        for args in [
            vec![NODE, "1", "2"],
            vec![NODE, "x"],
            vec![NODE, "1", "--ignore_pair=02"],
            vec![NODE, "1", "--route_hints={}"],
        ] {
            assert!(query(&args).is_err(), "{args:?}");
        }
    }

    #[derive(Debug, Parser)]
    struct Estimate {
        #[command(flatten)]
        command: EstimateRouteFee,
    }

    fn estimate(args: &[&str]) -> Result<RouteFeeRequest, String> {
        let line = Estimate::try_parse_from(std::iter::once(&"ampcli").chain(args));
        let command = line.map_err(|error| error.to_string())?.command;
        command.request().map_err(|error| error.to_string())
    }

    #[test]
    fn estimates_for_a_node_or_an_invoice() {
        let node = estimate(&["--dest", NODE, "--amt=5"]).unwrap();
        assert_eq!((node.dest.len(), node.amt_sat), (33, 5));
        let invoice = estimate(&["--pay_req=lightning:lnbc1", "--timeout=5s"]).unwrap();
        assert_eq!(invoice.payment_request, "lnbc1");
        assert_eq!((invoice.timeout, invoice.amt_sat), (5, 0));
        assert_eq!(
            estimate(&["--dest=00", "--amt=5"]),
            Err("dest node pubkey must be exactly 33 bytes, is instead: 1".into())
        );
        for args in [
            vec![],
            vec!["--dest", NODE],
            vec!["--dest", NODE, "--amt=0"],
            vec!["--dest", NODE, "--amt=5", "--pay_req=x"],
        ] {
            assert!(estimate(&args).is_err(), "{args:?}");
        }
    }
}
