//! Tests of requests for new invoices, with the error texts of lnd.

use lightning_types::payment::PaymentPreimage;
use tonic::Code;

use super::*;
use crate::invoices::InvoiceError;
use crate::rpc::test_recordings::{recorded, text};

fn amp() -> Invoice {
    Invoice {
        is_amp: true,
        ..Default::default()
    }
}

fn refusal(request: Invoice) -> (Code, String) {
    let status = read(request).unwrap_err();
    (status.code(), status.message().to_owned())
}

/// Returns lnd's error text for the recorded command.
fn lnd_error(name: &str) -> String {
    let error = text(&recorded("errors.json")[name]["error"]);
    let (_, text) = error.split_once(" desc = ").unwrap();
    text.to_owned()
}

#[test]
fn parses_every_field() {
    let request = Invoice {
        memo: "plain".into(),
        value: 100,
        expiry: 60,
        cltv_expiry: 90,
        r_preimage: vec![1; 32],
        private: true,
        fallback_addr: "bcrt1q8an5cqcaqp8zakm09llck4vmzqz6l4wed28pm6".into(),
        ..Default::default()
    };
    let new = read(request.clone()).unwrap();
    assert_eq!((new.memo.as_str(), new.value_msat), ("plain", 100_000));
    assert_eq!((new.expiry, new.cltv_delta), (Expiry::Seconds(60), 90));
    let preimage = Some(PaymentPreimage([1; 32]));
    assert_eq!(new.purpose, Purpose::Once { preimage });
    assert!(new.private);
    let fallback = new.fallback.unwrap().assume_checked().to_string();
    assert_eq!(fallback, request.fallback_addr);
}

#[test]
fn parses_amp_invoice() {
    let new = read(amp()).unwrap();
    assert_eq!((new.purpose, new.expiry), (Purpose::Amp, Expiry::Default));
    let forever = Invoice {
        expiry: i64::MAX,
        ..amp()
    };
    assert_eq!(read(forever).unwrap().expiry, Expiry::Never);
}

#[test]
fn refusals_use_lnds_texts() {
    let unknown = |name| (Code::Unknown, lnd_error(name));
    let preimage = Invoice {
        r_preimage: vec![0x11; 32],
        ..amp()
    };
    assert_eq!(refusal(preimage), unknown("amp and preimage"));
    let blinded = Invoice {
        is_blinded: true,
        ..amp()
    };
    assert_eq!(refusal(blinded), unknown("amp and blind"));
    let negative = Invoice { value: -5, ..amp() };
    assert_eq!(refusal(negative), unknown("negative amount"));
}

#[test]
fn registry_errors_use_lnds_texts() {
    let memo = InvoiceError::MemoTooLong(2_000).to_string();
    assert_eq!(memo, lnd_error("memo too long"));
    // Go writes the seconds as 9.9999999e+07.
    let plain = lnd_error("expiry too long")
        .replace("9.9999999e+07", "99999999")
        .replace("3.1536e+07", "31536000");
    assert_eq!(InvoiceError::ExpiryTooLong(99_999_999).to_string(), plain);
    // LDK's minimum CLTV delta is higher than lnd's, so the text differs on purpose.
    assert!(lnd_error("cltv too small").starts_with("CLTV delta of 5 must be "));
    let delta = InvoiceError::CltvDelta {
        delta: 5,
        least: 42,
        most: 65_535,
    };
    assert_eq!(
        delta.to_string(),
        "CLTV delta of 5 must be between 42 and 65535"
    );
}

#[test]
fn rejects_malformed_fields() {
    let preimage = Invoice {
        r_preimage: vec![1; 3],
        ..Default::default()
    };
    assert_eq!(refusal(preimage).1, "invalid preimage length of 3, want 32");
    let description = Invoice {
        description_hash: vec![1],
        ..amp()
    };
    assert_eq!(
        refusal(description).1,
        "description hash is 1 bytes, must be 32"
    );
    let expiry = Invoice {
        expiry: -1,
        ..amp()
    };
    assert_eq!(refusal(expiry).0, Code::InvalidArgument);
    let twice = Invoice {
        value: 1,
        value_msat: 1,
        ..amp()
    };
    assert_eq!(
        refusal(twice).1,
        "sat and msat arguments are mutually exclusive"
    );
    for address in ["x", "bcrt1qqqq", "lnbc1"] {
        let fallback = Invoice {
            fallback_addr: address.into(),
            ..amp()
        };
        let (code, text) = refusal(fallback);
        assert_eq!(code, Code::Unknown);
        assert!(text.starts_with("invalid fallback address: "), "{text}");
    }
    let blinded = Invoice {
        is_blinded: true,
        ..Default::default()
    };
    assert_eq!(refusal(blinded).0, Code::Unimplemented);
}
