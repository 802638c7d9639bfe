//! Tests of sendpayment and payinvoice: flags, requests, the prompt.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    command: SendPayment,
}

const DEST: &str = "036578a1115e56317819f35d7fd55979a1539bafab72a9017cf33c3d5d45df4f8a";

fn request(args: &[&str]) -> Result<SendPaymentRequest, String> {
    let line = Line::parse_from(std::iter::once(&"ampcli").chain(args));
    line.command.request().map_err(|error| error.to_string())
}

#[test]
fn flags_and_positional_values_are_equivalent() {
    let flags = request(&[
        "--dest",
        DEST,
        "--amt=1000",
        "--amp",
        "--final_cltv_delta=90",
    ]);
    let values = request(&[DEST, "1000", "--amp", "90"]);
    assert_eq!(flags, values);
    let request = flags.unwrap();
    assert_eq!(
        (request.amt, request.amt_msat, request.amp),
        (1000, 0, true)
    );
    assert_eq!(request.final_cltv_delta, 90);
}

#[test]
fn third_value_without_amp_is_the_payment_hash() {
    let hash = "11".repeat(32);
    let request = request(&[DEST, "1500msat", &hash]).unwrap();
    assert_eq!((request.amt, request.amt_msat), (0, 1500));
    assert_eq!(request.payment_hash, [0x11; 32]);
}

#[test]
fn keysend_needs_no_payment_hash() {
    let keysend = request(&[DEST, "1000", "--keysend", "90", "--message=hi"]).unwrap();
    assert_eq!((keysend.final_cltv_delta, keysend.amp), (90, false));
    assert_eq!(keysend.payment_hash.len(), 32);
    let records: Vec<_> = keysend.dest_custom_records.into_keys().collect();
    assert_eq!(records, [34_349_334, 5_482_373_484]);
}

#[test]
fn sendpayment_and_payinvoice_build_the_same_request() {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: PayInvoice,
    }
    let address = "22".repeat(32);
    let args = [
        "ampcli",
        "--pay_req=lightning:lnbc1",
        "--amt=5",
        "--amp_reuse",
        "--pay_addr",
        &address,
    ];
    let payinvoice = Line::parse_from(args).command.request().unwrap();
    assert_eq!(payinvoice.payment_addr, [0x22; 32]);
    assert_eq!(payinvoice.payment_request, "lnbc1");
    assert!(payinvoice.amp && payinvoice.amt == 5);
    assert_eq!(request(&args[1..]), Ok(payinvoice));
    assert!(request(&["--pay_req=lnbc1", "--keysend"]).is_err());
    assert!(request(&["--pay_req=lnbc1", "--pay_addr=00"]).is_err());
}

#[test]
fn route_hints_are_accepted_for_a_public_key() {
    let hints = r#"[{"hop_hints":[{"node_id":"02aa","chan_id":"5"}]}]"#;
    let request = request(&[DEST, "5", "--amp", "--route_hints", hints]).unwrap();
    assert_eq!(request.route_hints[0].hop_hints[0].chan_id, 5);
}

#[test]
fn rejects_invalid_arguments_with_lnclis_errors() {
    for (args, text) in [
        (
            vec!["--amp", "--keysend"],
            "either keysend or amp may be set, but not both",
        ),
        (
            vec![DEST, "5", "--keysend", "--payment_hash=11"],
            "cannot set payment hash when using keysend",
        ),
        (
            vec![DEST, "5", "--amp_reuse", "--payment_hash=11"],
            "cannot set payment hash when using amp",
        ),
        (
            vec!["0011", "5"],
            "dest node pubkey must be exactly 33 bytes, is instead: 2",
        ),
        (
            vec![DEST, "5", "--amp", "--pay_addr=0011"],
            "payment addr must be exactly 32 bytes, is instead 2",
        ),
    ] {
        assert_eq!(request(&args), Err(text.to_owned()));
    }
    for args in [
        vec![],
        vec![DEST],
        vec![DEST, "5"],
        vec![DEST, "5", "--amp", "1", "", "x"],
    ] {
        assert!(request(&args).is_err(), "{args:?}");
    }
}

#[test]
fn description_cannot_hide_or_reorder_the_prompt() {
    let invoice = PayReq {
        description: "tea\u{1b}[2K\n\u{202e}\u{2028}".to_owned(),
        ..Default::default()
    };
    let question = question(&invoice, 1_500, 2_000);
    assert!(
        question.contains("Description: tea\\u{1b}[2K\\u{a}\\u{202e}\\u{2028}\n"),
        "{question}"
    );
    assert!(question.contains("Amount (in satoshis): 1.500\nFee limit (in satoshis): 2\n"));
}
