//! A proxy between a node and bitcoind that answers `estimatesmartfee`, which bitcoind cannot on
//! regtest. All other calls are forwarded unchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::bitcoind::Bitcoind;

/// The proxy; it stops when it is dropped.
#[derive(Debug)]
pub struct FeeProxy {
    address: String,
    /// 0 forwards `estimatesmartfee` to bitcoind.
    sat_per_vbyte: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl FeeProxy {
    /// Listens on a free port of 127.0.0.1. Until a rate is set, every call is forwarded.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(bitcoind: &Bitcoind) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let sat_per_vbyte = Arc::new(AtomicU64::new(0));
        let (rate, target) = (sat_per_vbyte.clone(), bitcoind.rpc_address());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (rate, target) = (rate.clone(), target.clone());
                tokio::spawn(async move {
                    // The node retries on another connection.
                    let _ = serve(socket, &target, &rate).await;
                });
            }
        });
        Ok(Self {
            address,
            sat_per_vbyte,
            task,
        })
    }

    /// `host:port`, for the node's `bitcoind-rpc-address`.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Sets the estimate for every confirmation target. Nodes ask for it at startup and once a minute.
    pub fn set_sat_per_vbyte(&self, rate: u64) {
        self.sat_per_vbyte.store(rate, Ordering::Relaxed);
    }
}

impl Drop for FeeProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the requests of one connection.
async fn serve(socket: TcpStream, target: &str, rate: &AtomicU64) -> Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some((head, body)) = read_message(&mut socket).await? {
        let rate = rate.load(Ordering::Relaxed);
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let answer = if rate > 0 && request["method"] == "estimatesmartfee" {
            estimate(&request, rate)
        } else {
            forward(target, &head, &body).await?
        };
        socket.write_all(&answer).await?;
    }
    Ok(())
}

fn estimate(request: &Value, sat_per_vbyte: u64) -> Vec<u8> {
    // bitcoind reports BTC per 1000 vB.
    #[expect(clippy::cast_precision_loss, reason = "rates are small numbers")]
    let rate = sat_per_vbyte as f64 / 100_000.0;
    let result = json!({ "feerate": rate, "blocks": request["params"][0] });
    let body = json!({ "result": result, "error": null, "id": request["id"] }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn forward(target: &str, head: &[String], body: &[u8]) -> Result<Vec<u8>> {
    let mut bitcoind = BufReader::new(TcpStream::connect(target).await?);
    bitcoind.write_all(&message(head, body)).await?;
    let (head, body) = read_message(&mut bitcoind)
        .await?
        .context("no response from bitcoind")?;
    Ok(message(&head, &body))
}

/// Head lines and body of one request or response; `None` at the end of the connection.
async fn read_message(socket: &mut BufReader<TcpStream>) -> Result<Option<(Vec<String>, Vec<u8>)>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            ensure!(
                head.is_empty(),
                "the connection closed within the HTTP headers"
            );
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let mut body = vec![0; content_length(&head)?];
    socket.read_exact(&mut body).await?;
    Ok(Some((head, body)))
}

fn content_length(head: &[String]) -> Result<usize> {
    let fields = head.iter().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = lengths.next().map_or("0", |(_, value)| value.trim());
    Ok(length.parse()?)
}

fn message(head: &[String], body: &[u8]) -> Vec<u8> {
    let mut bytes = (head.join("\r\n") + "\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
