//! Converts a route found for an API client to lnd's `Route`.

use lightning::routing::router::Path;

use crate::payments::hops;
use crate::rpc::convert::payment::plain_route;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc;

/// Returns the route with the fields that lnd fills in for a route that has not been used yet.
pub(in crate::rpc) fn route(context: &Context, path: &Path) -> lnrpc::Route {
    let mut route = plain_route(&hops(path, context.routes.height()));
    // lnd sets it only on payments.
    route.first_hop_amount_msat = 0;
    let capacities = context.routes.capacities_sat(path);
    for (hop, capacity) in route.hops.iter_mut().zip(capacities) {
        hop.chan_capacity = capacity.map_or(hop.chan_capacity, signed);
    }
    route
}
