//! `sendtoroute`: sends one HTLC over a given route.

use std::io::{self, Read};

use clap::Args;
use serde_json::Value;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print;
use super::values::hex;
use lnd_api::from_json;
use lnd_api::proto::lnrpc::{QueryRoutesResponse, Route};
use lnd_api::proto::routerrpc::{BuildRouteResponse, SendToRouteRequest};

/// Send an HTLC over a given route and wait until it is settled or failed.
///
/// For AMP, the last hop of the route must have an mpp_record and an amp_record, and the payment hash is that
/// of the shard.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SendToRoute {
    /// PAYMENT_HASH ROUTE, except those set by flags; the route - is read from stdin
    #[arg(value_name = "VALUES")]
    values: Vec<String>,
    /// Payment hash of the HTLC (hex)
    #[arg(long, alias = "pay_hash")]
    payment_hash: Option<String>,
    /// Route as printed by queryroutes or buildroute (JSON); - reads it from stdin
    #[arg(long, short)]
    routes: Option<String>,
    /// Do not fail the payment if an intermediate node fails the HTLC, so that it can be retried
    #[arg(long)]
    skip_temp_err: bool,
}

impl SendToRoute {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request(&mut io::stdin().lock())?;
        print(node.router.send_to_route_v2(request).await?.get_ref())
    }

    fn request(self, stdin: &mut impl Read) -> Result<SendToRouteRequest, CliError> {
        let mut values = self.values.into_iter();
        let Some(hash) = self.payment_hash.or_else(|| values.next()) else {
            return error("payment hash argument missing");
        };
        let Some(routes) = self.routes.or_else(|| values.next()) else {
            return error("route argument missing: set --routes, or - to read it from stdin");
        };
        if let Some(value) = values.next() {
            return error(format!("unexpected argument {value:?}"));
        }
        Ok(SendToRouteRequest {
            payment_hash: payment_hash(&hash)?,
            route: Some(route(&json(routes, stdin)?)?),
            skip_temp_err: self.skip_temp_err,
            ..Default::default()
        })
    }
}

fn payment_hash(text: &str) -> Result<Vec<u8>, CliError> {
    let hash = hex(text).map_err(|text| CliError::Text(format!("payment_hash: {text}")))?;
    match hash.0.len() {
        32 => Ok(hash.0),
        length => error(format!(
            "payment hash must be exactly 32 bytes, is instead {length}"
        )),
    }
}

fn json(routes: String, stdin: &mut impl Read) -> Result<Value, CliError> {
    let mut text = routes;
    if text == "-" {
        text.clear();
        let read = stdin.read_to_string(&mut text);
        read.map_err(|error| CliError::Text(format!("cannot read the route from stdin: {error}")))?;
        if text.trim().is_empty() {
            return error("queryroutes output is empty");
        }
    }
    serde_json::from_str(&text)
        .map_err(|error| CliError::Text(format!("the route is not JSON: {error}")))
}

/// Parses the output of queryroutes, a list with a single route, or of buildroute, an object with a route.
fn route(json: &Value) -> Result<Route, CliError> {
    if json.get("routes").is_none() {
        let built: BuildRouteResponse = from_json(json).map_err(parse_error)?;
        return match built.route {
            Some(route) => Ok(route),
            None => error("no routes provided"),
        };
    }
    let found: QueryRoutesResponse = from_json(json).map_err(parse_error)?;
    let [route] = <[Route; 1]>::try_from(found.routes).map_err(|routes| {
        CliError::Text(match routes.len() {
            0 => "no routes provided".to_owned(),
            count => format!("expected a single route, but got {count}"),
        })
    })?;
    Ok(route)
}

fn parse_error(reason: String) -> CliError {
    CliError::Text(format!("cannot parse the route: {reason}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::tests::recorded_text;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: SendToRoute,
    }

    fn request(args: &[&str], stdin: &str) -> Result<SendToRouteRequest, String> {
        let line = Line::try_parse_from(std::iter::once(&"ampcli").chain(args));
        let command = line.map_err(|error| error.to_string())?.command;
        command
            .request(&mut stdin.as_bytes())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn accepts_output_of_queryroutes_and_buildroute() {
        let hash = "11".repeat(32);
        let (found, built) = (
            recorded_text("queryroutes.json"),
            recorded_text("buildroute.json"),
        );
        let flags = request(&["--payment_hash", &hash, "--routes", &built], "");
        assert_eq!(request(&[&hash, &built], ""), flags);
        assert_eq!(request(&["--pay_hash", &hash, "-"], &built), flags);
        let built = flags.unwrap().route.unwrap();
        let found = request(&[&hash, "-"], &found).unwrap().route.unwrap();
        assert_eq!((built.hops.len(), found.hops.len()), (2, 2));
        let mpp = built.hops[1].mpp_record.as_ref().unwrap();
        assert_eq!(
            (mpp.payment_addr.len(), mpp.total_amt_msat),
            (32, 1_000_000)
        );
    }

    #[test]
    fn rejects_invalid_arguments() {
        let hash = "11".repeat(32);
        for (args, stdin, text) in [
            (vec![], "", "payment hash argument missing"),
            (
                vec!["00", "{}"],
                "",
                "payment hash must be exactly 32 bytes, is instead 1",
            ),
            (vec![&hash, "-"], " ", "queryroutes output is empty"),
            (vec![&hash, "{}"], "", "no routes provided"),
            (vec![&hash, r#"{"routes":[]}"#], "", "no routes provided"),
            (
                vec![&hash, r#"{"routes":[{},{}]}"#],
                "",
                "expected a single route, but got 2",
            ),
        ] {
            assert_eq!(request(&args, stdin), Err(text.to_owned()));
        }
        for args in [
            vec![hash.as_str()],
            vec![&hash, "x"],
            vec![&hash, "{}", "1"],
        ] {
            assert!(request(&args, "").is_err(), "{args:?}");
        }
    }
}
