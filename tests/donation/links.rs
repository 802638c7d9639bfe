//! Links that hold an on-chain address and an invoice: of `ampcli addinvoice`, and of the page.

use std::fs;

use ampd::rpc::proto::lnrpc::{AddressType, NewAddressRequest};
use anyhow::{Context, Result};

use crate::browser::qr_text;
use crate::{Scene, ampcli};

#[tokio::test]
async fn a_link_has_an_address_and_the_invoice_and_so_has_its_code() -> Result<()> {
    let scene = Scene::start(|alice| {
        alice.set_raw("donations-on-chain", "true");
        alice.set_raw("donations-amounts", "[1000]");
    })
    .await?;
    let file = scene.network["alice"].dir().join("link.png");
    let path = file.to_str().context("no UTF-8")?;
    let args = [
        "addinvoice",
        "--amt=1500",
        "--memo=tea & cake",
        "--bip21",
        "--qr_file",
        path,
    ];
    let added = ampcli(&scene.network, &args)?;
    let invoice = added["payment_request"].as_str().context("no invoice")?;
    let link = added["bip21"].as_str().context("no link")?;
    let (start, rest) = link.split_once('?').context(link.to_owned())?;
    assert!(start.starts_with("bitcoin:bcrt1q"), "{link}");
    let expected = format!("amount=0.000015&message=tea%20%26%20cake&lightning={invoice}");
    assert_eq!(rest, expected);
    let scanned = qr_text(&fs::read(&file)?)?;
    assert_ne!(scanned, link, "the capitals take less room");
    assert_eq!(scanned.to_lowercase(), link.to_lowercase());
    assert!(scanned.contains("?amount=") && scanned.contains("&lightning=LNBCRT"));

    // The page's address is the wallet's next one, whoever looks.
    let request = NewAddressRequest {
        r#type: AddressType::UnusedWitnessPubkeyHash.into(),
        ..Default::default()
    };
    let mut lightning = scene.network["alice"].api()?.lightning;
    let address = lightning.new_address(request).await?.into_inner().address;
    let page = scene.get("/?amount=1000").await?;
    let memo = "Tea%20for%20the%20night%20shift";
    // The template escapes what the link has between its parameters.
    let link =
        format!("bitcoin:{address}?amount=0.00001&#38;message={memo}&#38;lightning=lnbcrt10u1");
    assert!(page.text()?.contains(&link), "{}", page.text()?);
    assert_eq!(scene.get("/bitcoin.svg?amount=1000").await?.status, 200);
    scene.network.finish();
    Ok(())
}
