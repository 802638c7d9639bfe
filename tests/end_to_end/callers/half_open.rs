//! Callers who begin and do not go on: each is hung up on after its time, and takes no memory until then.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use regtest::network::Network;
use regtest::node::Node;
use regtest::node::Software::Ampd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::door::Door;
use crate::binaries;

const HTTP_1: &str = "http/1.1";
/// The node waits 60 s for a header, 30 s for a body, and 60 + 20 s for the answer to a ping.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn who_does_not_go_on_is_hung_up_on() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let macaroon = node.macaroon("admin.macaroon")?.to_lower_hex_string();
    let (header, body, socket, ping) = tokio::join!(
        says(node, HTTP_1, b"GET /v1/getinfo HTTP/1.1\r\nHost:".to_vec()),
        says(node, HTTP_1, post(&macaroon, "")),
        says(node, HTTP_1, socket(&macaroon)),
        says(node, "h2", preface_of_http_2()),
    );
    ensure!(!header?.contains("200 OK"), "half a header is no request");
    let body = body?;
    ensure!(body.contains("400 Bad Request"), "{body}");
    ensure!(body.contains("the request's body took too long"), "{body}");
    let socket = socket?;
    ensure!(socket.contains("101 Switching Protocols"), "{socket}");
    ensure!(!ping?.is_empty(), "it was asked whether it is still there");
    node.api()?.info().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn the_body_of_a_stranger_is_not_waited_for() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let mut stream = Door::of(node)?
        .connect(&node.rest_address()?, HTTP_1)
        .await?;
    stream.write_all(&post("00", "")).await?;
    let mut answer = String::new();
    // Well below the 30 s that a caller with a macaroon has.
    let patience = Duration::from_secs(10);
    while !answer.contains("}") {
        let mut some = [0; 1024];
        let read = timeout(patience, stream.read(&mut some)).await;
        let read = read.context("the body was waited for")??;
        ensure!(read > 0, "{answer}");
        answer += std::str::from_utf8(&some[..read])?;
    }
    ensure!(answer.contains("cannot determine data format"), "{answer}");
    network.finish();
    Ok(())
}

/// Says something, and listens until the node hangs up.
async fn says(node: &Node, protocol: &str, what: Vec<u8>) -> Result<String> {
    let door = Door::of(node)?;
    let mut stream = door.connect(&node.rest_address()?, protocol).await?;
    stream.write_all(&what).await?;
    let mut answer = Vec::new();
    let end = timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    // An end without TLS's goodbye is one, too.
    drop(end.with_context(|| format!("the node still waits after {:?}", what.as_hex()))?);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request that promises more than it brings.
fn post(macaroon: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/invoices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\
         Grpc-Metadata-macaroon: {macaroon}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A WebSocket whose first message, the request, never comes.
fn socket(macaroon: &str) -> Vec<u8> {
    format!(
        "GET /v2/router/send?method=POST HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Grpc-Metadata-macaroon: {macaroon}\r\n\r\n"
    )
    .into_bytes()
}

/// RFC 9113, section 3.4: the preface and an empty SETTINGS frame. No ping is answered after it.
fn preface_of_http_2() -> Vec<u8> {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat()
}
