//! Invalid requests, each of which gets an error that names the mistake.

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::node::Node;
use regtest::node::Software::Ampd;
use regtest::rest::Rest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::LIMIT;
use crate::binaries;

#[tokio::test]
async fn invalid_requests_get_specific_errors() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let rest = Rest::of(node, "admin.macaroon")?;
    let add = "POST /v1/invoices";
    for (call, body, status, why) in [
        (add, "{", 400, "proto: syntax error"),
        (add, "[1]", 400, "invalid type: sequence"),
        (add, "{\"value\": {}}", 400, "invalid type: map"),
        (add, "{\"x\": 1}", 400, "unknown field \\\"x\\\""),
        (add, "{\"value\": \"-5\"}", 500, "amount cannot be negative"),
        (
            "GET /v1/channels?active_only=yes",
            "",
            400,
            "is not true or false",
        ),
        (
            "GET /v1/invoice/00",
            "",
            500,
            "invalid hash length of 1, want 32",
        ),
        ("GET /v1/nothing", "", 404, "Not Found"),
        ("DELETE /v1/getinfo", "", 501, "Method Not Allowed"),
        ("GET /v1/graph/nodemetrics", "", 404, "Not Found"),
    ] {
        let (verb, path) = call.split_once(' ').context("not of the form VERB PATH")?;
        let answer = rest.send(verb, path, body, "application/json").await?;
        assert_eq!(answer.status, status, "{call} {body}: {answer:?}");
        let is_told = answer.text.contains(why) && answer.text.starts_with("{\"code\":");
        ensure!(is_told, "{call} {body}: {answer:?}");
    }
    let long = "a".repeat(2 << 20);
    let answer = rest.post("/v1/invoices", &json!({"memo": long})).await;
    // The node may close the connection before everything was sent.
    if let Ok(answer) = answer {
        ensure!(
            answer.status == 400 && answer.text.contains("1048576"),
            "{answer:?}"
        );
    }
    plain_text_is_disconnected(node).await?;
    rest.get("/v1/getinfo").await?.json()?;
    network.finish();
    Ok(())
}

async fn plain_text_is_disconnected(node: &Node) -> Result<()> {
    let mut plain = TcpStream::connect(node.rest_address()?).await?;
    plain
        .write_all(b"GET /v1/getinfo HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let end = timeout(LIMIT, plain.read_to_end(&mut answer)).await?;
    ensure!(end.is_err() || !answer.starts_with(b"HTTP"), "{answer:?}");
    Ok(())
}
