//! Invoices recorded from lnd, stored in our database, must be shown exactly as lnd showed them.

use ldk_amp::{PaymentAddr, SetId};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use serde_json::Value;

use super::*;
use crate::model::invoice::{HtlcSelection, InvoiceRecord, InvoiceRef, InvoiceTerms};
use crate::rpc::test_recordings::{
    bytes_32, number, number_32, printed, recorded, recorded_stream, records, text,
};
use crate::storage::Store;
use crate::storage::invoices::{PutHtlc, PutInvoice, PutSet};

/// A database with recorded invoices.
struct Database {
    _directory: tempfile::TempDir,
    store: Store,
}

impl Database {
    fn with(invoices: &[Value]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for json in invoices {
            store.submit(PutInvoice(record(json)));
            for (id, set) in json["amp_invoice_state"].as_object().unwrap() {
                store.submit(PutSet(set_record(id, set, number(&json["add_index"]))));
            }
            for htlc in json["htlcs"].as_array().unwrap() {
                store.submit(PutHtlc(htlc_record(htlc, json)));
            }
        }
        store.flush();
        Self {
            _directory: directory,
            store,
        }
    }

    fn find(&self, by: &InvoiceRef, selection: HtlcSelection) -> InvoiceView {
        let found = self.store.find_invoice(by, selection).unwrap();
        let (record, htlcs, sets) = found.unwrap();
        InvoiceView {
            record,
            htlcs,
            sets,
        }
    }
}

fn kind(json: &Value) -> InvoiceKind {
    let has_text = !text(&json["payment_request"]).is_empty();
    match (json["is_amp"].as_bool().unwrap(), has_text) {
        (true, true) => InvoiceKind::Amp,
        (true, false) => InvoiceKind::SpontaneousAmp,
        (false, true) => InvoiceKind::Bolt11,
        (false, false) => InvoiceKind::Keysend,
    }
}

/// Returns the row of an invoice; the amount paid to an AMP invoice is the sum of its sets.
fn record(json: &Value) -> InvoiceRecord {
    let kind = kind(json);
    let settled = json["settled"].as_bool().unwrap() && !kind.is_amp();
    let addr = bytes_32(&json["payment_addr"]).unwrap();
    let preimage = bytes_32(&json["r_preimage"]);
    InvoiceRecord {
        add_index: number(&json["add_index"]),
        kind,
        payment_hash: PaymentHash(bytes_32(&json["r_hash"]).unwrap_or(addr)),
        payment_addr: PaymentAddr::from_bytes(match kind {
            InvoiceKind::Keysend => preimage.unwrap(),
            _ => addr,
        }),
        preimage: preimage.map(PaymentPreimage),
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
        amt_paid_msat: if settled {
            number(&json["amt_paid_msat"])
        } else {
            0
        },
    }
}

fn htlc_record(json: &Value, invoice: &Value) -> HtlcRecord {
    let amp = &json["amp"];
    let scid = number(&json["chan_id"]);
    let hash = bytes_32(&amp["hash"]).or_else(|| bytes_32(&invoice["r_hash"]));
    HtlcRecord {
        channel_id: channel_id(scid),
        htlc_id: number(&json["htlc_index"]),
        add_index: number(&invoice["add_index"]),
        payment_hash: PaymentHash(hash.unwrap()),
        scid,
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
            set_id: SetId::from_bytes(bytes_32(&amp["set_id"]).unwrap()),
            share: bytes_32(&amp["root_share"]).unwrap(),
            child_index: number_32(&amp["child_index"]),
            ephemeral_key: [2; 33],
        }),
        preimage: bytes_32(&amp["preimage"])
            .or_else(|| bytes_32(&invoice["r_preimage"]))
            .map(PaymentPreimage),
    }
}

fn channel_id(scid: u64) -> ChannelId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&scid.to_be_bytes());
    ChannelId(id)
}

fn set_record(id: &str, json: &Value, add_index: u64) -> SetRecord {
    SetRecord {
        set_id: id.parse().unwrap(),
        add_index,
        state: HtlcState::Settled,
        settle_index: Some(number(&json["settle_index"])),
        settled_at: Some(number(&json["settle_time"])),
        amt_paid_msat: number(&json["amt_paid_msat"]),
    }
}

/// Sorts the HTLCs: in lnd, the order of HTLCs with the same index in different channels is random.
fn in_order(mut json: Value) -> Value {
    let htlcs = json["htlcs"].as_array_mut().unwrap();
    htlcs.sort_by_key(|htlc| (number(&htlc["htlc_index"]), number(&htlc["chan_id"])));
    json
}

fn all_invoices() -> Vec<Value> {
    let list = recorded("listinvoices.json");
    list["invoices"].as_array().unwrap().clone()
}

