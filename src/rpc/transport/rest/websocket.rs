//! Streams over a WebSocket, for browsers and wallets that cannot read a response line by line.
//!
//! As in lnd: the call's path, with `?method=POST` if the verb is not GET. The client's first message is the
//! request body, and each response is a message. If the request is a stream, later messages continue it.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Lines;

/// The maximum size of a client's message in bytes.
pub(super) const MAX_MESSAGE: usize = 1024 * 1024;
/// The maximum number of client messages waiting to be processed.
pub(super) const INBOX_LEN: usize = 16;
/// How long to wait for the first message of a call with a body.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval of pings. A client that sends nothing until the next ping is disconnected.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Reads the first message, the body of a call. `None` if the client disconnects or takes too long.
pub(super) async fn body(socket: &mut WebSocket) -> Option<Bytes> {
    let first = async {
        loop {
            match socket.recv().await?.ok()? {
                Message::Text(text) => return Some(text.into()),
                Message::Binary(bytes) => return Some(bytes),
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    };
    timeout(FIRST_MESSAGE_TIMEOUT, first).await.ok().flatten()
}

/// Sends the lines until they end, the client disconnects or the node shuts down. Messages from the client
/// are passed to the inbox if there is one.
pub(super) async fn send(
    mut socket: WebSocket,
    mut lines: Lines,
    stop: CancellationToken,
    inbox: Option<Sender<Bytes>>,
) {
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut answered = true;
    loop {
        let sent = tokio::select! {
            () = stop.cancelled() => break,
            line = lines.next() => match line {
                Some(line) => socket.send(Message::Text(text(&line))).await,
                None => break,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(message)) => {
                    answered = true;
                    if accept_message(inbox.as_ref(), message) { continue } else { break }
                }
            },
            _ = ping.tick() => {
                if !std::mem::replace(&mut answered, false) {
                    return;
                }
                socket.send(Message::Ping(Bytes::new())).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
    // Fails if the client has disconnected.
    let _ = socket.send(Message::Close(None)).await;
}

/// Passes a client's message to the inbox. Returns false if the inbox is full: such a client is disconnected.
fn accept_message(inbox: Option<&Sender<Bytes>>, message: Message) -> bool {
    let body = match message {
        Message::Text(text) => text.into(),
        Message::Binary(bytes) => bytes,
        Message::Close(_) | Message::Ping(_) | Message::Pong(_) => return true,
    };
    inbox.is_none_or(|inbox| inbox.try_send(body).is_ok())
}

/// Converts a line of JSON, which is UTF-8, to a text message without the newline.
fn text(line: &Bytes) -> Utf8Bytes {
    String::from_utf8_lossy(line).trim_end().to_owned().into()
}
