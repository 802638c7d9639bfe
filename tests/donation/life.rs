//! The page's invoice over time: restarts, rotation and renewal.

use std::time::{Duration, Instant};

use ampd::invoices::decode::DecodedInvoice;
use anyhow::{Context, Result, ensure};
use lnd_api::proto::ampdrpc::InvoiceReference;
use lnd_api::proto::ampdrpc::invoice_reference::Name;
use regtest::network::Network;
use regtest::trials;
use serde_json::Value;

use crate::http::Events;
use crate::{LIMIT, Scene, ampcli, binaries};
use regtest::wait::wait_for;

/// Maximum delay until open pages show a payment.
const SOON: Duration = Duration::from_secs(1);

/// The payment hash, which identifies the invoice whatever its encoding.
pub(super) fn hash(invoice: &str) -> Result<[u8; 32]> {
    Ok(invoice.parse::<DecodedInvoice>()?.payment_hash.0)
}

pub(crate) fn trials() -> trials::Trials {
    trials![
        invoice_and_totals_survive_restarts_and_rotation,
        invoice_is_renewed_before_expiry_unless_disabled,
        donation_rpc_fails_without_a_donation_page,
    ]
}

async fn invoice_and_totals_survive_restarts_and_rotation() -> Result<()> {
    let mut scene = Scene::start(|_| {}).await?;
    let first = scene.invoice().await?;
    scene.pay(&first, 1_000, b"").await?;
    for restarts in 1..=2 {
        // Once with a clean shutdown, once with a kill.
        match restarts {
            1 => drop(scene.network["alice"].stop().await?),
            _ => scene.network.kill(&["alice"])?,
        }
        scene.network.restart(&["alice"]).await?;
        scene.network.connect("bob", "alice").await?;
        scene.network.wait_usable().await?;
        assert_eq!(scene.invoice().await?, first);
        let mut events = Events::open(&scene.address()?).await?;
        let state = events.next("state").await?;
        assert_eq!(state["count"], restarts);
        scene.pay(&first, 1_000, b"").await?;
        let paid = Instant::now();
        let payment = events.next("payment").await?;
        assert!(paid.elapsed() < SOON, "{:?}", paid.elapsed());
        assert_eq!(payment["count"], restarts + 1);
        assert_eq!(payment["total"], format!("{},000 sat", restarts + 1));
    }
    let mut events = Events::open(&scene.address()?).await?;
    let before = events.next("state").await?;
    let rotated = ampcli(&scene.network, &["donations", "rotate"])?;
    let second = scene.invoice().await?;
    assert_eq!(rotated["payment_request"], second);
    assert_ne!(hash(&first)?, hash(&second)?);
    // Open pages are notified of the new invoice.
    let after = events.next("state").await?;
    assert_ne!(before["version"], after["version"]);

    // Payments to the printed code and to the new one both count.
    scene.pay(&first, 1_000, b"").await?;
    scene.pay(&second, 500, b"").await?;
    let count =
        async |events: &mut Events| anyhow::Ok(events.next("payment").await?["count"].clone());
    assert_eq!(count(&mut events).await?, 4);
    assert_eq!(count(&mut events).await?, 5);
    let shown = ampcli(&scene.network, &["donations", "show"])?;
    assert_eq!(shown["num_payments"], "5");
    assert_eq!(shown["amt_msat"], "4500000");
    let paid: Vec<&Value> = shown["invoices"]
        .as_array()
        .context("not a list")?
        .iter()
        .map(|invoice| &invoice["amt_paid_msat"])
        .collect();
    assert_eq!(paid, ["4000000", "500000"]);
    scene.network.finish();
    Ok(())
}

async fn invoice_is_renewed_before_expiry_unless_disabled() -> Result<()> {
    let scene = Scene::start(|alice| alice.set("donations-expiry", "60s")).await?;
    let first = scene.invoice().await?;
    let mut events = Events::open(&scene.address()?).await?;
    let before = events.next("state").await?;
    // Renewal happens when a third of the minute is left.
    let after = tokio::time::timeout(2 * LIMIT, async {
        loop {
            if let Ok(state) = events.next("state").await {
                return state;
            }
        }
    });
    assert_ne!(before["version"], after.await?["version"]);
    let second = scene.invoice().await?;
    assert_ne!(hash(&first)?, hash(&second)?);
    // The old invoice can still be paid.
    scene.pay(&first, 1_000, b"").await?;

    let api = scene.network["alice"].api()?;
    let mut service = api.static_invoices;
    let name = Name::PaymentHash(hash(&second)?.to_vec());
    let reference = InvoiceReference { name: Some(name) };
    service.disable_invoice(reference.clone()).await?;
    wait_for("the page to be paused", LIMIT, async || {
        let page = scene.get("/").await?;
        ensure!(
            page.text()?.contains("does not accept donations"),
            "{page:?}"
        );
        Ok(())
    })
    .await?;
    assert_eq!(scene.get("/qr.svg").await?.status, 503);
    service.enable_invoice(reference).await?;
    wait_for("the page to resume", LIMIT, async || {
        let page = scene.get("/qr.svg").await?;
        ensure!(page.status == 200, "{page:?}");
        Ok(())
    })
    .await?;
    scene.network.finish();
    Ok(())
}

async fn donation_rpc_fails_without_a_donation_page() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    assert!(network["alice"].donation_address().is_err());
    let error = ampcli(&network, &["donations", "rotate"]).unwrap_err();
    assert!(
        error.to_string().contains("donations-listen is not set"),
        "{error}"
    );
    network.finish();
    Ok(())
}
