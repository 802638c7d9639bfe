//! Payments recorded from lnd, converted to our records, must be shown exactly as lnd showed them.

use std::collections::BTreeSet;

use ldk_amp::PaymentAddr;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use serde_json::Value;
use zeroize::Zeroizing;

use super::*;
use crate::model::attempt::AttemptFailure;
use crate::model::payment::PaymentTerms;
use crate::rpc::test_recordings::{
    bytes_32, number, number_32, printed, recorded, records, text, without,
};

/// Records that only lnd sends to its direct peers.
const NOT_OURS: [&str; 1] = ["first_hop_custom_records"];

fn view(json: &Value) -> PaymentView {
    let htlcs = json["htlcs"].as_array().unwrap();
    let last_hop = htlcs
        .last()
        .map(|htlc| htlc["route"]["hops"].as_array().unwrap().last().unwrap());
    let preimage = bytes_32(&json["payment_preimage"]);
    let record = PaymentRecord {
        payment_index: number(&json["payment_index"]),
        identifier: bytes_32(&json["payment_hash"]).unwrap(),
        created_at_ns: number(&json["creation_time_ns"]),
        state: match json["status"].as_str().unwrap() {
            "SUCCEEDED" => PaymentState::Succeeded,
            "FAILED" => PaymentState::Failed,
            other => panic!("{other}"),
        },
        failure_reason: match json["failure_reason"].as_str().unwrap() {
            "FAILURE_REASON_NONE" => FailureReason::None,
            "FAILURE_REASON_NO_ROUTE" => FailureReason::NoRoute,
            "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS" => FailureReason::IncorrectPaymentDetails,
            "FAILURE_REASON_INSUFFICIENT_BALANCE" => FailureReason::InsufficientBalance,
            other => panic!("{other}"),
        },
        preimage: preimage
            .filter(|preimage| *preimage != [0; 32])
            .map(PaymentPreimage),
        root: None,
        terms: PaymentTerms {
            amount_msat: number(&json["value_msat"]),
            payment_request: text(&json["payment_request"]),
            payment_addr: last_hop
                .and_then(|hop| bytes_32(&hop["mpp_record"]["payment_addr"]))
                .map(PaymentAddr::from_bytes),
            custom_records: last_hop
                .map(|hop| records(&hop["custom_records"]))
                .unwrap_or_default(),
            ..PaymentTerms::default()
        },
    };
    let attempts = htlcs.iter().map(attempt_record).collect();
    PaymentView { record, attempts }
}

fn attempt_record(json: &Value) -> AttemptRecord {
    let hops = json["route"]["hops"].as_array().unwrap();
    let share = &hops.last().unwrap()["amp_record"];
    let mut route: Vec<_> = hops.iter().map(hop_record).collect();
    // A hop's CLTV delta is the difference between the previous hop's expiry and its own.
    let mut previous = number_32(&json["route"]["total_time_lock"]);
    for hop in &mut route {
        hop.cltv_delta = previous - hop.expiry;
        previous = hop.expiry;
    }
    AttemptRecord {
        attempt_id: number(&json["attempt_id"]),
        payment_index: 1,
        payment_hash: PaymentHash([0; 32]),
        shard: bytes_32(&share["root_share"])
            .map(|bytes| (Zeroizing::new(bytes), number_32(&share["child_index"]))),
        state: match json["status"].as_str().unwrap() {
            "SUCCEEDED" => AttemptState::Succeeded,
            "FAILED" => AttemptState::Failed,
            other => panic!("{other}"),
        },
        attempt_time_ns: number(&json["attempt_time_ns"]),
        resolve_time_ns: Some(number(&json["resolve_time_ns"])),
        preimage: bytes_32(&json["preimage"]).map(PaymentPreimage),
        route,
        failure: json["failure"].as_object().map(|failure| AttemptFailure {
            by_receiver: true,
            timed_out: false,
            invalid_payload: false,
            source_index: number_32(&failure["failure_source_index"]),
            height: number_32(&failure["height"]),
        }),
    }
}

fn hop_record(json: &Value) -> HopRecord {
    HopRecord {
        node_id: text(&json["pub_key"]),
        scid: number(&json["chan_id"]),
        amt_to_forward_msat: number(&json["amt_to_forward_msat"]),
        fee_msat: number(&json["fee_msat"]),
        expiry: number_32(&json["expiry"]),
        ..HopRecord::default()
    }
}

fn assert_matches_lnd(file: &str) {
    assert_shown_like(&recorded(file), file);
}

fn assert_shown_like(lnd: &Value, file: &str) {
    let ours = printed(&payment(&view(lnd)));
    let lnd = without(lnd.clone(), &NOT_OURS);
    assert_eq!(without(ours, &NOT_OURS), lnd, "{file}");
}

#[test]
fn amp_payment_in_three_shards() {
    assert_matches_lnd("payment_amp_invoice.json");
}

#[test]
fn spontaneous_amp_payment_with_a_message() {
    assert_matches_lnd("payment_amp_spontaneous.json");
}

#[test]
fn refused_amp_payment() {
    assert_matches_lnd("payment_amp_refused.json");
}

#[test]
fn paid_invoice() {
    assert_matches_lnd("payment_bolt11.json");
}

#[test]
fn payment_without_a_route() {
    assert_matches_lnd("payment_no_route.json");
}

#[test]
fn amp_payment_to_a_private_node() {
    assert_matches_lnd("payment_amp_private.json");
}

#[test]
fn settled_and_refused_keysend_payments() {
    assert_matches_lnd("payment_keysend.json");
    assert_matches_lnd("payment_keysend_refused.json");
}

#[test]
fn payment_without_sufficient_balance() {
    assert_matches_lnd("payment_insufficient_balance.json");
}

