//! An invoice of ours as lnd's `Invoice`.

use std::collections::BTreeMap;

use bitcoin::hex::DisplayHex;
use lightning::util::ser::{BigSize, Writeable};

use super::features::{Features, features};
use super::{route_hints, signed};
use crate::invoices::InvoiceView;
use crate::invoices::decode::DecodedInvoice;
use crate::storage::invoices::{
    HtlcRecord, HtlcState, InvoiceKind, InvoiceState, SetRecord, ShardRecord,
};
use lnd_api::proto::lnrpc;
use lnd_api::proto::lnrpc::InvoiceHtlcState;
use lnd_api::proto::lnrpc::invoice::InvoiceState as State;

/// Year 1, which is what lnd shows of a set that has not settled (Go's zero time).
const NEVER: i64 = -62_135_596_800;

/// What an invoice that a spontaneous AMP payment made for itself has: TLV onion required, payment
/// address optional, AMP required (lnd).
const SPONTANEOUS_AMP_FEATURES: [u32; 3] = [8, 15, 30];

/// What that of a keysend payment has: TLV onion required (lnd).
const KEYSEND_FEATURES: [u32; 1] = [8];

/// The invoice with the HTLCs and sets of this view.
pub(super) fn invoice(view: &InvoiceView) -> lnrpc::Invoice {
    let record = &view.record;
    let is_amp = record.kind.is_amp();
    let state = state(view);
    // The text is ours; what it says is not stored a second time.
    let said: Option<DecodedInvoice> = record.terms.payment_request.parse().ok();
    let (settled_at, settle_index) = if is_amp {
        (None, None)
    } else {
        (record.settled_at, record.settle_index)
    };
    let bytes = |array: &[u8; 32]| array.to_vec();
    let route_hints = said
        .as_ref()
        .map(|said| route_hints::to_messages(&said.route_hints))
        .unwrap_or_default();
    lnrpc::Invoice {
        memo: record.terms.memo.clone(),
        r_preimage: record.preimage.as_ref().map(bytes).unwrap_or_default(),
        r_hash: if record.kind == InvoiceKind::SpontaneousAmp {
            Vec::new()
        } else {
            bytes(&record.payment_hash)
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
        fallback_addr: said
            .as_ref()
            .and_then(|i| i.fallback.clone())
            .unwrap_or_default(),
        cltv_expiry: u64::from(record.terms.cltv_delta),
        // Not what its maker asked for: with no private channel there is nothing to tell.
        private: !route_hints.is_empty(),
        route_hints,
        add_index: record.add_index,
        settle_index: settle_index.unwrap_or_default(),
        amt_paid: signed(record.amt_paid_msat),
        amt_paid_sat: signed(record.amt_paid_msat / 1000),
        amt_paid_msat: signed(record.amt_paid_msat),
        state: state.into(),
        htlcs: htlcs(&view.htlcs),
        features: said
            .as_ref()
            .map_or_else(|| features_without_text(record.kind), features_of),
        is_keysend: record.kind == InvoiceKind::Keysend,
        payment_addr: match record.kind {
            // It has none; the one that is stored is a name of our own.
            InvoiceKind::Keysend => vec![0; 32],
            _ => bytes(&record.payment_addr),
        },
        is_amp,
        amp_invoice_state: view.sets.iter().map(amp_state).collect(),
        is_blinded: false,
        blinded_path_config: None,
    }
}

/// As lnd shows it: an AMP invoice that was paid is settled, though it can be paid again.
fn state(view: &InvoiceView) -> State {
    if view.is_paid() {
        return State::Settled;
    }
    match view.record.state {
        // lnd has no word for it; what matters is that it cannot be paid.
        InvoiceState::Canceled | InvoiceState::Disabled => State::Canceled,
        InvoiceState::Accepted => State::Accepted,
        InvoiceState::Open | InvoiceState::Settled => State::Open,
    }
}

/// The features that an invoice names.
pub(super) fn features_of(invoice: &DecodedInvoice) -> Features {
    let bits = invoice.features.iter();
    features(bits.filter_map(|bit| u32::try_from(*bit).ok()))
}

/// Those of an invoice that nobody asked for.
fn features_without_text(kind: InvoiceKind) -> Features {
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

/// The records once more, as a TLV stream (BOLT 1).
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

/// The preimage is a secret until the HTLC is settled.
fn amp(record: &HtlcRecord, shard: &ShardRecord) -> lnrpc::Amp {
    let settled = record.state == HtlcState::Settled;
    let preimage = record.preimage.filter(|_| settled);
    lnrpc::Amp {
        root_share: shard.share.to_vec(),
        set_id: shard.set_id.to_vec(),
        child_index: shard.child_index,
        hash: record.payment_hash.to_vec(),
        preimage: preimage.map(Vec::from).unwrap_or_default(),
    }
}

fn amp_state(set: &SetRecord) -> (String, lnrpc::AmpInvoiceState) {
    let state = lnrpc::AmpInvoiceState {
        state: htlc_state(set.state).into(),
        settle_index: set.settle_index.unwrap_or_default(),
        settle_time: set.settled_at.map_or(NEVER, signed),
        amt_paid_msat: signed(set.amt_paid_msat),
    };
    (set.set_id.to_lower_hex_string(), state)
}

fn htlc_state(state: HtlcState) -> InvoiceHtlcState {
    match state {
        HtlcState::Accepted => InvoiceHtlcState::Accepted,
        HtlcState::Settled => InvoiceHtlcState::Settled,
        HtlcState::Canceled => InvoiceHtlcState::Canceled,
    }
}

/// Block heights are signed in lnd's messages.
fn height(height: u32) -> i32 {
    i32::try_from(height).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
