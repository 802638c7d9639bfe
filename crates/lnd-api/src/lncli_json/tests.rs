//! Recorded lncli output, decoded into messages and converted to JSON again, must be identical.

use std::path::Path;

use super::*;
use crate::from_json::from_json;
use crate::json;
use crate::lncli_shape::channel_ids;
use crate::proto::lnrpc::*;
use crate::proto::routerrpc::{BuildRouteResponse, RouteFeeResponse};

/// Returns the JSON of a file in `tests/data/lnd-output`.
fn recorded(file: &str) -> serde_json::Value {
    serde_json::from_str(&recorded_text(file)).unwrap()
}

/// Returns the recorded text unchanged.
fn recorded_text(file: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lnd-output");
    std::fs::read_to_string(dir.join(file)).unwrap()
}

fn message<M: Message + Name + Default>(json: &serde_json::Value) -> M {
    from_json(json).unwrap()
}

/// Compares as text, so that the order of the keys matters.
fn assert_same(ours: &serde_json::Value, lnd: &serde_json::Value, file: &str) {
    let text = |json| serde_json::to_string_pretty(json).unwrap();
    assert_eq!(text(ours), text(lnd), "{file}");
}

fn check<M: Message + Name + Default>(file: &str) {
    let lnd = recorded(file);
    let message = message::<M>(&lnd);
    assert_same(&to_json(&message).unwrap(), &lnd, file);
    let descriptor = POOL.get_message_by_name(&M::full_name()).unwrap();
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(&message).unwrap();
    assert_eq!(json::text(&dynamic, Bytes::Hex), lnd.to_string(), "{file}");
}

fn check_channels<M: Message + Name + Default>(file: &str) {
    let lnd = recorded(file);
    let mut api = lnd.clone();
    for channel in api["channels"].as_array_mut().unwrap() {
        let channel = channel.as_object_mut().unwrap();
        channel["chan_id"] = channel.shift_remove("scid").unwrap();
        channel.shift_remove("scid_str");
    }
    let ours = channel_ids(to_json(&message::<M>(&api)).unwrap());
    assert_same(&ours, &lnd, file);
}

#[test]
fn node_responses_equal_lnclis() {
    check::<GetInfoResponse>("getinfo.json");
    check::<WalletBalanceResponse>("walletbalance.json");
    check::<ChannelBalanceResponse>("channelbalance.json");
    check::<NewAddressResponse>("newaddress.json");
    check::<SendCoinsResponse>("sendcoins.json");
    check::<ListPeersResponse>("listpeers.json");
}

#[test]
fn routes_equal_lnclis() {
    check::<QueryRoutesResponse>("queryroutes.json");
    check::<BuildRouteResponse>("buildroute.json");
    check::<RouteFeeResponse>("estimateroutefee.json");
}

#[test]
fn channel_lists_equal_lnclis() {
    check_channels::<ListChannelsResponse>("listchannels.json");
    check_channels::<ClosedChannelsResponse>("closedchannels.json");
    for file in ["none", "open", "closing", "force"] {
        check::<PendingChannelsResponse>(&format!("pendingchannels_{file}.json"));
    }
}

#[test]
fn invoices_equal_lnclis() {
    check::<AddInvoiceResponse>("addinvoice_amp.json");
    check::<Invoice>("lookupinvoice_amp_open.json");
    check::<Invoice>("lookupinvoice_amp_paid_twice.json");
    check::<ListInvoiceResponse>("listinvoices.json");
}

#[test]
fn payments_equal_lnclis() {
    for file in [
        "bolt11",
        "amp_invoice",
        "amp_spontaneous",
        "amp_refused",
        "amp_private",
        "keysend",
        "keysend_refused",
        "insufficient_balance",
        "no_route",
    ] {
        check::<Payment>(&format!("payment_{file}.json"));
    }
    check::<Payment>("trackpayment_amp.json");
    check::<ListPaymentsResponse>("listpayments.json");
}

#[test]
fn messages_follow_protojsons_rules() {
    let invoice = AddInvoiceResponse {
        r_hash: vec![0xAB, 0x01],
        payment_request: "lnbc1".to_owned(),
        add_index: u64::MAX,
        payment_addr: Vec::new(),
    };
    let expected = concat!(
        r#"{"r_hash":"ab01","payment_request":"lnbc1","#,
        r#""add_index":"18446744073709551615","payment_addr":""}"#,
    );
    assert_eq!(to_json(&invoice).unwrap().to_string(), expected);
}

#[test]
fn prints_only_the_set_field_of_a_oneof() {
    let point = ChannelPoint {
        funding_txid: None,
        output_index: 1,
    };
    assert_eq!(
        to_json(&point).unwrap().to_string(),
        r#"{"output_index":1}"#
    );
    let config = BlindedPathConfig {
        num_hops: Some(0),
        ..Default::default()
    };
    let expected = r#"{"num_hops":0,"node_omission_list":[],"incoming_channel_list":[]}"#;
    assert_eq!(to_json(&config).unwrap().to_string(), expected);
}

#[test]
fn unknown_enum_values_stay_numbers() {
    let payment = Payment {
        status: 99,
        ..Default::default()
    };
    assert_eq!(to_json(&payment).unwrap()["status"], 99);
    let channel = Channel {
        commitment_type: 7,
        ..Default::default()
    };
    assert_eq!(to_json(&channel).unwrap()["commitment_type"], "TAPROOT");
}
