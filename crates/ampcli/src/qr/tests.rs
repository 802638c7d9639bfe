//! Tests of the files that `qr` writes.

use serde_json::Value;

use super::*;

/// Invoices of various lengths, created by lnd.
fn invoices() -> Vec<String> {
    let lnd = include_str!("../../../../tests/data/lnd_invoices.json");
    let lnd: Vec<Value> = serde_json::from_str(lnd).unwrap();
    let request = |invoice: &Value| invoice["addinvoice"]["payment_request"].clone();
    let requests = lnd.iter().map(request);
    requests
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn qr(invoice: &str, file: Option<&Path>) -> Result<(), String> {
    let command = Qr {
        invoice: Some(invoice.to_owned()),
        pay_req: None,
        qr_file: file.map(|file| file.to_str().unwrap().parse().unwrap()),
    };
    command.run().map_err(|error| error.to_string())
}

#[test]
fn file_extension_selects_the_image_format() {
    let directory = tempfile::tempdir().unwrap();
    let invoice = &invoices()[0];
    let svg = directory.path().join("x.svg");
    qr(&format!("lightning:{invoice}"), Some(&svg)).unwrap();
    let drawn = Code::of_invoice(invoice).unwrap();
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), drawn.svg());
    let png = directory.path().join("x.PNG");
    qr(invoice, Some(&png)).unwrap();
    assert_eq!(std::fs::read(&png).unwrap(), drawn.png().unwrap());
    for name in ["x", "x.gif", "svg", ""] {
        assert!(name.parse::<ImageFile>().is_err(), "{name}");
    }
    let nowhere = directory.path().join("no/x.svg");
    let error = qr(invoice, Some(&nowhere)).unwrap_err();
    assert!(error.starts_with("cannot write "), "{error}");
}

#[test]
fn rejects_invalid_invoices() {
    let mut typo = invoices()[0].clone();
    typo.replace_range(20..21, if &typo[20..21] == "q" { "p" } else { "q" });
    for text in ["", "lnbc1", "hello", &typo] {
        let error = qr(text, None).unwrap_err();
        assert!(error.starts_with("not a valid invoice: "), "{error}");
    }
}
