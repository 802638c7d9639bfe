//! The metrics page as read by Prometheus.

use anyhow::{Context, Result};
use regtest::api::amp_to;
use regtest::network::{ChannelPlan, Network};
use regtest::ports::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{SETTLE_LIMIT, binaries};

const REFUSED: &str = "ampd_htlcs_refused_total{reason=\"InvoiceNotFound\"}";

#[tokio::test]
async fn refused_payments_are_counted() -> Result<()> {
    let mut network = Network::start(binaries()).await?;
    let alice = network.prepare("alice")?;
    let mut bob = network.prepare("bob")?;
    let address = format!("127.0.0.1:{}", free_port()?);
    bob.set("metrics-listen", &address);
    network.add(vec![alice, bob]).await?;
    network
        .open(&[ChannelPlan::new("alice", "bob", 1_000_000)])
        .await?;
    let page = read(&address).await?;
    assert_eq!(value(&page, REFUSED), None, "{page}");
    assert_eq!(value(&page, "ampd_amp_open_sets"), Some("0"), "{page}");
    assert!(page.contains("# HELP ampd_amp_held_htlcs "), "{page}");
    let commits = value(&page, "ampd_commits_total").context("no commits")?;
    assert!(commits.parse::<u64>()? > 0, "{page}");

    // Bob does not accept spontaneous payments.
    let request = amp_to(network["bob"].key(), 10_000)?;
    network.pay_routed("alice", &request).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let page = read(&address).await?;
    assert_eq!(value(&page, REFUSED), Some("1"), "{page}");
    network.finish();
    Ok(())
}

async fn read(address: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let (head, page) = answer.split_once("\r\n\r\n").context(answer.clone())?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Ok(page.to_owned())
}

/// The value of a metric on the page.
fn value<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}
