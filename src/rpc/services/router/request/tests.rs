//! Requests to send a payment.

use bitcoin::hex::FromHex;
use serde_json::Value;
use tonic::Code;

use super::*;
use crate::rpc::test_recordings::{number, recorded, text};
use lnd_api::proto::lnrpc;

const BOB: &str = "036578a1115e56317819f35d7fd55979a1539bafab72a9017cf33c3d5d45df4f8a";

/// Returns an invoice that lnd created on regtest.
fn recorded_request(add_index: u64) -> String {
    let list = recorded("listinvoices.json");
    let mut invoices = list["invoices"].as_array().unwrap().iter();
    let found = invoices.find(|invoice| number(&invoice["add_index"]) == add_index);
    text(&found.unwrap()["payment_request"])
}

/// 100 sat.
fn plain() -> String {
    recorded_request(5)
}

fn any_amount() -> String {
    recorded_request(6)
}

/// 900,000 sat.
fn amp() -> String {
    lnd_invoice("amount and memo")
}

fn amp_any_amount() -> String {
    lnd_invoice("no amount, no memo")
}

/// Returns one of the recorded lnd invoices.
fn lnd_invoice(name: &str) -> String {
    let all = include_str!("../../../../../tests/data/lnd_invoices.json");
    let all: Vec<Value> = serde_json::from_str(all).unwrap();
    let invoice = all.iter().find(|invoice| invoice["name"] == name);
    text(&invoice.unwrap()["addinvoice"]["payment_request"])
}

/// Returns lnd's error text for the recorded command.
fn lnd_error(name: &str) -> String {
    let error = text(&recorded("errors.json")[name]["error"]);
    let (_, text) = error.split_once(" desc = ").unwrap();
    text.to_owned()
}

fn to_bob() -> SendPaymentRequest {
    SendPaymentRequest {
        dest: Vec::from_hex(BOB).unwrap(),
        amt: 5,
        amp: true,
        ..Default::default()
    }
}

fn to(payment_request: &str) -> SendPaymentRequest {
    SendPaymentRequest {
        payment_request: payment_request.into(),
        ..Default::default()
    }
}

fn order(request: SendPaymentRequest) -> Result<NewPayment, Status> {
    read(request, Network::Regtest, 80)
}

fn ordered(request: SendPaymentRequest) -> NewPayment {
    order(request).unwrap()
}

fn addr(payment: &NewPayment) -> Option<[u8; 32]> {
    match payment.method {
        Method::Amp { payment_addr } => payment_addr.map(PaymentAddr::to_bytes),
        Method::Hash { .. } => panic!("expected an AMP payment"),
    }
}

fn refusal(request: SendPaymentRequest) -> (Code, String) {
    let status = order(request).unwrap_err();
    (status.code(), status.message().to_owned())
}

fn unknown(text: &str) -> (Code, String) {
    (Code::Unknown, text.to_owned())
}

#[test]
fn defaults_match_lnd() {
    let payment = ordered(to_bob());
    assert_eq!(payment.amount_msat, 5000);
    assert_eq!(payment.final_cltv_delta, 80);
    assert_eq!((addr(&payment), &payment.invoice), (None, &None));
    let limits = payment.limits;
    assert_eq!((limits.fee_limit_msat, limits.timeout_seconds), (0, 60));
    assert_eq!(
        (limits.max_parts, limits.max_shard_msat, limits.cltv_limit),
        (16, 0, 0)
    );
    assert!(limits.outgoing_channels.is_empty() && limits.last_hop.is_none());
}

#[test]
fn uses_the_clients_limits() {
    let payment = ordered(SendPaymentRequest {
        fee_limit_sat: 7,
        timeout_seconds: 9,
        max_parts: 3,
        max_shard_size_msat: 11,
        cltv_limit: 500,
        outgoing_chan_ids: vec![1, 2],
        last_hop_pubkey: Vec::from_hex(BOB).unwrap(),
        final_cltv_delta: 90,
        payment_addr: vec![4; 32],
        ..to_bob()
    });
    let limits = &payment.limits;
    assert_eq!((limits.fee_limit_msat, limits.timeout_seconds), (7000, 9));
    assert_eq!(
        (limits.max_parts, limits.max_shard_msat, limits.cltv_limit),
        (3, 11, 500)
    );
    assert_eq!(limits.outgoing_channels, [1, 2]);
    assert_eq!(limits.last_hop.unwrap().to_string(), BOB);
    assert_eq!(payment.final_cltv_delta, 90);
    assert_eq!(addr(&payment), Some([4; 32]));
}

#[test]
fn zeus_request_is_paid_with_amp() {
    let payment = ordered(SendPaymentRequest {
        payment_hash: vec![1; 32],
        dest_custom_records: BTreeMap::from([
            (5_482_373_484, vec![1; 32]),
            (34_349_334, b"hi".to_vec()),
        ]),
        ..to_bob()
    });
    assert_eq!(
        payment.custom_records,
        BTreeMap::from([(34_349_334, b"hi".to_vec())])
    );
}

