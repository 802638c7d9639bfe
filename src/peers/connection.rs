//! One connection to a peer: carries bytes between its socket and LDK.
//!
//! This is what lightning-net-tokio does, with bounds of our own:
//!
//! * LDK stops reading from a peer for whom twelve messages wait, but it looks only when it may write. A read
//!   of 4 kB holds a hundred pings, and each may ask for a pong of 65,531 bytes. So LDK gets its input in
//!   pieces of about one message of the shortest kind, and writes after each of them.
//! * While a large message waits for the peer to read, nothing more is read from it.
//! * A peer that hangs up is noticed while its input is not read, too. LDK would refuse its next connection
//!   until the pings of this one time out.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::SocketAddress;
use lightning::ln::peer_handler::SocketDescriptor;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::ldk::PeerManager;

/// Bytes that are read from the socket at a time. Then other connections have their turn.
const READ: usize = 4096;
/// Bytes that LDK gets before it writes. A ping without padding has 40 bytes on the wire: what one piece asks
/// for is at most two pongs.
const PIECE: usize = 64;
/// Bytes of one message that may wait while we go on reading. The pings of other implementations ask for
/// 4 kB at most; a channel with hundreds of HTLCs needs more, but seldom while the peer does not read.
///
/// Two nodes that wait for each other's large message would be disconnected by their pings.
const LARGE: usize = 16 * 1024;
/// How often a connection is looked at whose input is not read.
const LOOK: Duration = Duration::from_millis(500);
/// What LDK gets to take the last input of a peer that has hung up.
const GRACE: Duration = Duration::from_millis(500);
/// Time for the first message of the handshake, 50 bytes, to leave.
const FIRST_WRITE: Duration = Duration::from_secs(5);

/// LDK's handle of a connection.
#[derive(Clone)]
pub struct Descriptor(Arc<Connection>);

struct Connection {
    number: u64,
    stream: TcpStream,
    /// LDK wants no more input for now.
    paused: AtomicBool,
    /// The socket takes no more output for now.
    full: AtomicBool,
    /// The message that the socket did not take, or not all of it, is large.
    large: AtomicBool,
    /// LDK has ended the connection.
    ended: AtomicBool,
    /// One of the above has changed.
    changed: Notify,
}

impl Descriptor {
    fn new(stream: TcpStream) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Connection {
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            stream,
            paused: AtomicBool::new(false),
            full: AtomicBool::new(false),
            large: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        }))
    }
}

impl Connection {
    /// Writes what the socket takes: how many bytes, and whether it is full.
    fn write(&self, data: &[u8]) -> (usize, bool) {
        let mut written = 0;
        while written < data.len() {
            match self.stream.try_write(&data[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (written, true),
                // The connection is broken: reading will tell.
                Err(_) => return (written, false),
            }
        }
        (written, false)
    }

    fn may_read(&self) -> bool {
        let waits_for_peer = is(&self.full) && is(&self.large);
        !is(&self.paused) && !waits_for_peer
    }

    /// What [`exchange`] waits for depends on this.
    fn state(&self) -> (bool, bool) {
        (self.may_read(), is(&self.full))
    }
}

fn is(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire)
}

impl SocketDescriptor for Descriptor {
    fn send_data(&mut self, data: &[u8], continue_read: bool) -> usize {
        let connection = &*self.0;
        let before = connection.state();
        let (written, full) = connection.write(data);
        // LDK offers the rest of a message until all of it is written; it stays large until then.
        let is_large = written < data.len() && (is(&connection.large) || data.len() > LARGE);
        connection.large.store(is_large, Ordering::Release);
        connection.full.store(full, Ordering::Release);
        connection.paused.store(!continue_read, Ordering::Release);
        if connection.state() != before {
            connection.changed.notify_one();
        }
        written
    }

    fn disconnect_socket(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.changed.notify_one();
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Descriptor {}

impl Hash for Descriptor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.number.hash(state);
    }
}

/// Who ended a connection.
enum End {
    /// LDK, so it knows.
    Ldk,
    /// The peer or ourselves: LDK is to be told.
    Others,
}

/// Serves a connection that a peer has made, until it ends or `close` is cancelled.
pub(super) async fn serve_inbound(
    peers: Arc<PeerManager>,
    stream: TcpStream,
    close: CancellationToken,
) {
    let address = stream.peer_addr().ok().map(SocketAddress::from);
    let descriptor = Descriptor::new(stream);
    if peers
        .new_inbound_connection(descriptor.clone(), address)
        .is_ok()
    {
        serve(&peers, descriptor, close).await;
    }
}