#[test]
fn tracked_and_listed_payments() {
    assert_matches_lnd("trackpayment_amp.json");
    let list = recorded("listpayments.json");
    let payments = list["payments"].as_array().unwrap();
    assert_eq!(payments.len(), 8);
    for payment in payments {
        assert_shown_like(payment, "listpayments.json");
    }
}

/// Collects the paths of all members; the items of a list share one path.
fn names(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        // The members are record types.
        _ if path.ends_with("custom_records") => {}
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}/{name}");
                found.insert(path.clone());
                names(member, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, path, found)),
        _ => {}
    }
}

#[test]
fn json_has_exactly_lnds_members() {
    for file in [
        "payment_amp_invoice.json",
        "payment_amp_private.json",
        "payment_amp_refused.json",
        "payment_amp_spontaneous.json",
        "payment_bolt11.json",
        "payment_insufficient_balance.json",
        "payment_keysend.json",
        "payment_keysend_refused.json",
        "payment_no_route.json",
        "trackpayment_amp.json",
    ] {
        let lnd = recorded(file);
        let mut of_lnd = BTreeSet::new();
        names(&lnd, "", &mut of_lnd);
        let mut ours = BTreeSet::new();
        names(&printed(&payment(&view(&lnd))), "", &mut ours);
        assert_eq!(ours, of_lnd, "{file}");
    }
}

#[test]
fn payment_in_flight_has_no_preimage_and_no_resolve_time() {
    let mut view = view(&recorded("payment_amp_spontaneous.json"));
    view.record.state = PaymentState::InFlight;
    view.record.preimage = None;
    view.attempts[0].state = AttemptState::InFlight;
    view.attempts[0].preimage = None;
    view.attempts[0].resolve_time_ns = None;
    let shown = payment(&view);
    assert_eq!(shown.status(), PaymentStatus::InFlight);
    assert_eq!(shown.payment_preimage, "00".repeat(32));
    assert_eq!(shown.htlcs[0].resolve_time_ns, 0);
    assert!(shown.htlcs[0].preimage.is_empty());
    assert_eq!(shown.fee_msat, 1120);
}

#[test]
fn failure_has_the_source_and_the_most_likely_code() {
    let attempt = |failure: Option<AttemptFailure>| AttemptRecord {
        failure,
        ..view(&recorded("payment_amp_refused.json"))
            .attempts
            .remove(0)
    };
    let shown = |failed: AttemptFailure| {
        let shown = failure(&attempt(Some(failed)));
        (shown.code(), shown.failure_source_index, shown.height)
    };
    let failed = |by_receiver, timed_out, source_index| {
        shown(AttemptFailure {
            by_receiver,
            timed_out,
            invalid_payload: false,
            source_index,
            height: 7,
        })
    };
    let refused = FailureCode::IncorrectOrUnknownPaymentDetails;
    assert_eq!(failed(true, false, 3), (refused, 3, 7));
    let at_first_hop = (FailureCode::TemporaryChannelFailure, 1, 0);
    assert_eq!(failed(false, false, 1), at_first_hop);
    assert_eq!(failed(false, true, 3), (FailureCode::MppTimeout, 3, 0));
    let unusable = AttemptFailure {
        by_receiver: false,
        timed_out: false,
        invalid_payload: true,
        source_index: 3,
        height: 7,
    };
    assert_eq!(shown(unusable), (FailureCode::InvalidOnionPayload, 3, 0));
    let unknown = FailureCode::UnknownFailure;
    assert_eq!(failed(false, false, 3), (unknown, 3, 0));
    assert_eq!(failure(&attempt(None)).code(), unknown);
}

#[test]
fn last_hop_has_the_invoices_metadata() {
    // From BOLT 11: "Please send 0.01 BTC with payment metadata 0x01fafaf0".
    let invoice = "lnbc10m1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdp9wpshjmt9de6\
         zqmt9w3skgct5vysxjmnnd9jx2mq8q8a04uqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygs9q\
         2gqqqqqqsgq7hf8he7ecf7n4ffphs6awl9t6676rrclv9ckg3d3ncn7fct63p6s365duk5wrk202cfy3aj5xnnp5gs3v\
         rdvruverwwq7yzhkf5a3xqpd05wjc";
    let mut view = view(&recorded("payment_amp_refused.json"));
    view.record.terms.payment_request = invoice.into();
    let shown = payment(&view);
    let hops = &shown.htlcs[0].route.as_ref().unwrap().hops;
    assert_eq!(hops.last().unwrap().metadata, [1, 0xfa, 0xfa, 0xf0]);
    assert!(hops[0].metadata.is_empty());
}

#[test]
fn without_hops_keeps_the_routes_totals() {
    let shown = without_hops(payment(&view(&recorded("payment_amp_refused.json"))));
    let route = shown.htlcs[0].route.as_ref().unwrap();
    assert!(route.hops.is_empty());
    assert_eq!(route.total_amt_msat, 1_002_002);
}

#[test]
fn numbers_beyond_the_supply_do_not_panic() {
    let mut view = view(&recorded("payment_amp_refused.json"));
    view.record.created_at_ns = u64::MAX;
    view.record.terms.amount_msat = u64::MAX;
    view.attempts[0].state = AttemptState::InFlight;
    for hop in &mut view.attempts[0].route {
        hop.amt_to_forward_msat = u64::MAX;
        hop.fee_msat = u64::MAX;
        hop.expiry = u32::MAX;
        hop.cltv_delta = u32::MAX;
    }
    view.attempts.push(AttemptRecord {
        route: Vec::new(),
        ..view.attempts[0].clone()
    });
    assert_eq!(payment(&view).value_msat, i64::MAX);
}