#[test]
fn invoice_determines_the_payment() {
    let payment = ordered(to(&plain()));
    assert_eq!(payment.amount_msat, 100_000);
    assert_eq!(payment.final_cltv_delta, 80);
    let decoded: DecodedInvoice = plain().parse().unwrap();
    let method = Method::Hash {
        payment_hash: decoded.payment_hash,
        payment_addr: Some(PaymentAddr::from_bytes(decoded.payment_secret.0)),
        multi_part: true,
    };
    assert_eq!(payment.method, method);
    let invoice = payment.invoice.unwrap();
    assert_eq!(invoice.payment_request, plain());
    assert_eq!(invoice.expires_at, decoded.timestamp + 86_400);
    let given = SendPaymentRequest {
        amt: 3,
        ..to(&any_amount())
    };
    assert_eq!(ordered(given).amount_msat, 3000);
}

#[test]
fn amp_invoice_is_paid_with_amp_with_or_without_the_flag() {
    for amp_flag in [false, true] {
        let payment = ordered(SendPaymentRequest {
            amp: amp_flag,
            amt: 3,
            ..to(&amp_any_amount())
        });
        let decoded: DecodedInvoice = amp_any_amount().parse().unwrap();
        assert_eq!(addr(&payment), Some(decoded.payment_secret.0));
        assert_eq!(payment.destination.to_string(), BOB);
        assert_eq!((payment.amount_msat, payment.final_cltv_delta), (3_000, 80));
        let invoice = payment.invoice.unwrap();
        assert_eq!(invoice.payment_request, amp_any_amount());
        assert_eq!(invoice.expires_at, decoded.timestamp + 2_592_000);
    }
    assert_eq!(ordered(to(&amp())).amount_msat, 900_000_000);
}

#[test]
fn uses_route_hints_of_amp_invoices() {
    let request = lnd_invoice("private with hints");
    let payment = ordered(SendPaymentRequest {
        amt: 1,
        ..to(&request)
    });
    let decoded: DecodedInvoice = request.parse().unwrap();
    assert_eq!(decoded.route_hints.len(), 1);
    assert_eq!(payment.invoice.unwrap().route_hints, decoded.route_hints);
}

#[test]
fn clients_payment_addr_applies_to_amp_invoices_only() {
    let with_addr = |payment_request: &str| SendPaymentRequest {
        payment_addr: vec![4; 32],
        ..to(payment_request)
    };
    assert_eq!(addr(&ordered(with_addr(&amp()))), Some([4; 32]));
    assert_eq!(ordered(with_addr(&plain())), ordered(to(&plain())));
    let short = SendPaymentRequest {
        payment_addr: vec![0, 1],
        ..to(&amp())
    };
    let text = "payment addr must be exactly 32 bytes, is instead 2";
    assert_eq!(refusal(short), unknown(text));
}

#[test]
fn rejects_contradictions_with_lnds_texts() {
    for (fixed, open) in [(plain(), any_amount()), (amp(), amp_any_amount())] {
        let given = SendPaymentRequest {
            amt: 5,
            ..to(&fixed)
        };
        assert_eq!(refusal(given), unknown(&lnd_error("amount given twice")));
        assert_eq!(refusal(to(&open)), unknown(&lnd_error("no amount")));
    }
    let both = SendPaymentRequest {
        payment_request: plain(),
        ..to_bob()
    };
    let text = "dest and payment_request cannot appear together";
    assert_eq!(refusal(both), unknown(text));
    let delta = SendPaymentRequest {
        final_cltv_delta: 40,
        ..to(&plain())
    };
    let text = "final_cltv_delta and payment_request cannot appear together";
    assert_eq!(refusal(delta), unknown(text));
    let nothing = SendPaymentRequest { amt: 0, ..to_bob() };
    assert_eq!(refusal(nothing), unknown("amount must be specified"));
    let args = &recorded("errors.json")["wrong network"]["args"];
    let signet = to(args[4].as_str().unwrap());
    assert_eq!(refusal(signet), unknown(&lnd_error("wrong network")));
}

/// As lncli sends it.
fn keysend() -> SendPaymentRequest {
    let hash = PaymentHash::from(PaymentPreimage([1; 32]));
    SendPaymentRequest {
        amp: false,
        payment_hash: hash.0.to_vec(),
        dest_custom_records: BTreeMap::from([(KEYSEND_RECORD, vec![1; 32])]),
        ..to_bob()
    }
}

#[test]
fn keysend_uses_its_preimages_hash_and_one_part() {
    let payment = ordered(keysend());
    let method = Method::Hash {
        payment_hash: PaymentPreimage([1; 32]).into(),
        payment_addr: None,
        multi_part: false,
    };
    assert_eq!(payment.method, method);
    assert_eq!(payment.custom_records[&KEYSEND_RECORD], [1; 32]);
    let without_hash = SendPaymentRequest {
        payment_hash: Vec::new(),
        ..keysend()
    };
    assert_eq!(ordered(without_hash), payment);
}

