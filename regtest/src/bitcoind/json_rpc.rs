//! A minimal JSON-RPC client for bitcoind, with one connection per call.

use std::io::ErrorKind;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Address and credentials of a bitcoind on 127.0.0.1.
#[derive(Clone, Debug)]
pub(super) struct JsonRpc {
    pub port: u16,
    pub user: String,
    pub password: String,
    /// The URL path of the wallet, or `/` before one exists.
    pub path: String,
}

impl JsonRpc {
    /// Calls a method with positional parameters and returns its result.
    ///
    /// # Errors
    /// If bitcoind cannot be reached, or bitcoind's own error message.
    pub(super) async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.exchange(method, parameters)
            .await
            .with_context(|| format!("bitcoind's {method}"))
    }

    async fn exchange(&self, method: &str, parameters: Value) -> Result<Value> {
        let body = json!({ "id": 0, "method": method, "params": parameters }).to_string();
        let answer = self.post(&body).await?;
        let text = String::from_utf8(answer)?;
        let (head, body) = text
            .split_once("\r\n\r\n")
            .context("not an HTTP response")?;
        // bitcoind reports errors with an HTTP error status and a JSON body.
        let Ok(mut answer) = serde_json::from_str::<Value>(body) else {
            bail!(
                "{}",
                head.lines().next().unwrap_or("an empty HTTP response")
            );
        };
        if !answer["error"].is_null() {
            bail!(
                "{} (code {})",
                answer["error"]["message"],
                answer["error"]["code"]
            );
        }
        Ok(answer["result"].take())
    }

    async fn post(&self, body: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Authorization: Basic {credentials}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            // bitcoind may reset the connection after its response.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !answer.is_empty() => {}
            other => drop(other?),
        }
        Ok(answer)
    }
}
