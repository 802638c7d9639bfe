//! Clients that stop in the middle of a request: each is disconnected after its timeout, and uses no
//! memory until then.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use regtest::network::Network;
use regtest::node::Node;
use regtest::node::Software::Ampd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::tls::TlsClient;
use crate::binaries;

const HTTP_1: &str = "http/1.1";
/// Exceeds the node's timeouts: 60 s for headers, 30 s for a body, 60 + 20 s for a ping response.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn stalled_clients_are_disconnected() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let macaroon = node.macaroon("admin.macaroon")?.to_lower_hex_string();
    let (header, body, socket, ping) = tokio::join!(
        send_and_read(node, HTTP_1, b"GET /v1/getinfo HTTP/1.1\r\nHost:".to_vec()),
        send_and_read(node, HTTP_1, post(&macaroon, "")),
        send_and_read(node, HTTP_1, socket(&macaroon)),
        send_and_read(node, "h2", preface_of_http_2()),
    );
    ensure!(
        !header?.contains("200 OK"),
        "a partial header was answered as a request"
    );
    let body = body?;
    ensure!(body.contains("400 Bad Request"), "{body}");
    ensure!(
        body.contains("timed out waiting for the request body"),
        "{body}"
    );
    let socket = socket?;
    ensure!(socket.contains("101 Switching Protocols"), "{socket}");
    ensure!(!ping?.is_empty(), "the node sent no ping");
    node.api()?.info().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn unauthenticated_bodies_are_not_awaited() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let mut stream = TlsClient::of(node)?
        .connect(&node.rest_address()?, HTTP_1)
        .await?;
    stream.write_all(&post("00", "")).await?;
    let mut answer = String::new();
    // Well below the 30 s allowed with a macaroon.
    let patience = Duration::from_secs(10);
    while !answer.contains("}") {
        let mut some = [0; 1024];
        let read = timeout(patience, stream.read(&mut some)).await;
        let read = read.context("the node waited for the body")??;
        ensure!(read > 0, "{answer}");
        answer += std::str::from_utf8(&some[..read])?;
    }
    ensure!(answer.contains("cannot determine data format"), "{answer}");
    network.finish();
    Ok(())
}

/// Sends bytes and reads until the node closes the connection.
async fn send_and_read(node: &Node, protocol: &str, what: Vec<u8>) -> Result<String> {
    let tls = TlsClient::of(node)?;
    let mut stream = tls.connect(&node.rest_address()?, protocol).await?;
    stream.write_all(&what).await?;
    let mut answer = Vec::new();
    let end = timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    // A close without TLS close_notify counts as well.
    drop(end.with_context(|| {
        format!(
            "the node did not close the connection after {:?}",
            what.as_hex()
        )
    })?);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request whose Content-Length exceeds its body.
fn post(macaroon: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/invoices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\
         Grpc-Metadata-macaroon: {macaroon}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A WebSocket whose first message, the request, is never sent.
fn socket(macaroon: &str) -> Vec<u8> {
    format!(
        "GET /v2/router/send?method=POST HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Grpc-Metadata-macaroon: {macaroon}\r\n\r\n"
    )
    .into_bytes()
}

/// The preface and an empty SETTINGS frame (RFC 9113, section 3.4). Pings are not answered afterwards.
fn preface_of_http_2() -> Vec<u8> {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat()
}
