//! BIP 21 links with an on-chain address and an invoice, from `ampcli addinvoice` and on the page.

use std::fs;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::{AddressType, NewAddressRequest};
use regtest::trials;
use regtest::wait::wait_for;

use crate::browser::qr_text;
use crate::{LIMIT, Scene, ampcli};

pub(crate) fn trials() -> trials::Trials {
    trials![
        bip21_link_and_qr_code_contain_address_and_invoice,
        page_reserves_an_address_until_it_is_paid,
    ]
}

async fn bip21_link_and_qr_code_contain_address_and_invoice() -> Result<()> {
    let scene = Scene::start(|alice| {
        alice.set_raw("donations-on-chain", "true");
        alice.set_raw("donations-amounts", "[1000]");
    })
    .await?;
    let file = scene.network["alice"].dir().join("link.png");
    let path = file.to_str().context("the path is not UTF-8")?;
    let args = [
        "addinvoice",
        "--amt=1500",
        "--memo=tea & cake",
        "--bip21",
        "--qr_file",
        path,
    ];
    let added = ampcli(&scene.network, &args)?;
    let invoice = added["payment_request"]
        .as_str()
        .context("the response has no payment_request")?;
    let link = added["bip21"]
        .as_str()
        .context("the response has no bip21")?;
    let (start, rest) = link.split_once('?').context(link.to_owned())?;
    assert!(start.starts_with("bitcoin:bcrt1q"), "{link}");
    let expected = format!("amount=0.000015&message=tea%20%26%20cake&lightning={invoice}");
    assert_eq!(rest, expected);
    let scanned = qr_text(&fs::read(&file)?)?;
    assert_ne!(
        scanned, link,
        "the QR code uses upper case, which is more compact"
    );
    assert_eq!(scanned.to_lowercase(), link.to_lowercase());
    assert!(scanned.contains("?amount=") && scanned.contains("&lightning=LNBCRT"));

    let address = address_of_the_page(&scene).await?;
    assert!(
        !link.contains(&address),
        "the address was already given out"
    );
    let page = scene.get("/?amount=1000").await?;
    let memo = "Tea%20for%20the%20night%20shift";
    // The template escapes the ampersand between parameters.
    let link =
        format!("bitcoin:{address}?amount=0.00001&#38;message={memo}&#38;lightning=lnbcrt10u1");
    assert!(page.text()?.contains(&link), "{}", page.text()?);
    assert_eq!(scene.get("/bitcoin.svg?amount=1000").await?.status, 200);
    scene.network.finish();
    Ok(())
}

/// An address given out elsewhere would count other payments as donations.
async fn page_reserves_an_address_until_it_is_paid() -> Result<()> {
    let mut scene = Scene::start(|alice| alice.set_raw("donations-on-chain", "true")).await?;
    let first = address_of_the_page(&scene).await?;
    restart_with(&mut scene, "true").await?;
    assert_eq!(address_of_the_page(&scene).await?, first);
    let unused = unused_address(&scene).await?;
    assert_ne!(unused, first);
    restart_with(&mut scene, "false").await?;
    assert!(!scene.get("/").await?.text()?.contains("bitcoin:"));
    assert_eq!(unused_address(&scene).await?, unused);
    restart_with(&mut scene, "true").await?;
    assert_eq!(address_of_the_page(&scene).await?, first);

    let payment = [(first.clone(), 50_000)];
    scene.network.bitcoind.fund(&payment).await?;
    scene.network.mine(1).await?;
    wait_for("a new address on the page", LIMIT, async || {
        let next = address_of_the_page(&scene).await?;
        ensure!(next != first && next != unused, "{next}");
        Ok(())
    })
    .await?;
    scene.network.finish();
    Ok(())
}

async fn restart_with(scene: &mut Scene, on_chain: &str) -> Result<()> {
    let alice = &mut scene.network["alice"];
    alice.kill()?;
    alice.set_raw("donations-on-chain", on_chain);
    scene.network.restart(&["alice"]).await
}

/// An address as returned to other clients.
async fn unused_address(scene: &Scene) -> Result<String> {
    let request = NewAddressRequest {
        r#type: AddressType::UnusedWitnessPubkeyHash.into(),
        ..Default::default()
    };
    let mut lightning = scene.network["alice"].api()?.lightning;
    Ok(lightning.new_address(request).await?.into_inner().address)
}

async fn address_of_the_page(scene: &Scene) -> Result<String> {
    let page = scene.get("/").await?;
    let link = page.text()?.split_once("href=\"bitcoin:");
    let (_, link) = link.context("the page has no BIP 21 link")?;
    let (address, _) = link.split_once('?').context("the link has no address")?;
    Ok(address.to_owned())
}
