//! BuildRoute.

use tonic::Status;

use crate::routing::build_route::RoutePlan;
use crate::rpc::Context;
use crate::rpc::convert::errors::unsupported;
use crate::rpc::convert::parse::{amount_msat, optional_32, public_key, within};
use crate::rpc::convert::query_routes;
use lnd_api::proto::lnrpc::{MppRecord, Route};
use lnd_api::proto::routerrpc::{BuildRouteRequest, BuildRouteResponse};

/// Builds a route over the given nodes.
pub(super) fn build(
    context: &Context,
    request: &BuildRouteRequest,
) -> Result<BuildRouteResponse, Status> {
    let payment_addr = optional_32(&request.payment_addr, "payment addr")?;
    let plan = plan(request, context.node.cltv_delta)?;
    let path = context.routes.build(&plan)?;
    let mut route = query_routes::route(context, &path);
    if let Some(address) = payment_addr {
        add_mpp_record(&mut route, address);
    }
    Ok(BuildRouteResponse { route: Some(route) })
}

/// Parses the request. `cltv_delta` is the final CLTV delta if the client sets none.
fn plan(request: &BuildRouteRequest, cltv_delta: u32) -> Result<RoutePlan, Status> {
    if !request.first_hop_custom_records.is_empty() {
        return Err(unsupported("first_hop_custom_records is not supported"));
    }
    let nodes = request.hop_pubkeys.iter().map(|bytes| public_key(bytes));
    let final_cltv_delta: u16 = within(request.final_cltv_delta, "final_cltv_delta")?;
    Ok(RoutePlan {
        nodes: nodes.collect::<Result<_, _>>()?,
        amount_msat: match amount_msat(0, request.amt_msat)? {
            0 => None,
            amount => Some(amount),
        },
        final_cltv_delta: match final_cltv_delta {
            0 => cltv_delta,
            blocks => blocks.into(),
        },
        outgoing_channel: Some(request.outgoing_chan_id).filter(|scid| *scid != 0),
    })
}

/// Adds an MPP record for paying the whole amount over this route; a client that sends only a part of a
/// payment over it changes the total.
fn add_mpp_record(route: &mut Route, address: [u8; 32]) {
    if let Some(last) = route.hops.last_mut() {
        last.mpp_record = Some(MppRecord {
            payment_addr: address.to_vec(),
            total_amt_msat: last.amt_to_forward_msat,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0263023b725db9e82890799459688ca409a67560e4dc5f3e9ff442e63bac5a1f5c";

    fn request() -> BuildRouteRequest {
        use bitcoin::hex::FromHex;
        BuildRouteRequest {
            hop_pubkeys: vec![Vec::from_hex(NODE).unwrap()],
            ..Default::default()
        }
    }

    #[test]
    fn unset_fields_use_the_nodes_defaults() {
        let plan = plan(&request(), 80).unwrap();
        assert_eq!((plan.amount_msat, plan.outgoing_channel), (None, None));
        assert_eq!(plan.final_cltv_delta, 80);
        assert_eq!(plan.nodes[0].to_string(), NODE);
    }

    #[test]
    fn rejects_malformed_requests() {
        type Change = fn(&mut BuildRouteRequest);
        let changes: [(Change, &str); 4] = [
            (|r| r.amt_msat = -1, "amount cannot be negative"),
            (
                |r| r.final_cltv_delta = -1,
                "final_cltv_delta is out of range: -1",
            ),
            (
                |r| r.hop_pubkeys = vec![vec![2]],
                "invalid vertex length of 1, want 33",
            ),
            (
                |r| _ = r.first_hop_custom_records.insert(65_536, vec![]),
                "first_hop_custom_records is not supported",
            ),
        ];
        for (change, text) in changes {
            let mut request = request();
            change(&mut request);
            assert_eq!(plan(&request, 80).unwrap_err().message(), text);
        }
    }
}
