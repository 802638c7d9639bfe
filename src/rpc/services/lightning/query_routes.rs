//! QueryRoutes.

use std::collections::{BTreeMap, HashSet};

use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::gossip::NodeId;
use tonic::Status;

use crate::payments::SendError;
use crate::routing::RouteQuery;
use crate::routing::query::DEFAULT_CLTV_LIMIT;
use crate::routing::query_routes::{Avoid, RouteRequest, Routes};
use crate::rpc::Context;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::parse::{amount_msat, not_negative, public_key, public_key_hex, within};
use crate::rpc::convert::query_routes;
use crate::rpc::convert::route_hints;
use ldk_amp::{MppRecord, PaymentAddr};
use lnd_api::proto::lnrpc::fee_limit::Limit;
use lnd_api::proto::lnrpc::{FeatureBit, FeeLimit, QueryRoutesRequest, QueryRoutesResponse};

/// lnd's default fee limit: the whole amount up to 1000 sat, 5 percent above that.
const SMALL_AMOUNT_MSAT: u64 = 1_000_000;
const DEFAULT_PERCENT: u64 = 5;

/// Returns one route, or lnd's error if there is none.
pub(super) fn find(
    context: &Context,
    request: &QueryRoutesRequest,
) -> Result<QueryRoutesResponse, Status> {
    refuse_unsupported(context, request)?;
    let query = query(context, request)?;
    let onion = onion(query.amount_msat, &request.dest_custom_records)?;
    let route_request = RouteRequest {
        query,
        avoid: avoid(&context.routes, request)?,
        use_scores: request.use_mission_control,
        onion: &onion,
    };
    let found = context.routes.query(&route_request)?;
    Ok(QueryRoutesResponse {
        routes: vec![query_routes::route(context, &found.path)],
        success_prob: found.success_probability,
    })
}

fn refuse_unsupported(context: &Context, request: &QueryRoutesRequest) -> Result<(), Status> {
    if !request.blinded_payment_paths.is_empty() {
        return Err(unsupported("blinded_payment_paths are not supported"));
    }
    if !request.source_pub_key.is_empty()
        && public_key_hex(&request.source_pub_key)? != context.node.id
    {
        return Err(unsupported(
            "source_pub_key must be this node: routes from other nodes are not supported",
        ));
    }
    if !(-1.0..=1.0).contains(&request.time_pref) {
        return Err(refused("time preference out of range"));
    }
    check_features(&request.dest_features)
}

/// Refuses unknown required features. Known ones do not affect a single-path route.
fn check_features(bits: &[i32]) -> Result<(), Status> {
    let unknown = |bit: &&i32| **bit % 2 == 0 && FeatureBit::try_from(**bit).is_err();
    match bits.iter().find(unknown) {
        Some(bit) => Err(refused(format!(
            "destination requires feature {bit}, which is unknown"
        ))),
        None => Ok(()),
    }
}

fn query(context: &Context, request: &QueryRoutesRequest) -> Result<RouteQuery, Status> {
    let amount_msat = amount_msat(request.amt, request.amt_msat)?;
    let final_cltv_delta: u16 = within(request.final_cltv_delta, "final_cltv_delta")?;
    let final_cltv_delta = match final_cltv_delta {
        0 => context.node.cltv_delta,
        blocks => blocks.into(),
    };
    let last_hop = match request.last_hop_pubkey.as_slice() {
        [] => None,
        bytes => Some(public_key(bytes)?),
    };
    let payee = public_key_hex(&request.pub_key)?;
    let fee_limit_msat = fee_limit_msat(request.fee_limit.as_ref(), amount_msat)?;
    Ok(RouteQuery {
        final_cltv_delta,
        cltv_limit: Some(cltv_limit(request.cltv_limit, final_cltv_delta)?),
        outgoing_channels: request.outgoing_chan_ids.clone(),
        last_hop,
        route_hints: route_hints::from_messages(&request.route_hints)?,
        ..RouteQuery::new(payee, amount_msat, fee_limit_msat)
    })
}

/// Returns the maximum time lock of the whole route, in blocks.
fn cltv_limit(limit: u32, final_cltv_delta: u32) -> Result<u32, Status> {
    let limit = match limit {
        0 => DEFAULT_CLTV_LIMIT,
        limit if limit > DEFAULT_CLTV_LIMIT => {
            return Err(refused(format!(
                "total time lock of {limit} exceeds max allowed {DEFAULT_CLTV_LIMIT}"
            )));
        }
        limit => limit,
    };
    if limit <= final_cltv_delta {
        let least = final_cltv_delta;
        return Err(SendError::CltvLimit { limit, least }.into());
    }
    Ok(limit)
}

fn fee_limit_msat(limit: Option<&FeeLimit>, amount_msat: u64) -> Result<u64, Status> {
    let percent = |percent: u64| {
        let limit = u128::from(amount_msat) * u128::from(percent) / 100;
        u64::try_from(limit).unwrap_or(u64::MAX)
    };
    Ok(match limit.and_then(|limit| limit.limit) {
        Some(Limit::Fixed(sat)) => not_negative(sat, "fee_limit")?.saturating_mul(1000),
        Some(Limit::FixedMsat(msat)) => not_negative(msat, "fee_limit")?,
        Some(Limit::Percent(given)) => percent(not_negative(given, "fee_limit")?),
        None if amount_msat <= SMALL_AMOUNT_MSAT => amount_msat,
        None => percent(DEFAULT_PERCENT),
    })
}

/// Returns the final hop's payload as a payment would have it.
fn onion(
    amount_msat: u64,
    records: &BTreeMap<u64, Vec<u8>>,
) -> Result<RecipientOnionFields, Status> {
    let mpp = MppRecord {
        payment_addr: PaymentAddr::from_bytes([0; 32]),
        total_msat: amount_msat,
    };
    let records: Vec<_> = records.clone().into_iter().collect();
    ldk_amp::recipient_fields(&mpp, None, None, &records)
        .map_err(|_| refused("no custom records with types below 65536 allowed"))
}

fn avoid(routes: &Routes, request: &QueryRoutesRequest) -> Result<Avoid, Status> {
    let node = |bytes: &Vec<u8>| public_key(bytes).map(|key| NodeId::from_pubkey(&key));
    let nodes = request.ignored_nodes.iter().map(node);
    let pair = |pair: &lnd_api::proto::lnrpc::NodePair| Ok((node(&pair.from)?, node(&pair.to)?));
    let pairs = request.ignored_pairs.iter().map(pair);
    let mut pairs: HashSet<_> = pairs.collect::<Result<_, Status>>()?;
    for edge in &request.ignored_edges {
        // A channel that is not in the graph cannot be on the route; lnd skips it as well.
        if let Some((one, two)) = routes.ends(edge.channel_id) {
            pairs.insert(match edge.direction_reverse {
                false => (one, two),
                true => (two, one),
            });
        }
    }
    Ok(Avoid {
        nodes: nodes.collect::<Result<_, _>>()?,
        pairs,
    })
}

#[cfg(test)]
mod tests;
