use bitcoin::hex::FromHex;
use tonic::Code;

use super::*;
use crate::rpc::recorded::{number, recorded, text};

const BOB: &str = "036578a1115e56317819f35d7fd55979a1539bafab72a9017cf33c3d5d45df4f8a";

/// An invoice that lnd made on regtest.
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

fn amp() -> String {
    recorded_request(4)
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

fn order(request: SendPaymentRequest) -> Result<Order, Status> {
    read(request, Network::Regtest, 80)
}

fn amp_order(request: SendPaymentRequest) -> AmpPayment {
    match order(request).unwrap() {
        Order::Amp(payment) => payment,
        Order::Bolt11(_) => panic!("an AMP payment was asked for"),
    }
}

fn invoice_order(request: SendPaymentRequest) -> Bolt11Payment {
    match order(request).unwrap() {
        Order::Bolt11(payment) => payment,
        Order::Amp(_) => panic!("the payment of an invoice was asked for"),
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
fn defaults_are_lnds() {
    let payment = amp_order(to_bob());
    assert_eq!(payment.amount_msat, 5000);
    assert_eq!(payment.final_cltv_delta, 80);
    assert_eq!(payment.payment_addr, None);
    let limits = payment.limits;
    assert_eq!((limits.fee_limit_msat, limits.timeout_seconds), (0, 60));
    assert_eq!(
        (limits.max_parts, limits.max_shard_msat, limits.cltv_limit),
        (16, 0, 0)
    );
    assert!(limits.outgoing_channels.is_empty() && limits.last_hop.is_none());
}

#[test]
fn limits_are_the_callers() {
    let payment = amp_order(SendPaymentRequest {
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
    let limits = payment.limits;
    assert_eq!((limits.fee_limit_msat, limits.timeout_seconds), (7000, 9));
    assert_eq!(
        (limits.max_parts, limits.max_shard_msat, limits.cltv_limit),
        (3, 11, 500)
    );
    assert_eq!(limits.outgoing_channels, [1, 2]);
    assert_eq!(limits.last_hop.unwrap().to_string(), BOB);
    assert_eq!(payment.final_cltv_delta, 90);
    assert_eq!(payment.payment_addr, Some(PaymentAddr::from_bytes([4; 32])));
}

#[test]
fn zeus_request_is_taken_for_amp() {
    let payment = amp_order(SendPaymentRequest {
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
fn invoice_says_what_is_paid() {
    let payment = invoice_order(to(&plain()));
    assert_eq!(payment.amount_msat, 100_000);
    assert_eq!(payment.final_cltv_delta, 80);
    assert!(payment.multi_part);
    assert_eq!(payment.payment_request, plain());
    let given = SendPaymentRequest {
        amt: 3,
        ..to(&any_amount())
    };
    assert_eq!(invoice_order(given).amount_msat, 3000);
}

#[test]
fn contradictions_are_refused_in_lnds_words() {
    let given = SendPaymentRequest {
        amt: 5,
        ..to(&plain())
    };
    let text = "amount must not be specified when paying a non-zero amount invoice";
    assert_eq!(refusal(given), unknown(text));
    let text = "amount must be specified when paying a zero amount invoice";
    assert_eq!(refusal(to(&any_amount())), unknown(text));
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
    let other_network = read(to(&plain()), Network::Signet, 80).unwrap_err();
    assert_eq!(
        other_network.message(),
        "invoice not for current active network 'signet'"
    );
}

#[test]
fn what_comes_later_is_said() {
    let keysend = SendPaymentRequest {
        amp: false,
        dest_custom_records: BTreeMap::from([(KEYSEND_RECORD, vec![1; 32])]),
        ..to_bob()
    };
    let by_hash = SendPaymentRequest {
        amp: false,
        payment_hash: vec![1; 32],
        ..to_bob()
    };
    for request in [keysend, by_hash, to(&amp())] {
        assert_eq!(refusal(request).0, Code::Unimplemented);
    }
}

#[test]
fn nonsense_never_panics() {
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
        |r| r.max_parts = u32::MAX,
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