/// Returns our view of the recorded invoice with this add_index.
fn listed(add_index: u64) -> InvoiceView {
    let all = all_invoices();
    let json = all
        .iter()
        .find(|json| number(&json["add_index"]) == add_index);
    let json = json.unwrap();
    let addr = InvoiceRef::Addr(record(json).payment_addr);
    Database::with(std::slice::from_ref(json)).find(&addr, HtlcSelection::All)
}

#[test]
fn listed_invoices_match_lnd() {
    let all = all_invoices();
    let database = Database::with(&all);
    for lnd in all {
        let addr = InvoiceRef::Addr(record(&lnd).payment_addr);
        let ours = invoice(&database.find(&addr, HtlcSelection::All));
        assert_eq!(printed(&ours), in_order(lnd));
    }
}

#[test]
fn open_and_twice_paid_amp_invoices_match_lnd() {
    for file in [
        "lookupinvoice_amp_open.json",
        "lookupinvoice_amp_paid_twice.json",
    ] {
        let lnd = recorded(file);
        let by_hash = InvoiceRef::Hash(PaymentHash(bytes_32(&lnd["r_hash"]).unwrap()));
        let database = Database::with(std::slice::from_ref(&lnd));
        let ours = invoice(&database.find(&by_hash, HtlcSelection::All));
        assert_eq!(printed(&ours), in_order(lnd), "{file}");
    }
}

/// Compares with the events that lnd sent during the payments of the recorded list.
#[test]
fn settlement_events_match_lnd() {
    let all = all_invoices();
    let database = Database::with(&all);
    let events = recorded_stream("subscribe_invoices.txt");
    let of_the_list = events.iter().filter(|event| {
        let is_settled = event["settled"].as_bool().unwrap();
        is_settled && settle_index(event) <= 7
    });
    let mut compared = 0;
    for lnd in of_the_list {
        let sets = lnd["amp_invoice_state"].as_object().unwrap();
        let by = match sets.keys().next() {
            Some(id) => InvoiceRef::SetId(id.parse().unwrap()),
            None => InvoiceRef::Hash(PaymentHash(bytes_32(&lnd["r_hash"]).unwrap())),
        };
        let mut view = database.find(&by, HtlcSelection::SetOnly);
        let at = database
            .store
            .invoice_at(view.record.add_index, settle_index(lnd));
        view.record = at.unwrap().unwrap();
        assert_eq!(printed(&invoice(&view)), in_order(lnd.clone()));
        compared += 1;
    }
    assert_eq!(compared, 7);
}

fn settle_index(event: &Value) -> u64 {
    let sets = event["amp_invoice_state"].as_object().unwrap();
    let of_set = sets.values().next().map(|set| &set["settle_index"]);
    number(of_set.unwrap_or(&event["settle_index"]))
}

#[test]
fn json_has_lnds_members_in_lnds_order() {
    let names = |value: &Value| {
        let members = value.as_object().unwrap();
        members.keys().cloned().collect::<Vec<_>>()
    };
    let lnd = recorded("lookupinvoice_amp_open.json");
    assert_eq!(names(&printed(&invoice(&listed(1)))), names(&lnd));
}

#[test]
fn held_shard_keeps_its_preimage_secret() {
    let mut view = listed(7);
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
fn htlcs_are_sorted_by_index() {
    let mut view = listed(2);
    view.htlcs[0].htlc_id = 5;
    view.htlcs[1].htlc_id = 2;
    let shown = invoice(&view);
    let indices: Vec<_> = shown.htlcs.iter().map(|htlc| htlc.htlc_index).collect();
    assert_eq!(indices, [2, 5]);
}

#[test]
fn states_map_to_lnds_states() {
    let shown = |add_index, state| {
        let mut view = listed(add_index);
        view.record.state = state;
        let shown = invoice(&view);
        assert_eq!(shown.settled, shown.state() == State::Settled);
        shown.state()
    };
    let (unpaid, paid, plain) = (3, 2, 6);
    assert_eq!(shown(plain, InvoiceState::Canceled), State::Canceled);
    assert_eq!(shown(plain, InvoiceState::Accepted), State::Accepted);
    assert_eq!(shown(plain, InvoiceState::Settled), State::Settled);
    assert_eq!(shown(unpaid, InvoiceState::Canceled), State::Canceled);
    assert_eq!(shown(unpaid, InvoiceState::Disabled), State::Canceled);
    // lnd shows a paid AMP invoice as settled in every state.
    assert_eq!(shown(paid, InvoiceState::Open), State::Settled);
    assert_eq!(shown(paid, InvoiceState::Disabled), State::Settled);
    assert_eq!(shown(paid, InvoiceState::Canceled), State::Settled);
}

#[test]
fn hold_invoice_has_no_preimage_until_settled() {
    let mut view = listed(6);
    view.record.kind = InvoiceKind::Hold;
    view.record.preimage = None;
    view.record.state = InvoiceState::Accepted;
    let shown = invoice(&view);
    assert!(shown.r_preimage.is_empty());
    assert_eq!(shown.r_hash, view.record.payment_hash.0);
}
