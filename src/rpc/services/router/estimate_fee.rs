//! EstimateRouteFee: from the graph for a public key, by a probe for an invoice.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use crate::invoices::decode::DecodedInvoice;
use crate::model::attempt::HopRecord;
use crate::payments::hops;
use crate::payments::probe::{Probe, ProbeEnd};
use crate::routing::RouteQuery;
use crate::routing::query::BLOCK_PADDING;
use crate::routing::query_routes::{Avoid, RouteRequest};
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::{amount_msat, check_network, public_key, within};
use crate::rpc::convert::payment::failure_reason;
use crate::rpc::transport::streams::blocking;
use crate::rpc::{Context, signed};
use ldk_amp::{MppRecord, PaymentAddr};
use lnd_api::proto::lnrpc::PaymentFailureReason;
use lnd_api::proto::routerrpc::{RouteFeeRequest, RouteFeeResponse};

/// lnd's fee limit of an estimate (msat) and default timeout of a probe (seconds).
const FEE_LIMIT_MSAT: u64 = 100_000_000 * 1000;
const DEFAULT_TIMEOUT: u32 = 60;

/// Estimates the fee and time lock of a payment.
pub(super) async fn estimate(
    context: Arc<Context>,
    request: RouteFeeRequest,
) -> Result<RouteFeeResponse, Status> {
    match (request.dest.is_empty(), request.payment_request.is_empty()) {
        (false, true) => blocking(move || by_graph(&context, &request)).await,
        (true, false) => by_probe(&context, request).await,
        _ => Err(refused("specify either a destination or an invoice")),
    }
}

fn by_graph(context: &Context, request: &RouteFeeRequest) -> Result<RouteFeeResponse, Status> {
    if request.dest.len() != 33 {
        return Err(refused("invalid length destination key"));
    }
    if request.amt_sat <= 0 {
        return Err(refused("amount must be greater than 0"));
    }
    let destination = public_key(&request.dest)?;
    let amount_msat = amount_msat(request.amt_sat, 0)?;
    let mpp = MppRecord {
        payment_addr: PaymentAddr::from_bytes([0; 32]),
        total_msat: amount_msat,
    };
    let onion = ldk_amp::recipient_fields(&mpp, None, None, &[])
        .map_err(|error| Status::internal(error.to_string()))?;
    let route_request = RouteRequest {
        query: RouteQuery {
            // A payment adds the block padding; lnd's estimate includes it as well.
            final_cltv_delta: context.node.cltv_delta.saturating_add(BLOCK_PADDING),
            outgoing_channels: request.outgoing_chan_ids.clone(),
            ..RouteQuery::new(destination, amount_msat, FEE_LIMIT_MSAT)
        },
        avoid: Avoid::default(),
        use_scores: true,
        onion: &onion,
    };
    let found = context.routes.query(&route_request)?;
    Ok(cost(&hops(&found.path, found.height)))
}

async fn by_probe(context: &Context, request: RouteFeeRequest) -> Result<RouteFeeResponse, Status> {
    let probe = probe(context, request)?;
    Ok(match context.payments.probe(probe).await? {
        ProbeEnd::Reached(route) => cost(&route),
        ProbeEnd::Failed(reason) => RouteFeeResponse {
            failure_reason: failure_reason(reason).into(),
            ..Default::default()
        },
    })
}

fn probe(context: &Context, request: RouteFeeRequest) -> Result<Probe, Status> {
    let invoice: DecodedInvoice = request.payment_request.parse()?;
    check_network(invoice.network, context.node.network)?;
    let amount_msat = invoice.amount_msat.filter(|msat| *msat > 0);
    let no_amount = || refused("payment request amount must be greater than 0");
    Ok(Probe {
        destination: invoice.destination,
        amount_msat: amount_msat.ok_or_else(no_amount)?,
        payment_addr: PaymentAddr::from_bytes(invoice.payment_secret.0),
        final_cltv_delta: within(invoice.cltv_delta, "the invoice's final CLTV delta")?,
        metadata: invoice.payment_metadata,
        route_hints: invoice.route_hints,
        fee_limit_msat: FEE_LIMIT_MSAT,
        outgoing_channels: request.outgoing_chan_ids,
        timeout: Duration::from_secs(match request.timeout {
            0 => DEFAULT_TIMEOUT.into(),
            seconds => seconds.into(),
        }),
    })
}

/// Returns the fee and the expiry height of the first HTLC.
fn cost(route: &[HopRecord]) -> RouteFeeResponse {
    let fees = route.iter().map(|hop| hop.fee_msat);
    let first = route.first();
    let time_lock = first.map_or(0, |hop| hop.expiry.saturating_add(hop.cltv_delta));
    RouteFeeResponse {
        routing_fee_msat: signed(fees.fold(0, u64::saturating_add)),
        time_lock_delay: time_lock.into(),
        failure_reason: PaymentFailureReason::FailureReasonNone.into(),
    }
}
