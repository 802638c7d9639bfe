//! Conversion of our payments to lnd's `Payment` message.

use bitcoin::hex::DisplayHex;

use crate::invoices::decode::DecodedInvoice;
use crate::model::attempt::{AttemptRecord, AttemptState, HopRecord};
use crate::model::payment::{FailureReason, PaymentRecord, PaymentState};
use crate::payments::PaymentView;
use crate::rpc::signed;
use lnd_api::proto::lnrpc;
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;

const SECOND_NS: u64 = 1_000_000_000;

/// Returns the payment with all its attempts.
pub(in crate::rpc) fn payment(view: &PaymentView) -> lnrpc::Payment {
    let record = &view.record;
    let fee_msat = view.fee_msat();
    let value_msat = record.terms.amount_msat;
    let (status, failure_reason) = status(record);
    let metadata = metadata(&record.terms.payment_request);
    let attempts = view.attempts.iter();
    lnrpc::Payment {
        payment_hash: record.identifier.to_lower_hex_string(),
        value: signed(value_msat / 1000),
        creation_date: signed(record.created_at_ns / SECOND_NS),
        fee: signed(fee_msat / 1000),
        payment_preimage: payment_preimage(record),
        value_sat: signed(value_msat / 1000),
        value_msat: signed(value_msat),
        payment_request: record.terms.payment_request.clone(),
        status: status.into(),
        fee_sat: signed(fee_msat / 1000),
        fee_msat: signed(fee_msat),
        creation_time_ns: signed(record.created_at_ns),
        htlcs: attempts.map(|a| attempt(record, a, &metadata)).collect(),
        payment_index: record.payment_index,
        failure_reason: failure_reason.into(),
        first_hop_custom_records: Default::default(),
    }
}

/// Returns the preimage in hex; zeros if it is not known, as in lnd.
fn payment_preimage(record: &PaymentRecord) -> String {
    let preimage = record.preimage.map_or([0; 32], |preimage| preimage.0);
    preimage.to_lower_hex_string()
}

/// Returns the invoice's payment metadata (BOLT 11, field m), which the sender passes to the receiver.
fn metadata(payment_request: &str) -> Vec<u8> {
    let invoice = payment_request.parse::<DecodedInvoice>().ok();
    invoice
        .and_then(|invoice| invoice.payment_metadata)
        .unwrap_or_default()
}

fn status(record: &PaymentRecord) -> (PaymentStatus, lnrpc::PaymentFailureReason) {
    let status = match record.state {
        PaymentState::InFlight => PaymentStatus::InFlight,
        PaymentState::Succeeded => PaymentStatus::Succeeded,
        PaymentState::Failed => PaymentStatus::Failed,
    };
    (status, failure_reason(record.failure_reason))
}

/// Returns lnd's failure reason.
pub(in crate::rpc) fn failure_reason(reason: FailureReason) -> lnrpc::PaymentFailureReason {
    use lnrpc::PaymentFailureReason as Reason;
    match reason {
        FailureReason::None => Reason::FailureReasonNone,
        FailureReason::Timeout => Reason::FailureReasonTimeout,
        FailureReason::NoRoute => Reason::FailureReasonNoRoute,
        FailureReason::Error => Reason::FailureReasonError,
        FailureReason::IncorrectPaymentDetails => Reason::FailureReasonIncorrectPaymentDetails,
        FailureReason::InsufficientBalance => Reason::FailureReasonInsufficientBalance,
        FailureReason::Canceled => Reason::FailureReasonCanceled,
    }
}

/// Returns one attempt of the payment. `metadata` is the invoice's payment metadata.
pub(in crate::rpc) fn attempt(
    payment: &PaymentRecord,
    attempt: &AttemptRecord,
    metadata: &[u8],
) -> lnrpc::HtlcAttempt {
    let status = match attempt.state {
        AttemptState::InFlight => HtlcStatus::InFlight,
        AttemptState::Succeeded => HtlcStatus::Succeeded,
        AttemptState::Failed => HtlcStatus::Failed,
    };
    let preimage = attempt.preimage;
    lnrpc::HtlcAttempt {
        attempt_id: attempt.attempt_id,
        status: status.into(),
        route: Some(route(payment, attempt, metadata)),
        attempt_time_ns: signed(attempt.attempt_time_ns),
        resolve_time_ns: signed(attempt.resolve_time_ns.unwrap_or_default()),
        failure: (attempt.state == AttemptState::Failed).then(|| failure(attempt)),
        preimage: preimage.map_or_else(Vec::new, |preimage| preimage.0.to_vec()),
    }
}

