//! A page in a browser: fetch and WebSocket, with a macaroon.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use regtest::network::Network;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{binaries, file, install};

/// Milliseconds of the page's own time, which stands still while it waits for the node.
const BUDGET: &str = "--virtual-time-budget=20000";
const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_page_calls_and_follows() -> Result<()> {
    if !install::is_there("chromium") {
        install::skipped::<()>("chromium is not installed")?;
        return Ok(());
    }
    let mut network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    // A page from a file has the origin "null"; any is allowed here.
    alice.set_raw("rest-cors", "[\"*\"]");
    network.add(vec![alice]).await?;
    let result = shown(&network).await?;
    assert_eq!(result["key"], network["alice"].key(), "{result}");
    let invoice = result["invoice"].as_str().context("no invoice")?;
    assert!(invoice.starts_with("lnbcrt70n1"), "{invoice}");
    let refused = json!({"code": 2, "message": "expected 1 macaroon, got 0", "details": []});
    assert_eq!(result["refused"], json!({"status": 500, "body": refused}));
    assert_eq!(result["followed"], "ws");
    let sent = result["sent"].as_str().context("no answer")?;
    assert!(sent.contains("invoice"), "{sent}");
    network.finish();
    Ok(())
}

/// What the page says in the end.
async fn shown(network: &Network) -> Result<Value> {
    let node = &network["alice"];
    let access = json!({
        "rest": format!("https://{}", node.rest_address()?),
        "macaroon": node.macaroon("admin.macaroon")?.to_lower_hex_string(),
    });
    let profile = tempfile::tempdir()?;
    let mut browser = Command::new("chromium");
    browser
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            BUDGET,
        ])
        // The browser of a person would have been told to trust the certificate.
        .arg("--ignore-certificate-errors")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}#{access}", file("page.html").display()));
    let mut browser = tokio::process::Command::from(browser);
    let output = timeout(LIMIT, browser.kill_on_drop(true).output()).await;
    let output = output.context("the browser did not end")??;
    let page = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let result = page
        .split_once("<p id=\"result\">")
        .and_then(|(_, rest)| rest.split_once("</p>"));
    let (result, _) = result.with_context(|| format!("{page}\n{errors}"))?;
    let result: Value =
        serde_json::from_str(result).with_context(|| format!("{page}\n{errors}"))?;
    ensure!(result.get("error").is_none(), "{result}\n{errors}");
    Ok(result)
}
