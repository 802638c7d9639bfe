//! A connection on which anything can be sent.

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

/// For an answer of a node that has a lot to do.
const LIMIT: Duration = Duration::from_secs(30);
/// Messages are written together up to so many bytes.
const BATCH: usize = 1 << 16;
/// BOLT 1: who asks for this many bytes or more wants no pong.
const NO_PONG: u16 = 65_532;

/// One connection of one identity. Dropping it closes it.
#[derive(Debug)]
pub struct RawPeer {
    sender: Sender,
    receiver: Receiver,
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// What became of a flood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flooded {
    /// How many messages the node's machine took.
    pub sent: usize,
    /// How many came back, pings and what was queued before included.
    pub received: usize,
    /// The node closed the connection before all were sent.
    pub closed: bool,
}

impl RawPeer {
    /// Connects, shakes hands and exchanges `init`.
    ///
    /// # Errors
    /// If the node cannot be reached or closes the connection; if it does not answer in time.
    pub async fn connect(target: &Target, identity: &Identity) -> Result<Self> {
        Self::connect_with(target, identity, &default_init()).await
    }

    /// As [`RawPeer::connect`], with an `init` of the caller (type and body).
    pub async fn connect_with(target: &Target, identity: &Identity, init: &[u8]) -> Result<Self> {
        let mut peer = Self::handshake(target, identity).await?;
        peer.send(init).await?;
        peer.read_kind(kind::INIT).await?;
        Ok(peer)
    }

    /// Connects and shakes hands; `init` is left to the caller.
    pub async fn handshake(target: &Target, identity: &Identity) -> Result<Self> {
        let shaken = timeout(LIMIT, shake_hands(target, identity)).await;
        shaken.context("no handshake in time")?
    }

    /// Sends a message (type and body).
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.sender.queue(message)?;
        self.sender.flush().await
    }

    /// Sends bytes that are not encrypted.
    pub async fn send_garbage(&mut self, bytes: &[u8]) -> Result<()> {
        self.sender.buffer.extend(bytes);
        self.sender.flush().await
    }

    /// Sends messages without reading anything meanwhile, until all are sent or the node has taken nothing for `limit`.
    /// Returns how many were given to the system.
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

    /// Sends messages as fast as the node takes them; reads what comes, throws it away and answers pings meanwhile.
    ///
    /// That the node closes the connection is a result, not an error.
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
            // The node may be gone; what was to be sent was sent.
            let _ = self.send(&pong).await;
        }
        Ok(Flooded {
            sent,
            received,
            closed,
        })
    }

    /// The next message that is not a ping; pings are answered.
    ///
    /// # Errors
    /// If none comes in time or the connection ends.
    pub async fn read(&mut self) -> Result<Received> {
        let next = timeout(LIMIT, self.next()).await;
        next.context("no message in time")?
    }

    /// The next message of this type; others are skipped.
    ///
    /// # Errors
    /// As [`RawPeer::read`].
    pub async fn read_kind(&mut self, kind: u16) -> Result<Received> {
        loop {
            let message = self.read().await?;
            if message.kind == kind {
                return Ok(message);
            }
        }
    }

    /// Sends a ping and waits for its pong: everything sent before was read by the node.
    pub async fn ping(&mut self) -> Result<()> {
        self.send(&message(kind::PING, &[0, 1, 0, 0])).await?;
        self.read_kind(kind::PONG).await.map(drop)
    }

    /// Reads, answers pings and throws everything away until the connection ends.
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
    /// What answers it if it is a ping that asks for a pong.
    fn pong(&self) -> Option<Vec<u8>> {
        if self.kind != kind::PING {
            return None;
        }
        let asked = u16::from_be_bytes(*self.body.first_chunk()?);
        (asked < NO_PONG).then(|| {
            let body = [&asked.to_be_bytes(), &vec![0; usize::from(asked)][..]].concat();
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

    /// May be cut off: what was written leaves the buffer at once.
    async fn flush(&mut self) -> Result<()> {
        while !self.buffer.is_empty() {
            let written = self.stream.write(&self.buffer).await?;
            ensure!(written > 0, "the node takes nothing any more");
            self.buffer.drain(..written);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Receiver {
    stream: BufReader<OwnedReadHalf>,
    cipher: Cipher,
    /// Read and not complete.
    buffer: Vec<u8>,
    /// The length of the message that is being read, without its tag.
    header: Option<usize>,
}

impl Receiver {
    /// May be cut off: what was read is kept.
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
            .context("a message without type")?;
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