/// Returns the failure with the most likely code: LDK reports the node that failed the HTLC and whether the
/// failure is permanent, but not the code (see `payments::failure` for the codes that remain possible).
fn failure(attempt: &AttemptRecord) -> lnrpc::Failure {
    let Some(failure) = &attempt.failure else {
        return lnrpc::Failure {
            code: FailureCode::UnknownFailure.into(),
            ..Default::default()
        };
    };
    let at_receiver = usize::try_from(failure.source_index) == Ok(attempt.route.len());
    let (code, height) = if failure.by_receiver {
        // The only code with a height.
        (
            FailureCode::IncorrectOrUnknownPaymentDetails,
            failure.height,
        )
    } else if failure.timed_out {
        (FailureCode::MppTimeout, 0)
    } else if failure.invalid_payload {
        (FailureCode::InvalidOnionPayload, 0)
    } else if at_receiver {
        (FailureCode::UnknownFailure, 0)
    } else {
        (FailureCode::TemporaryChannelFailure, 0)
    };
    lnrpc::Failure {
        code: code.into(),
        failure_source_index: failure.source_index,
        height,
        ..Default::default()
    }
}

fn route(payment: &PaymentRecord, attempt: &AttemptRecord, metadata: &[u8]) -> lnrpc::Route {
    let mut route = plain_route(&attempt.route);
    if let Some(last) = route.hops.last_mut() {
        add_final_records(last, payment, attempt);
        last.metadata = metadata.to_vec();
    }
    route
}

/// Returns the route without the receiver's records.
pub(in crate::rpc) fn plain_route(hops: &[HopRecord]) -> lnrpc::Route {
    let fees_msat = hops.iter().map(|hop| hop.fee_msat);
    let fees_msat = fees_msat.fold(0, u64::saturating_add);
    let amount_msat = hops.last().map_or(0, |hop| hop.amt_to_forward_msat);
    let total_msat = amount_msat.saturating_add(fees_msat);
    let first = hops.first();
    let total_time_lock = first.map_or(0, |hop| hop.expiry.saturating_add(hop.cltv_delta));
    lnrpc::Route {
        total_time_lock,
        total_fees: signed(fees_msat / 1000),
        total_amt: signed(total_msat / 1000),
        hops: hops.iter().map(hop).collect(),
        total_fees_msat: signed(fees_msat),
        total_amt_msat: signed(total_msat),
        first_hop_amount_msat: signed(total_msat),
        custom_channel_data: Vec::new(),
    }
}

fn hop(hop: &HopRecord) -> lnrpc::Hop {
    let incoming_msat = hop.amt_to_forward_msat.saturating_add(hop.fee_msat);
    lnrpc::Hop {
        chan_id: hop.scid,
        // lnd shows this for a channel of unknown capacity.
        chan_capacity: signed(incoming_msat / 1000),
        amt_to_forward: signed(hop.amt_to_forward_msat / 1000),
        fee: signed(hop.fee_msat / 1000),
        expiry: hop.expiry,
        amt_to_forward_msat: signed(hop.amt_to_forward_msat),
        fee_msat: signed(hop.fee_msat),
        pub_key: hop.node_id.clone(),
        tlv_payload: true,
        custom_records: hop.custom_records.clone(),
        ..Default::default()
    }
}

/// Adds the records in the receiver's payload.
fn add_final_records(hop: &mut lnrpc::Hop, payment: &PaymentRecord, attempt: &AttemptRecord) {
    hop.mpp_record = payment.terms.payment_addr.map(|addr| lnrpc::MppRecord {
        payment_addr: addr.as_bytes().to_vec(),
        total_amt_msat: signed(payment.terms.amount_msat),
    });
    hop.amp_record = attempt
        .shard
        .as_ref()
        .map(|(share, child_index)| lnrpc::AmpRecord {
            root_share: share.to_vec(),
            set_id: payment.identifier.to_vec(),
            child_index: *child_index,
        });
    hop.custom_records
        .extend(payment.terms.custom_records.clone());
}

/// Removes the hops of all routes, for long lists.
pub(in crate::rpc) fn without_hops(mut payment: lnrpc::Payment) -> lnrpc::Payment {
    for attempt in &mut payment.htlcs {
        if let Some(route) = &mut attempt.route {
            route.hops.clear();
        }
    }
    payment
}

#[cfg(test)]
mod tests;