/// Serves a connection that we have made to `peer`, until it ends or `close` is cancelled.
///
/// LDK knows of the connection when this returns, and has sent its first message.
pub(super) fn serve_outbound(
    peers: Arc<PeerManager>,
    peer: PublicKey,
    stream: TcpStream,
    close: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let address = stream.peer_addr().ok().map(SocketAddress::from);
    let descriptor = Descriptor::new(stream);
    let first = peers.new_outbound_connection(peer, descriptor.clone(), address);
    async move {
        let Ok(first) = first else { return };
        match timeout(FIRST_WRITE, write_all(&descriptor.0.stream, &first)).await {
            Ok(Ok(())) => serve(&peers, descriptor, close).await,
            _ => peers.socket_disconnected(&descriptor),
        }
    }
}

async fn write_all(stream: &TcpStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        stream.writable().await?;
        match stream.try_write(data) {
            Ok(written) => data = &data[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn serve(peers: &Arc<PeerManager>, descriptor: Descriptor, close: CancellationToken) {
    let answers = Answers::spawn(peers);
    let end = tokio::select! {
        end = exchange(peers, &descriptor, &answers) => end,
        () = close.cancelled() => End::Others,
    };
    if let End::Others = end {
        peers.socket_disconnected(&descriptor);
    }
    // Also if LDK has ended it: the task that does this ends with the connection, and others may wait for what its
    // last messages have brought.
    drop(answers);
    peers.process_events();
}

/// Carries bytes both ways until somebody ends the connection.
async fn exchange(peers: &PeerManager, descriptor: &Descriptor, answers: &Answers) -> End {
    let connection = &*descriptor.0;
    let mut descriptor = descriptor.clone();
    let mut input = Input::default();
    let mut hung_up = HungUp::default();
    loop {
        if is(&connection.ended) {
            return End::Ldk;
        }
        let may_read = connection.may_read();
        if may_read && !input.is_empty() {
            let taken = peers
                .read_event(&mut descriptor, input.piece())
                .and_then(|()| peers.write_buffer_space_avail(&mut descriptor));
            if taken.is_err() {
                return End::Ldk;
            }
            if input.is_empty() || !connection.may_read() {
                answers.are_due();
                yield_now().await;
            }
            continue;
        }
        let interest = match (may_read, is(&connection.full)) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        tokio::select! {
            () = connection.changed.notified() => {}
            ready = ready(&connection.stream, interest) => {
                let Ok(ready) = ready else { return End::Others };
                if ready.is_writable() && is(&connection.full) {
                    connection.full.store(false, Ordering::Release);
                    if peers.write_buffer_space_avail(&mut descriptor).is_err() {
                        return End::Ldk;
                    }
                }
                if may_read && ready.is_readable() && input.read(&connection.stream).is_err() {
                    return End::Others;
                }
            }
            () = sleep(LOOK), if !may_read => {
                if hung_up.for_long(&connection.stream).await {
                    tracing::debug!("a peer disconnected while reading from it was paused");
                    return End::Others;
                }
            }
        }
    }
}

async fn ready(stream: &TcpStream, interest: Option<Interest>) -> io::Result<Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => std::future::pending().await,
    }
}

/// What was read and LDK has not got yet.
struct Input {
    bytes: [u8; READ],
    start: usize,
    end: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            bytes: [0; READ],
            start: 0,
            end: 0,
        }
    }
}

impl Input {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next piece for LDK.
    fn piece(&mut self) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start + PIECE);
        &self.bytes[start..self.start]
    }

    /// Reads what is there; an error also if that was the end. Only when all that came before is taken.
    fn read(&mut self, stream: &TcpStream) -> io::Result<()> {
        match stream.try_read(&mut self.bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                (self.start, self.end) = (0, bytes);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Since when the other end is closed, behind input that is not read.
#[derive(Default)]
struct HungUp(Option<Instant>);

impl HungUp {
    async fn for_long(&mut self, stream: &TcpStream) -> bool {
        if !is_hung_up(stream).await {
            return false;
        }
        self.0.get_or_insert_with(Instant::now).elapsed() >= GRACE
    }
}

async fn is_hung_up(stream: &TcpStream) -> bool {
    // Waits only if nothing is to be read, not even the end.
    match timeout(Duration::ZERO, stream.ready(Interest::READABLE)).await {
        Ok(Ok(ready)) => ready.is_read_closed(),
        Ok(Err(_)) => true,
        Err(_) => false,
    }
}

/// Lets LDK make the answers to what a connection has brought, in a task of its own: this may take as long
/// as other threads hold locks of LDK, and the connection goes on meanwhile.
struct Answers {
    due: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

impl Answers {
    fn spawn(peers: &Arc<PeerManager>) -> Self {
        let due = Arc::new(Notify::new());
        let (peers, told) = (Arc::clone(peers), Arc::clone(&due));
        let task = tokio::spawn(async move {
            loop {
                told.notified().await;
                peers.process_events();
            }
        });
        Self {
            due,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn are_due(&self) {
        self.due.notify_one();
    }
}

#[cfg(test)]
mod tests;
