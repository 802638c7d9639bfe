//! SendToRouteV2.

use bitcoin::secp256k1::PublicKey;
use lightning::routing::gossip::NodeId;
use lightning_types::payment::PaymentHash;
use tonic::Status;

use crate::payments::send_to_route::RouteAttempt;
use crate::payments::{GivenHop, GivenRoute};
use crate::rpc::Context;
use crate::rpc::convert::errors::{refused, unsupported};
use crate::rpc::convert::parse::{hash, not_negative, public_key_hex};
use crate::rpc::convert::payment::attempt;
use ldk_amp::{AmpRecord, MppRecord, PaymentAddr, SetId, Share};
use lnd_api::proto::lnrpc;
use lnd_api::proto::routerrpc::SendToRouteRequest;

/// Sends one HTLC and waits until it is settled or failed.
pub(super) async fn send(
    context: &Context,
    request: SendToRouteRequest,
) -> Result<lnrpc::HtlcAttempt, Status> {
    let ends = |scid| context.routes.ends(scid);
    let asked = read(request, &context.node.id, ends)?;
    let metadata = asked.metadata.clone().unwrap_or_default();
    let ended = context.payments.send_to_route(asked).await?;
    Ok(attempt(&ended.payment, &ended.attempt, &metadata))
}

/// Parses the request. `ends` returns a channel's nodes, for hops without a public key.
fn read(
    request: SendToRouteRequest,
    our_node_id: &PublicKey,
    ends: impl Fn(u64) -> Option<(NodeId, NodeId)>,
) -> Result<RouteAttempt, Status> {
    if !request.first_hop_custom_records.is_empty() {
        return Err(unsupported("first_hop_custom_records is not supported"));
    }
    let no_route = || refused("unable to send, no routes provided");
    let route = request.route.ok_or_else(no_route)?;
    let payment_hash = PaymentHash(hash(&request.payment_hash)?);
    let given = given_route(&route, our_node_id, ends)?;
    let mut hops = route.hops;
    let last = hops.pop().unwrap_or_default();
    hops.iter().try_for_each(refuse_records)?;
    refuse_blinding(&last)?;
    if last.custom_records.keys().any(|kind| *kind < 65_536) {
        return Err(refused("no custom records with types below 65536 allowed"));
    }
    Ok(RouteAttempt {
        payment_hash,
        route: given,
        mpp: last.mpp_record.as_ref().map(mpp_record).transpose()?,
        amp: last.amp_record.as_ref().map(amp_record).transpose()?,
        metadata: Some(last.metadata).filter(|bytes| !bytes.is_empty()),
        custom_records: last.custom_records,
        skip_temp_err: request.skip_temp_err,
    })
}

fn given_route(
    route: &lnrpc::Route,
    our_node_id: &PublicKey,
    ends: impl Fn(u64) -> Option<(NodeId, NodeId)>,
) -> Result<GivenRoute, Status> {
    let mut before = *our_node_id;
    let mut hops = Vec::new();
    for hop in &route.hops {
        let node = match hop.pub_key.is_empty() {
            false => public_key_hex(&hop.pub_key)?,
            true => other_end(hop.chan_id, &before, &ends)?,
        };
        before = node;
        hops.push(GivenHop {
            node,
            scid: hop.chan_id,
            forward_msat: not_negative(hop.amt_to_forward_msat, "amt_to_forward_msat")?,
            expiry: hop.expiry,
        });
    }
    Ok(GivenRoute {
        total_msat: not_negative(route.total_amt_msat, "total_amt_msat")?,
        total_time_lock: route.total_time_lock,
        hops,
    })
}

/// Returns the channel's other node.
fn other_end(
    scid: u64,
    from: &PublicKey,
    ends: impl Fn(u64) -> Option<(NodeId, NodeId)>,
) -> Result<PublicKey, Status> {
    let unknown = || refused(format!("channel {scid} is unknown: set pub_key of its hop"));
    let (one, two) = ends(scid).ok_or_else(unknown)?;
    let from = NodeId::from_pubkey(from);
    let to = if one == from {
        two
    } else if two == from {
        one
    } else {
        return Err(refused("channel edge does not match expected node"));
    };
    PublicKey::from_slice(to.as_slice()).map_err(|_| unknown())
}

/// Refuses records for intermediate hops: LDK writes records into the final payload only.
fn refuse_records(hop: &lnrpc::Hop) -> Result<(), Status> {
    refuse_blinding(hop)?;
    if hop.mpp_record.is_some() || hop.amp_record.is_some() {
        return Err(refused("cannot send MPP to intermediate"));
    }
    if !hop.custom_records.is_empty() || !hop.metadata.is_empty() {
        return Err(unsupported(
            "custom_records and metadata are supported for the last hop only",
        ));
    }
    Ok(())
}

fn refuse_blinding(hop: &lnrpc::Hop) -> Result<(), Status> {
    let is_plain =
        hop.blinding_point.is_empty() && hop.encrypted_data.is_empty() && hop.total_amt_msat == 0;
    match is_plain {
        true => Ok(()),
        false => Err(unsupported("blinded hops are not supported")),
    }
}

fn mpp_record(record: &lnrpc::MppRecord) -> Result<MppRecord, Status> {
    let total_msat = not_negative(record.total_amt_msat, "total_amt_msat of mpp_record")?;
    let missing = match (total_msat, record.payment_addr.as_slice()) {
        (0, []) => Some("missing total_msat and payment_addr"),
        (_, []) => Some("missing payment_addr"),
        (0, _) => Some("missing total_msat"),
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(refused(missing));
    }
    let address = hash(&record.payment_addr)
        .map_err(|error| refused(format!("unable to parse payment_addr: {}", error.message())))?;
    Ok(MppRecord {
        payment_addr: PaymentAddr::from_bytes(address),
        total_msat,
    })
}

fn amp_record(record: &lnrpc::AmpRecord) -> Result<AmpRecord, Status> {
    let field = |bytes: &[u8], name: &str| {
        <[u8; 32]>::try_from(bytes).map_err(|_| refused(format!("AMP {name} must be 32 bytes")))
    };
    Ok(AmpRecord {
        share: Share::from_bytes(field(&record.root_share, "root_share")?),
        set_id: SetId::from_bytes(field(&record.set_id, "set_id")?),
        child_index: record.child_index,
    })
}

#[cfg(test)]
mod tests;
