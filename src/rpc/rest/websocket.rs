//! Streams over a WebSocket, for browsers and wallets that cannot read a response line by line.
//!
//! As with lnd: the path of the call with `?method=POST` where it is not GET, the first message is the body,
//! each answer is a message. Where the request is a stream, the client's later messages are its.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Lines;

/// Bytes of a client's message.
pub(super) const MAX_MESSAGE: usize = 1024 * 1024;
/// Messages of a client that may wait until they are read.
pub(super) const BACKLOG: usize = 16;
/// For the first message of a call that has a body.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions whether the client is still there; unanswered until the next, it is not.
const PING: Duration = Duration::from_secs(30);

/// The first message, for a call that has a body. `None` if the client goes away or takes too long.
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
    timeout(PATIENCE, first).await.ok().flatten()
}

/// Hands out the lines until they end, the client goes away or the node stops; what the client says
/// meanwhile goes to the inbox, if there is one.
pub(super) async fn send(
    mut socket: WebSocket,
    mut lines: Lines,
    stop: CancellationToken,
    inbox: Option<Sender<Bytes>>,
) {
    let mut ping = interval_at(Instant::now() + PING, PING);
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
                    if keeps_up(inbox.as_ref(), message) { continue } else { break }
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
    // The client sees an orderly end, or has gone.
    let _ = socket.send(Message::Close(None)).await;
}

/// Whether what the client said could be taken: one that says more than is read is let go.
fn keeps_up(inbox: Option<&Sender<Bytes>>, message: Message) -> bool {
    let said = match message {
        Message::Text(text) => text.into(),
        Message::Binary(bytes) => bytes,
        Message::Close(_) | Message::Ping(_) | Message::Pong(_) => return true,
    };
    inbox.is_none_or(|inbox| inbox.try_send(said).is_ok())
}

/// JSON is UTF-8.
fn text(line: &Bytes) -> Utf8Bytes {
    String::from_utf8_lossy(line).trim_end().to_owned().into()
}
