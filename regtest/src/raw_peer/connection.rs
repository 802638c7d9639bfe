//! A connection on which arbitrary data can be sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::cipher::{Cipher, HEADER, TAG};
use super::messages::{default_init, kind, message};
use super::noise::{ACT_ONE_OR_TWO, Handshake};
use super::target::{Identity, Target, random_key};

/// Timeout for a response from a busy node.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum number of bytes of messages written at once.
const BATCH: usize = 1 << 16;
/// A ping that asks for this many bytes or more expects no pong (BOLT 1).
const NO_PONG: u16 = 65_532;

/// One connection of one identity, closed when dropped.
#[derive(Debug)]
pub struct RawPeer {
    sender: Sender,
    receiver: Receiver,
}

/// A received message.
#[derive(Clone, Debug)]
pub struct Received {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// Outcome of a flood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flooded {
    /// Number of messages accepted by the node's TCP stack.
    pub sent: usize,
    /// Number of messages received, including pings and those queued before.
    pub received: usize,
    /// Whether the node closed the connection before all were sent.
    pub closed: bool,
}

impl RawPeer {
    /// Connects, performs the handshake and exchanges `init`.
    ///
    /// # Errors
    /// If the node cannot be reached, closes the connection, or does not respond in time.
    pub async fn connect(target: &Target, identity: &Identity) -> Result<Self> {
        Self::connect_with(target, identity, &default_init()).await
    }

    /// Like [`RawPeer::connect`], with the given `init` (type and body).
    pub async fn connect_with(target: &Target, identity: &Identity, init: &[u8]) -> Result<Self> {
        let mut peer = Self::handshake(target, identity).await?;
        peer.send(init).await?;
        peer.read_kind(kind::INIT).await?;
        Ok(peer)
    }

    /// Connects and performs the handshake without sending `init`.
    pub async fn handshake(target: &Target, identity: &Identity) -> Result<Self> {
        let shaken = timeout(LIMIT, shake_hands(target, identity)).await;
        shaken.context("the handshake timed out")?
    }

    /// Sends a message (type and body).
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.sender.queue(message)?;
        self.sender.flush().await
    }

    /// Sends unencrypted bytes.
    pub async fn send_garbage(&mut self, bytes: &[u8]) -> Result<()> {
        self.sender.buffer.extend(bytes);
        self.sender.flush().await
    }

    /// Sends messages without reading, until all are sent or the node has accepted nothing for `limit`.
    /// Returns how many were passed to the operating system.
    pub async fn send_unread(
        &mut self,
        messages: impl IntoIterator<Item = Vec<u8>>,
        limit: Duration,
    ) -> usize {
        let mut sent = 0;
        for message in messages {
            match timeout(limit, self.send(&message)).await {
                Ok(Ok(())) => sent += 1,
                _ => break,
            }
        }
        sent
    }

    /// Sends messages as fast as the node accepts them, answering pings and discarding other messages.
    ///
    /// A connection closed by the node is not an error.
    pub async fn flood(&mut self, messages: impl IntoIterator<Item = Vec<u8>>) -> Result<Flooded> {
        let pongs = Mutex::new(Vec::new());
        let (mut sent, mut received) = (0, 0);
        let sender = &mut self.sender;
        let sending = async {
            for message in messages {
                sender.queue(&message)?;
                sent += 1;
                if sender.buffer.len() >= BATCH {
                    for pong in taken(&pongs) {
                        sender.queue(&pong)?;
                    }
                    if sender.flush().await.is_err() {
                        return Ok(true);
                    }
                }
            }
            Ok::<bool, anyhow::Error>(sender.flush().await.is_err())
        };
        let receiver = &mut self.receiver;
        let receiving = async {
            while let Ok(message) = receiver.next().await {
                received += 1;
                let answer = message.pong();
                pongs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(answer);
            }
        };
        let closed = tokio::select! {
            closed = sending => closed?,
            () = receiving => true,
        };
        for pong in taken(&pongs) {
            // Ignored: the node may be gone, and all messages have been sent.
            let _ = self.send(&pong).await;
        }
        Ok(Flooded {
            sent,
            received,
            closed,
        })
    }

    /// Returns the next message that is not a ping; pings are answered.
    ///
    /// # Errors
    /// If none arrives in time or the connection closes.
    pub async fn read(&mut self) -> Result<Received> {
        let next = timeout(LIMIT, self.next()).await;
        next.context("timed out waiting for a message")?
    }

    /// Returns the next message of this type; others are skipped.
    ///
    /// # Errors
    /// See [`RawPeer::read`].
    pub async fn read_kind(&mut self, kind: u16) -> Result<Received> {
        loop {
            let message = self.read().await?;
            if message.kind == kind {
                return Ok(message);
            }
        }
    }

    /// Sends a ping and waits for its pong: the node has then read everything sent before.
    pub async fn ping(&mut self) -> Result<()> {
        self.send(&message(kind::PING, &[0, 1, 0, 0])).await?;
        self.read_kind(kind::PONG).await.map(drop)
    }

    /// Answers pings and discards other messages until the connection closes.
    pub async fn stay(&mut self) {
        while self.next().await.is_ok() {}
    }

    async fn next(&mut self) -> Result<Received> {
        loop {
            let message = self.receiver.next().await?;
            match message.pong() {
                Some(pong) => self.send(&pong).await?,
                None if message.kind == kind::PING => {}
                None => return Ok(message),
            }
        }
    }
}

