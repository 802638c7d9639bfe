//! Conversion of our invoices to lnd's `Invoice` message.

use std::collections::BTreeMap;

use lightning::util::ser::{BigSize, Writeable};
use lightning_types::payment::PaymentPreimage;

use crate::invoices::InvoiceView;
use crate::invoices::decode::DecodedInvoice;
use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord, ShardRecord};
use crate::model::invoice::{InvoiceKind, InvoiceState};
use crate::rpc::convert::features::{Features, features};
use crate::rpc::convert::route_hints;
use crate::rpc::signed;
use lnd_api::proto::lnrpc;
use lnd_api::proto::lnrpc::InvoiceHtlcState;
use lnd_api::proto::lnrpc::invoice::InvoiceState as State;

/// Go's zero time (year 1) in Unix seconds, which lnd shows for a set that is not settled.
const GO_ZERO_TIME: i64 = -62_135_596_800;

/// Features of the invoice created for a spontaneous AMP payment, as in lnd: TLV onion required, payment
/// address optional, AMP required.
const SPONTANEOUS_AMP_FEATURES: [u32; 3] = [8, 15, 30];

/// Features of the invoice created for a keysend payment, as in lnd: TLV onion required.
const KEYSEND_FEATURES: [u32; 1] = [8];

/// Returns the invoice with the view's HTLCs and sets.
pub(in crate::rpc) fn invoice(view: &InvoiceView) -> lnrpc::Invoice {
    let record = &view.record;
    let is_amp = record.kind.is_amp();
    let state = state(view);
    // Route hints, fallback address and features are stored only in the payment request.
    let decoded: Option<DecodedInvoice> = record.terms.payment_request.parse().ok();
    let (settled_at, settle_index) = if is_amp {
        (None, None)
    } else {
        (record.settled_at, record.settle_index)
    };
    let bytes = |array: &[u8; 32]| array.to_vec();
    let route_hints = decoded
        .as_ref()
        .map(|invoice| route_hints::to_messages(&invoice.route_hints))
        .unwrap_or_default();
    lnrpc::Invoice {
        memo: record.terms.memo.clone(),
        r_preimage: preimage_bytes(record.preimage),
        r_hash: if record.kind == InvoiceKind::SpontaneousAmp {
            Vec::new()
        } else {
            bytes(&record.payment_hash.0)
        },
        value: signed(record.value_msat / 1000),
        value_msat: signed(record.value_msat),
        settled: state == State::Settled,
        creation_date: signed(record.created_at),
        settle_date: signed(settled_at.unwrap_or_default()),
        payment_request: record.terms.payment_request.clone(),
        description_hash: record
            .terms
            .description_hash
            .as_ref()
            .map(bytes)
            .unwrap_or_default(),
        expiry: signed(record.terms.expiry),
        fallback_addr: decoded
            .as_ref()
            .and_then(|i| i.fallback.clone())
            .unwrap_or_default(),
        cltv_expiry: u64::from(record.terms.cltv_delta),
        // True only if there are hints, even if `private` was requested: without a private channel there are
        // none.
        private: !route_hints.is_empty(),
        route_hints,
        add_index: record.add_index,
        settle_index: settle_index.unwrap_or_default(),
        amt_paid: signed(record.amt_paid_msat),
        amt_paid_sat: signed(record.amt_paid_msat / 1000),
        amt_paid_msat: signed(record.amt_paid_msat),
        state: state.into(),
        htlcs: htlcs(&view.htlcs),
        features: decoded
            .as_ref()
            .map_or_else(|| features_of_spontaneous(record.kind), features_of),
        is_keysend: record.kind == InvoiceKind::Keysend,
        payment_addr: match record.kind {
            // Keysend has no payment address; the stored one is an internal identifier.
            InvoiceKind::Keysend => vec![0; 32],
            _ => bytes(record.payment_addr.as_bytes()),
        },
        is_amp,
        amp_invoice_state: view.sets.iter().map(amp_state).collect(),
        is_blinded: false,
        blinded_path_config: None,
    }
}