#[test]
fn rejects_unpayable_keysends() {
    let with_preimage = |preimage: Vec<u8>| SendPaymentRequest {
        dest_custom_records: BTreeMap::from([(KEYSEND_RECORD, preimage)]),
        ..keysend()
    };
    let in_parts = SendPaymentRequest {
        max_shard_size_msat: 1,
        ..keysend()
    };
    let with_addr = SendPaymentRequest {
        payment_addr: vec![1; 32],
        ..keysend()
    };
    let cases = [
        (in_parts, "MPP not supported with keysend payments"),
        (
            with_addr,
            "payment_addr is not supported with keysend payments",
        ),
        (
            with_preimage(vec![2; 32]),
            "payment_hash is not the hash of the keysend preimage",
        ),
        (
            with_preimage(vec![1; 31]),
            "keysend preimage must be exactly 32 bytes, is instead 31",
        ),
    ];
    for (request, text) in cases {
        assert_eq!(refusal(request), unknown(text));
    }
}

#[test]
fn hash_payment_splits_with_payment_addr_and_mpp_feature() {
    let by_hash = |payment_addr: Vec<u8>, dest_features: Vec<i32>| SendPaymentRequest {
        amp: false,
        payment_hash: vec![1; 32],
        payment_addr,
        dest_features,
        ..to_bob()
    };
    let method = |addr: Option<[u8; 32]>, multi_part| Method::Hash {
        payment_hash: PaymentHash([1; 32]),
        payment_addr: addr.map(PaymentAddr::from_bytes),
        multi_part,
    };
    let addr = vec![2; 32];
    let cases = [
        (by_hash(Vec::new(), vec![17]), method(None, false)),
        (by_hash(addr.clone(), vec![]), method(Some([2; 32]), false)),
        (by_hash(addr, vec![9, 15, 17]), method(Some([2; 32]), true)),
    ];
    for (request, method) in cases {
        assert_eq!(ordered(request).method, method);
    }
    for length in [0, 31] {
        let request = SendPaymentRequest {
            amp: false,
            payment_hash: vec![1; length],
            ..to_bob()
        };
        assert!(refusal(request).1.contains("hash"), "{length}");
    }
}

#[test]
fn amp_destination_needs_all_amp_features() {
    let with = |dest_features: &[i32]| SendPaymentRequest {
        dest_features: dest_features.to_vec(),
        ..to_bob()
    };
    for features in [&[][..], &[9, 15, 31], &[8, 14, 30, 17]] {
        assert!(order(with(features)).is_ok(), "{features:?}");
    }
    for features in [&[9][..], &[9, 15, 17], &[15, 31], &[9, 31]] {
        let text = "destination doesn't support AMP payments";
        assert_eq!(refusal(with(features)), unknown(text), "{features:?}");
    }
}

#[test]
fn amp_flag_is_ignored_for_plain_invoices() {
    let request = SendPaymentRequest {
        amp: true,
        ..to(&plain())
    };
    assert_eq!(ordered(request), ordered(to(&plain())));
}

#[test]
fn clients_route_hints_work_with_and_without_an_invoice() {
    let hop = lnrpc::HopHint {
        node_id: BOB.into(),
        chan_id: 7,
        ..Default::default()
    };
    let hint = lnrpc::RouteHint {
        hop_hints: vec![hop],
    };
    for request in [to_bob(), to(&plain())] {
        let payment = ordered(SendPaymentRequest {
            route_hints: vec![hint.clone()],
            ..request
        });
        assert_eq!(payment.route_hints[0].0[0].short_channel_id, 7);
    }
}

#[test]
fn max_parts_is_limited_when_a_part_size_is_set() {
    let many = |max_shard_size_msat| SendPaymentRequest {
        max_parts: 1_001,
        max_shard_size_msat,
        ..to_bob()
    };
    assert_eq!(ordered(many(0)).limits.max_parts, 1_001);
    let (_, text) = refusal(many(1));
    assert!(text.starts_with("requested max_parts (1001) exceeds the allowed upper limit"));
}

#[test]
fn rejects_malformed_requests_without_panic() {
    let change: [fn(&mut SendPaymentRequest); 16] = [
        |r| r.dest = vec![2; 2],
        |r| r.dest = vec![0xff; 33],
        |r| r.amt = -1,
        |r| r.amt_msat = i64::MIN,
        |r| (r.amt, r.amt_msat) = (0, -1),
        |r| r.amt_msat = 1,
        |r| r.fee_limit_sat = i64::MAX,
        |r| r.fee_limit_msat = -1,
        |r| r.timeout_seconds = -1,
        |r| r.cltv_limit = -1,
        |r| r.final_cltv_delta = -1,
        |r| r.final_cltv_delta = i32::MAX,
        |r| (r.max_parts, r.max_shard_size_msat) = (u32::MAX, 1),
        |r| r.payment_addr = vec![0, 1],
        |r| r.last_hop_pubkey = vec![1],
        |r| r.time_pref = f64::NAN,
    ];
    for change in change {
        let mut request = to_bob();
        change(&mut request);
        assert!(order(request.clone()).is_err(), "{request:?}");
    }
    for text in ["lnbcrt1xyz", "x", " ", "lightning:"] {
        assert!(order(to(text)).is_err(), "{text}");
    }
}
