//! A WebSocket client of ampd's REST interface with JSON messages.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Time without data after which a response is considered complete.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);

/// An open WebSocket.
pub struct Socket(WebSocketStream<TlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(request: Request, stream: TlsStream<TcpStream>) -> Result<Self> {
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self(socket))
    }

    pub async fn send(&mut self, json: &Value) -> Result<()> {
        Ok(self.0.send(Message::text(json.to_string())).await?)
    }

    /// Returns the next message, or `None` once the other side has closed.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        while let Some(message) = timeout(SILENCE, self.0.next()).await? {
            match message? {
                Message::Text(text) => {
                    let json = serde_json::from_str(&text);
                    return json.map(Some).with_context(|| text.to_string());
                }
                Message::Close(_) => return Ok(None),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("expected a text message, got {other:?}"),
            }
        }
        Ok(None)
    }
}