/// Returns the state as lnd shows it: a paid AMP invoice is settled, although it can be paid again.
fn state(view: &InvoiceView) -> State {
    if view.is_paid() {
        return State::Settled;
    }
    match view.record.state {
        // lnd has no disabled state; to payers, both mean that the invoice cannot be paid.
        InvoiceState::Canceled | InvoiceState::Disabled => State::Canceled,
        InvoiceState::Accepted => State::Accepted,
        InvoiceState::Open | InvoiceState::Settled => State::Open,
    }
}

/// Returns the features of an invoice.
pub(in crate::rpc) fn features_of(invoice: &DecodedInvoice) -> Features {
    let bits = invoice.features.iter();
    features(bits.filter_map(|bit| u32::try_from(*bit).ok()))
}

/// Returns the features of an invoice without a payment request.
fn features_of_spontaneous(kind: InvoiceKind) -> Features {
    match kind {
        InvoiceKind::Keysend => features(KEYSEND_FEATURES),
        _ => features(SPONTANEOUS_AMP_FEATURES),
    }
}

fn htlcs(records: &[HtlcRecord]) -> Vec<lnrpc::InvoiceHtlc> {
    let mut htlcs: Vec<_> = records.iter().map(htlc).collect();
    htlcs.sort_by_key(|htlc| (htlc.htlc_index, htlc.chan_id));
    htlcs
}

fn htlc(record: &HtlcRecord) -> lnrpc::InvoiceHtlc {
    lnrpc::InvoiceHtlc {
        chan_id: record.scid,
        htlc_index: record.htlc_id,
        amt_msat: record.amount_msat,
        accept_height: height(record.accept_height),
        accept_time: signed(record.accepted_at),
        resolve_time: signed(record.resolved_at.unwrap_or_default()),
        expiry_height: height(record.expiry_height),
        state: htlc_state(record.state).into(),
        custom_records: record.custom_records.clone(),
        mpp_total_amt_msat: record.total_msat,
        amp: record.shard.as_ref().map(|shard| amp(record, shard)),
        custom_channel_data: tlv_stream(&record.custom_records),
    }
}

/// Returns the records as a TLV stream (BOLT 1).
fn tlv_stream(records: &BTreeMap<u64, Vec<u8>>) -> Vec<u8> {
    let big_size = |value: usize| BigSize(value as u64).encode();
    let record = |(kind, value): (&u64, &Vec<u8>)| {
        [
            BigSize(*kind).encode(),
            big_size(value.len()),
            value.clone(),
        ]
        .concat()
    };
    records.iter().flat_map(record).collect()
}

/// Returns the AMP data of an HTLC, without the preimage until the HTLC is settled.
fn amp(record: &HtlcRecord, shard: &ShardRecord) -> lnrpc::Amp {
    let settled = record.state == HtlcState::Settled;
    let preimage = record.preimage.filter(|_| settled);
    lnrpc::Amp {
        root_share: shard.share.to_vec(),
        set_id: shard.set_id.as_bytes().to_vec(),
        child_index: shard.child_index,
        hash: record.payment_hash.0.to_vec(),
        preimage: preimage_bytes(preimage),
    }
}

/// An unknown preimage is empty, as in lnd.
fn preimage_bytes(preimage: Option<PaymentPreimage>) -> Vec<u8> {
    preimage.map_or_else(Vec::new, |preimage| preimage.0.to_vec())
}

fn amp_state(set: &SetRecord) -> (String, lnrpc::AmpInvoiceState) {
    let state = lnrpc::AmpInvoiceState {
        state: htlc_state(set.state).into(),
        settle_index: set.settle_index.unwrap_or_default(),
        settle_time: set.settled_at.map_or(GO_ZERO_TIME, signed),
        amt_paid_msat: signed(set.amt_paid_msat),
    };
    (set.set_id.to_string(), state)
}

fn htlc_state(state: HtlcState) -> InvoiceHtlcState {
    match state {
        HtlcState::Accepted => InvoiceHtlcState::Accepted,
        HtlcState::Settled => InvoiceHtlcState::Settled,
        HtlcState::Canceled => InvoiceHtlcState::Canceled,
    }
}

/// Converts a block height: lnd's messages have signed ones.
fn height(height: u32) -> i32 {
    i32::try_from(height).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
