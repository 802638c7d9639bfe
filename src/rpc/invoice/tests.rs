//! What lnd showed of its invoices, put into our records and shown by us, has to be the same.

use bitcoin::hex::FromHex;
use serde_json::Value;

use super::*;
use crate::rpc::recorded::{
    bytes_32, number, number_32, printed, recorded, records, text, without,
};
use crate::storage::invoices::{InvoiceRecord, InvoiceTerms};

/// lnd repeats the custom records in a form of its own.
const NOT_OURS: [&str; 1] = ["custom_channel_data"];

/// The recorded invoice with this add_index.
fn listed(add_index: u64) -> Value {
    let list = recorded("listinvoices.json");
    let mut invoices = list["invoices"].as_array().unwrap().iter();
    let found = invoices.find(|invoice| number(&invoice["add_index"]) == add_index);
    found.unwrap().clone()
}

fn view(json: &Value) -> InvoiceView {
    let is_amp = json["is_amp"].as_bool().unwrap();
    let settled = json["settled"].as_bool().unwrap() && !is_amp;
    let add_index = number(&json["add_index"]);
    let record = InvoiceRecord {
        add_index,
        kind: match (is_amp, json["is_keysend"].as_bool().unwrap()) {
            (true, _) => InvoiceKind::SpontaneousAmp,
            (false, true) => InvoiceKind::Keysend,
            (false, false) => InvoiceKind::Bolt11,
        },
        payment_hash: bytes_32(&json["r_hash"]).unwrap_or([9; 32]),
        payment_addr: bytes_32(&json["payment_addr"]).unwrap(),
        preimage: bytes_32(&json["r_preimage"]),
        terms: InvoiceTerms {
            memo: text(&json["memo"]),
            description_hash: bytes_32(&json["description_hash"]),
            payment_request: text(&json["payment_request"]),
            expiry: number(&json["expiry"]),
            cltv_delta: number_32(&json["cltv_expiry"]),
            private: json["private"].as_bool().unwrap(),
        },
        value_msat: number(&json["value_msat"]),
        created_at: number(&json["creation_date"]),
        expires_at: None,
        state: if settled {
            InvoiceState::Settled
        } else {
            InvoiceState::Open
        },
        settle_index: settled.then(|| number(&json["settle_index"])),
        settled_at: settled.then(|| number(&json["settle_date"])),
        amt_paid_msat: number(&json["amt_paid_msat"]),
    };
    let htlcs = json["htlcs"].as_array().unwrap();
    let sets = json["amp_invoice_state"].as_object().unwrap();
    InvoiceView {
        record,
        htlcs: htlcs
            .iter()
            .map(|htlc| htlc_record(htlc, add_index))
            .collect(),
        sets: sets
            .iter()
            .map(|(id, set)| set_record(id, set, add_index))
            .collect(),
    }
}

fn htlc_record(json: &Value, add_index: u64) -> HtlcRecord {
    let amp = &json["amp"];
    HtlcRecord {
        channel_id: [0; 32],
        htlc_id: number(&json["htlc_index"]),
        add_index,
        payment_hash: bytes_32(&amp["hash"]).unwrap_or_default(),
        scid: number(&json["chan_id"]),
        amount_msat: number(&json["amt_msat"]),
        total_msat: number(&json["mpp_total_amt_msat"]),
        accept_height: number_32(&json["accept_height"]),
        accepted_at: number(&json["accept_time"]),
        resolved_at: Some(number(&json["resolve_time"])),
        expiry_height: number_32(&json["expiry_height"]),
        claim_deadline: None,
        state: HtlcState::Settled,
        claimed: true,
        custom_records: records(&json["custom_records"]),
        shard: amp.is_object().then(|| ShardRecord {
            set_id: bytes_32(&amp["set_id"]).unwrap(),
            share: bytes_32(&amp["root_share"]).unwrap(),
            child_index: number_32(&amp["child_index"]),
            ephemeral_key: [2; 33],
        }),
        preimage: bytes_32(&amp["preimage"]),
    }
}

fn set_record(id: &str, json: &Value, add_index: u64) -> SetRecord {
    SetRecord {
        set_id: <[u8; 32]>::from_hex(id).unwrap(),
        add_index,
        state: HtlcState::Settled,
        settle_index: Some(number(&json["settle_index"])),
        settled_at: Some(number(&json["settle_time"])),
        amt_paid_msat: number(&json["amt_paid_msat"]),
    }
}

fn is_shown_as_lnd_does(lnd: Value) {
    let ours = printed(&invoice(&view(&lnd)));
    assert_eq!(without(ours, &NOT_OURS), without(lnd, &NOT_OURS));
}

#[test]
fn paid_invoice() {
    is_shown_as_lnd_does(listed(5));
}

#[test]
fn open_invoice_of_any_amount() {
    is_shown_as_lnd_does(listed(6));
}

#[test]
fn spontaneous_amp_payment() {
    is_shown_as_lnd_does(listed(7));
}

#[test]
fn spontaneous_amp_payment_with_a_message() {
    is_shown_as_lnd_does(listed(8));
}

#[test]
fn keysend_with_a_message() {
    is_shown_as_lnd_does(listed(9));
}

#[test]
fn two_sets_with_their_htlcs() {
    let mut lnd = recorded("lookupinvoice_amp_paid_twice.json");
    // Both have index 1 in their channel; lnd leaves the order of such to chance.
    lnd["htlcs"].as_array_mut().unwrap().reverse();
    let ours = printed(&invoice(&view(&lnd)));
    for name in [
        "htlcs",
        "amp_invoice_state",
        "state",
        "settled",
        "settle_date",
    ] {
        let member = |of: &Value| without(of[name].clone(), &NOT_OURS);
        assert_eq!(member(&ours), member(&lnd), "{name}");
    }
}

#[test]
fn every_member_is_there_in_lnds_order() {
    let lnd = listed(6);
    let ours = printed(&invoice(&view(&lnd)));
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&ours), names(&lnd));
}

#[test]
fn held_shard_keeps_its_preimage_secret() {
    let mut view = view(&listed(7));
    view.htlcs[0].state = HtlcState::Accepted;
    view.htlcs[0].resolved_at = None;
    view.sets[0].state = HtlcState::Accepted;
    view.sets[0].settle_index = None;
    view.sets[0].settled_at = None;
    let shown = invoice(&view);
    assert_eq!(shown.state(), State::Open);
    assert!(!shown.settled);
    assert!(shown.htlcs[0].amp.as_ref().unwrap().preimage.is_empty());
    assert_eq!(shown.htlcs[0].resolve_time, 0);
    let set = shown.amp_invoice_state.values().next().unwrap();
    assert_eq!((set.settle_time, set.settle_index), (-62_135_596_800, 0));
    assert_eq!(set.state(), InvoiceHtlcState::Accepted);
}

#[test]
fn htlcs_are_in_the_order_of_their_index() {
    let mut view = view(&recorded("lookupinvoice_amp_paid_twice.json"));
    view.htlcs[0].htlc_id = 5;
    view.htlcs[1].htlc_id = 2;
    let shown = invoice(&view);
    let indices: Vec<_> = shown.htlcs.iter().map(|htlc| htlc.htlc_index).collect();
    assert_eq!(indices, [2, 5]);
}

#[test]
fn canceled_invoice() {
    let mut view = view(&listed(6));
    view.record.state = InvoiceState::Canceled;
    assert_eq!(invoice(&view).state(), State::Canceled);
}
