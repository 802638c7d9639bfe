//! Invalid methods, paths, amounts and sizes, and security headers of all responses.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use regtest::network::Network;
use regtest::trials;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::http::{get, raw, send};
use crate::{LIMIT, Scene, binaries};

const PATHS: [&str; 5] = ["/", "/qr.svg", "/qr.png", "/invoice.txt", "/events"];

pub(crate) fn trials() -> trials::Trials {
    trials![
        unknown_paths_and_methods_are_rejected,
        every_response_has_strict_security_headers,
        oversized_and_invalid_requests_are_rejected,
        idle_connections_are_closed,
        connections_that_do_not_read_are_closed,
        port_in_use_is_reported_with_its_config_key,
    ]
}

async fn unknown_paths_and_methods_are_rejected() -> Result<()> {
    let scene = Scene::start(|alice| alice.set_raw("donations-amounts", "[1000]")).await?;
    let address = &scene.address()?;
    for path in PATHS {
        let head = send(address, "HEAD", path, "", "").await?;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
            let answer = send(address, method, path, "", "").await?;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), "GET,HEAD", "{method} {path}");
        }
    }
    for path in [
        "/index.html",
        "/v1/getinfo",
        "/.well-known/lnurlp/tips",
        "/.well-known/security.txt",
        "/qr.svg/",
        "//",
        "/../../etc/passwd",
        "/%2e%2e/ampd.db",
        "/bitcoin.svg",
        "/page.css",
        "/favicon.ico",
        "/lnrpc.Lightning/GetInfo",
    ] {
        assert_eq!(get(address, path).await?.status, 404, "{path}");
    }
    for query in [
        "amount=1",
        "amount=",
        "amount=-1000",
        "amount=1000&amount=1000",
        "amount=1e3",
    ] {
        for path in ["/", "/qr.svg", "/invoice.txt"] {
            let answer = get(address, &format!("{path}?{query}")).await?;
            assert_eq!(answer.status, 400, "{path}?{query}");
        }
    }
    assert_eq!(get(address, "/?amount=1000&utm=x").await?.status, 200);
    scene.network.finish();
    Ok(())
}

async fn every_response_has_strict_security_headers() -> Result<()> {
    let scene = Scene::start(|_| {}).await?;
    let address = &scene.address()?;
    let page = get(address, "/").await?;
    let html = page.text()?;
    // No inline code, no third-party resources, no caching.
    assert!(
        !html.contains("<style") && !html.contains("style="),
        "{html}"
    );
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    let names = html.split('"').filter(|text| text.starts_with("donate."));
    let files: Vec<String> = names.map(|name| format!("/{name}")).collect();
    assert_eq!(files.len(), 3, "{html}");
    for path in PATHS.iter().map(|path| (*path).to_owned()).chain(files) {
        let answer = send(address, "HEAD", &path, "", "").await?;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; "),
            "{path}: {policy}"
        );
        assert!(
            policy.ends_with("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("set-cookie"), "");
        assert_ne!(answer.header("cache-control"), "");
    }
    let missing = get(address, "/nothing").await?;
    assert_ne!(missing.header("content-security-policy"), "");
    assert!(missing.text()?.contains("href=\"./\""), "{missing:?}");
    let deep = get(address, "/no/thing/here").await?;
    assert!(deep.text()?.contains("href=\"../.././\""), "{deep:?}");
    scene.network.finish();
    Ok(())
}

async fn oversized_and_invalid_requests_are_rejected() -> Result<()> {
    let scene = Scene::start(|_| {}).await?;
    let address = &scene.address()?;
    let body = send(address, "GET", "/", "Content-Length: 5\r\n", "hello").await?;
    assert_eq!(body.status, 413);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = send(address, "GET", "/", chunked, "5\r\nhello\r\n0\r\n\r\n").await?;
    assert_eq!(body.status, 413);
    let long = format!("X: {}\r\n", "x".repeat(20_000));
    assert_eq!(send(address, "GET", "/", &long, "").await?.status, 431);
    let many = "X: y\r\n".repeat(100);
    assert_eq!(send(address, "GET", "/", &many, "").await?.status, 431);
    let path = format!("/{}", "x".repeat(100_000));
    let status = get(address, &path).await?.status;
    assert!([414, 431].contains(&status), "{status}");
    assert_eq!(
        raw(address, b"\x16\x03\x01 hello\r\n\r\n").await?.status,
        400
    );
    // The server still works.
    assert_eq!(get(address, "/").await?.status, 200);
    scene.network.finish();
    Ok(())
}

async fn idle_connections_are_closed() -> Result<()> {
    let scene = Scene::start(|_| {}).await?;
    let address = scene.address()?;
    // No data, a partial header, and nothing after a complete request.
    let whole = format!("GET /invoice.txt HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let sent = ["", "GET / HTTP/1.1\r\nHost: x", &whole];
    try_join_all(sent.map(async |sent| {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(sent.as_bytes()).await?;
        let mut answer = Vec::new();
        let end = timeout(2 * LIMIT, stream.read_to_end(&mut answer)).await;
        end.with_context(|| format!("still open after {sent:?}"))??;
        anyhow::Ok(())
    }))
    .await?;
    scene.network.finish();
    Ok(())
}

async fn connections_that_do_not_read_are_closed() -> Result<()> {
    let scene = Scene::start(|_| {}).await?;
    let address = scene.address()?;
    let mut stream = TcpStream::connect(&address).await?;
    // Responses that exceed the socket buffers; none is read.
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.repeat(5_000).as_bytes()).await?;
    let broken = timeout(2 * LIMIT, stream.ready(Interest::ERROR)).await;
    broken.context("the connection is still open")??;
    scene.network.finish();
    Ok(())
}

async fn port_in_use_is_reported_with_its_config_key() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let address = taken.local_addr()?.to_string();
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    alice.set("log-level", "error");
    alice.set("donations-listen", &address);
    let ended = alice.run_to_end().await?;
    assert!(!ended.status.success());
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("donations-listen"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
    network.finish();
    Ok(())
}
