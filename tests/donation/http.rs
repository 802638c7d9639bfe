//! An HTTP client that sends requests exactly as given.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends a GET request.
pub(crate) async fn get(address: &str, path: &str) -> Result<Answer> {
    send(address, "GET", path, "", "").await
}

/// Sends any request; additional headers end in `\r\n`.
pub(crate) async fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<Answer> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    raw(address, request.as_bytes()).await
}

/// Sends any bytes and reads until the other side closes.
pub(crate) async fn raw(address: &str, bytes: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // A request rejected early may find the connection closed.
    let _ = stream.write_all(bytes).await;
    let mut reader = BufReader::new(stream);
    timeout(LIMIT, async {
        let (status, headers) = head(&mut reader).await?;
        let mut body = Vec::new();
        // A connection reset also ends the response.
        let _ = reader.read_to_end(&mut body).await;
        let answer = Answer {
            status,
            headers,
            body,
        };
        anyhow::Ok(answer)
    })
    .await
    .context("no response in time")?
}

async fn head(reader: &mut BufReader<TcpStream>) -> Result<(u16, BTreeMap<String, String>)> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).with_context(|| line.clone())?;
    let status = status.parse()?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok((status, headers));
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
}

/// An open event stream.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    /// # Errors
    /// If the status is not 200.
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reader = BufReader::with_capacity(512, stream);
        let (status, headers) = timeout(LIMIT, head(&mut reader)).await??;
        ensure!(status == 200, "HTTP {status}, {headers:?}");
        let content_type = headers.get("content-type").map(String::as_str);
        ensure!(content_type == Some("text/event-stream"), "{headers:?}");
        Ok(Self { reader })
    }

    /// Returns the data of the next event with this name.
    pub(crate) async fn next(&mut self, name: &str) -> Result<serde_json::Value> {
        let expected = format!("event: {name}\n");
        let data = timeout(LIMIT, async {
            while self.line().await? != expected {}
            self.line().await
        });
        let data = data
            .await
            .with_context(|| format!("timed out waiting for the event {name}"))??;
        let data = data
            .strip_prefix("data: ")
            .context("the event has no data")?;
        Ok(serde_json::from_str(data)?)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).await?;
        ensure!(length > 0, "the stream has ended");
        Ok(line)
    }
}