impl Received {
    /// The pong for this message if it is a ping that expects one.
    fn pong(&self) -> Option<Vec<u8>> {
        if self.kind != kind::PING {
            return None;
        }
        let num_pong_bytes = u16::from_be_bytes(*self.body.first_chunk()?);
        (num_pong_bytes < NO_PONG).then(|| {
            let body = [
                &num_pong_bytes.to_be_bytes(),
                &vec![0; usize::from(num_pong_bytes)][..],
            ]
            .concat();
            message(kind::PONG, &body)
        })
    }
}

fn taken(pongs: &Mutex<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    std::mem::take(&mut *pongs.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn shake_hands(target: &Target, identity: &Identity) -> Result<RawPeer> {
    let mut stream = target.dial().await?;
    let (handshake, act_one) = Handshake::begin(identity.0, &target.key, random_key())?;
    stream.write_all(&act_one).await?;
    let mut act_two = [0; ACT_ONE_OR_TWO];
    stream.read_exact(&mut act_two).await?;
    let (act_three, ciphers) = handshake.finish(act_two)?;
    stream.write_all(&act_three).await?;
    let (reading, writing) = stream.into_split();
    Ok(RawPeer {
        sender: Sender {
            stream: writing,
            cipher: ciphers.sending,
            buffer: Vec::new(),
        },
        receiver: Receiver {
            stream: BufReader::new(reading),
            cipher: ciphers.receiving,
            buffer: Vec::new(),
            header: None,
        },
    })
}

#[derive(Debug)]
struct Sender {
    stream: OwnedWriteHalf,
    cipher: Cipher,
    /// Encrypted and not sent.
    buffer: Vec<u8>,
}

impl Sender {
    fn queue(&mut self, message: &[u8]) -> Result<()> {
        self.cipher.seal_message(message, &mut self.buffer)
    }

    /// Cancel-safe: data is removed from the buffer as soon as it is written.
    async fn flush(&mut self) -> Result<()> {
        while !self.buffer.is_empty() {
            let written = self.stream.write(&self.buffer).await?;
            ensure!(written > 0, "the node accepts no more data");
            self.buffer.drain(..written);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Receiver {
    stream: BufReader<OwnedReadHalf>,
    cipher: Cipher,
    /// Received and not complete.
    buffer: Vec<u8>,
    /// The length of the message being read, without its tag.
    header: Option<usize>,
}

impl Receiver {
    /// Cancel-safe: data that was read is kept.
    async fn next(&mut self) -> Result<Received> {
        let length = match self.header {
            Some(length) => length,
            None => {
                self.fill(HEADER).await?;
                let mut header = [0; HEADER];
                header.copy_from_slice(&self.buffer);
                self.buffer.clear();
                *self.header.insert(self.cipher.open_header(&mut header)?)
            }
        };
        self.fill(length + TAG).await?;
        self.header = None;
        let message = self.cipher.open(&mut self.buffer)?.to_vec();
        self.buffer.clear();
        let (kind, body) = message
            .split_first_chunk()
            .context("the message has no type")?;
        Ok(Received {
            kind: u16::from_be_bytes(*kind),
            body: body.to_vec(),
        })
    }

    /// Reads until the buffer has `length` bytes.
    async fn fill(&mut self, length: usize) -> Result<()> {
        while self.buffer.len() < length {
            let missing = (length - self.buffer.len()) as u64;
            if (&mut self.stream)
                .take(missing)
                .read_buf(&mut self.buffer)
                .await?
                == 0
            {
                bail!("the node closed the connection");
            }
        }
        Ok(())
    }
}
