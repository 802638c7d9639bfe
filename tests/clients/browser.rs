//! A web page in a browser that uses fetch and WebSocket with a macaroon.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use bitcoin::hex::DisplayHex;
use regtest::network::Network;
use regtest::trials;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::binaries;

const PAGE: &str = include_str!("page.html");
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> trials::Trials {
    trials![cross_origin_page_can_call_and_stream].ignored_if(trials::not_installed(&["chromium"]))
}

async fn cross_origin_page_can_call_and_stream() -> Result<()> {
    let mut site = Site::open().await?;
    let mut network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.set_raw("rest-cors", &format!("[{:?}]", site.origin));
    network.add(vec![alice]).await?;
    let result = site.visit(&network).await?;
    assert_eq!(result["key"], network["alice"].key(), "{result}");
    let invoice = result["invoice"]
        .as_str()
        .context("the page returned no invoice")?;
    assert!(invoice.starts_with("lnbcrt70n1"), "{invoice}");
    let refused = json!({"code": 2, "message": "expected 1 macaroon, got 0", "details": []});
    assert_eq!(result["refused"], json!({"status": 500, "body": refused}));
    assert_eq!(result["followed"], "ws");
    let sent = result["sent"]
        .as_str()
        .context("the page returned no response")?;
    assert!(sent.starts_with("not a payment request"), "{sent}");
    network.finish();
    Ok(())
}

/// A web server with one page, which posts its results back.
struct Site {
    origin: String,
    results: mpsc::Receiver<String>,
}

impl Site {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let (found, results) = mpsc::channel(1);
        let take = async move |result: String| {
            // Fails if the test has already ended.
            let _ = found.send(result).await;
        };
        let routes = Router::new()
            .route("/", get(async || Html(PAGE)))
            .route("/result", post(take));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { origin, results })
    }

    /// Returns the results of the page.
    async fn visit(&mut self, network: &Network) -> Result<Value> {
        let node = &network["alice"];
        let access = json!({
            "rest": format!("https://{}", node.rest_address()?),
            "macaroon": node.macaroon("admin.macaroon")?.to_lower_hex_string(),
        });
        let profile = tempfile::tempdir()?;
        let mut browser = Command::new("chromium");
        browser
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .arg("--remote-debugging-port=0")
            // A user would have accepted the certificate in the browser.
            .arg("--ignore-certificate-errors")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("{}/#{access}", self.origin))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut browser = tokio::process::Command::from(browser);
        let mut browser = browser.kill_on_drop(true).spawn()?;
        let result = timeout(LIMIT, self.results.recv()).await;
        browser.kill().await?;
        let result = result
            .context("the page returned no result")?
            .context("the web server has stopped")?;
        Ok(serde_json::from_str(&result)?)
    }
}
