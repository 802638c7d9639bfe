//! Converts a route found for an API client to lnd's `Route`.

use std::collections::HashMap;

use lightning::routing::router::Path;

use crate::payments::hops;
use crate::rpc::convert::payment::plain_route;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc;

/// Returns the route with the fields that lnd fills in for a route that has not been used yet.
pub(in crate::rpc) fn route(context: &Context, path: &Path) -> lnrpc::Route {
    let height = context.manager.current_best_block().height;
    let mut route = plain_route(&hops(path, height));
    // lnd sets it only on payments.
    route.first_hop_amount_msat = 0;
    let capacities = own_capacities(context);
    for hop in &mut route.hops {
        let known = capacities.get(&hop.chan_id).copied();
        if let Some(sat) = known.or_else(|| context.routes.capacity_sat(hop.chan_id)) {
            hop.chan_capacity = signed(sat);
        }
    }
    route
}

/// Capacities of our channels in sat, by their SCIDs and outbound SCID aliases.
fn own_capacities(context: &Context) -> HashMap<u64, u64> {
    let channels = context.manager.list_channels().into_iter();
    let named = channels.flat_map(|channel| {
        let names = [channel.short_channel_id, channel.outbound_scid_alias];
        let capacity = channel.channel_value_satoshis;
        names
            .into_iter()
            .flatten()
            .map(move |scid| (scid, capacity))
    });
    named.collect()
}
