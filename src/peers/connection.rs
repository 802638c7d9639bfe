//! One connection to a peer: transfers bytes between its socket and LDK.
//!
//! This corresponds to lightning-net-tokio, with additional limits:
//!
//! * LDK stops reading from a peer once twelve messages are queued for it, but checks this only
//!   when it may write. A read of 4 kB holds a hundred pings, each of which may request a pong of
//!   65,531 bytes. So LDK gets its input in pieces of about the shortest message, and writes after
//!   each of them.
//! * While a large message waits for the peer to read, no more input is read from it.
//! * A disconnect is detected even while input is not read. Otherwise LDK would refuse the peer's
//!   next connection until the pings of this one time out.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    ChannelMessageHandler, OnionMessageHandler, RoutingMessageHandler, SocketAddress,
};
use lightning::ln::peer_handler::{self, PeerHandleError, SocketDescriptor};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::custom_messages::CustomMessages;
use crate::ldk::{ChainMonitor, KeysManager};
use crate::logging::ldk::LdkLogger;

/// The number of bytes read from the socket at a time, before other connections are served.
const READ_BYTES: usize = 4096;
/// The number of bytes passed to LDK before it writes. A ping without padding has 40 bytes on the
/// wire, so one piece requests at most two pongs.
const PIECE_BYTES: usize = 64;
/// The size of a queued message, in bytes, above which reading stops. The pings of other
/// implementations request at most 4 kB; a channel with hundreds of HTLCs needs more, but rarely
/// while the peer does not read.
///
/// Two nodes that wait for each other's large message would be disconnected by their pings.
const LARGE_MESSAGE_BYTES: usize = 16 * 1024;
/// How often a connection is checked whose input is not read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The time for LDK to process the last input of a peer that has disconnected.
const GRACE: Duration = Duration::from_millis(500);
/// The time for sending the first message of the handshake (50 bytes).
const FIRST_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// LDK's peer manager with this node's parameters.
pub type PeerManager = peer_handler::PeerManager<
    Descriptor,
    Arc<dyn ChannelMessageHandler + Send + Sync>,
    Arc<dyn RoutingMessageHandler + Send + Sync>,
    Arc<dyn OnionMessageHandler + Send + Sync>,
    Arc<LdkLogger>,
    Arc<CustomMessages>,
    Arc<KeysManager>,
    Arc<ChainMonitor>,
>;

/// What a connection works with.
#[derive(Clone)]
pub struct Context {
    pub peers: Arc<PeerManager>,
    /// Commits wait until all messages that were read together are processed.
    pub commits: Arc<dyn HoldCommits>,
}

/// The database as seen by connections.
pub trait HoldCommits: Send + Sync {
    /// Delays commits for a moment, until the returned value is dropped.
    fn hold(&self) -> Box<dyn Send>;
}

/// LDK's handle of a connection.
#[derive(Clone)]
pub struct Descriptor(Arc<Connection>);

struct Connection {
    number: u64,
    stream: TcpStream,
    /// LDK has paused reading.
    paused: AtomicBool,
    /// The socket's send buffer is full.
    full: AtomicBool,
    /// The message that the socket has not accepted completely is large.
    large: AtomicBool,
    /// LDK has closed the connection.
    ended: AtomicBool,
    /// Notified when one of the above changes.
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
    /// Writes as much as the socket accepts. Returns the number of bytes, and whether the socket is
    /// full.
    fn write(&self, data: &[u8]) -> (usize, bool) {
        let mut written = 0;
        while written < data.len() {
            match self.stream.try_write(&data[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (written, true),
                // The connection is broken, which the next read reports.
                Err(_) => return (written, false),
            }
        }
        (written, false)
    }

    fn may_read(&self) -> bool {
        let waits_for_peer = is(&self.full) && is(&self.large);
        !is(&self.paused) && !waits_for_peer
    }

    /// The flags that determine what [`exchange`] waits for.
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
        let is_large =
            written < data.len() && (is(&connection.large) || data.len() > LARGE_MESSAGE_BYTES);
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

/// The side that closed a connection.
enum End {
    /// LDK, which therefore knows.
    Ldk,
    /// The peer or this node: LDK has to be informed.
    Others,
}

/// Serves an inbound connection until it ends or `close` is cancelled.
pub(super) async fn serve_inbound(context: Context, stream: TcpStream, close: CancellationToken) {
    let address = stream.peer_addr().ok().map(SocketAddress::from);
    let descriptor = Descriptor::new(stream);
    if context
        .peers
        .new_inbound_connection(descriptor.clone(), address)
        .is_ok()
    {
        serve(&context, descriptor, close).await;
    }
}

/// Serves an outbound connection to `peer` until it ends or `close` is cancelled.
///
/// When this returns, LDK knows the connection and has sent its first message.
pub(super) fn serve_outbound(
    context: Context,
    peer: PublicKey,
    stream: TcpStream,
    close: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let address = stream.peer_addr().ok().map(SocketAddress::from);
    let descriptor = Descriptor::new(stream);
    let first = context
        .peers
        .new_outbound_connection(peer, descriptor.clone(), address);
    async move {
        let Ok(first) = first else { return };
        match timeout(FIRST_WRITE_TIMEOUT, write_all(&descriptor.0.stream, &first)).await {
            Ok(Ok(())) => serve(&context, descriptor, close).await,
            _ => context.peers.socket_disconnected(&descriptor),
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

async fn serve(context: &Context, descriptor: Descriptor, close: CancellationToken) {
    let peers = &context.peers;
    let answers = Answers::spawn(peers);
    let end = tokio::select! {
        end = exchange(context, &descriptor, &answers) => end,
        () = close.cancelled() => End::Others,
    };
    if let End::Others = end {
        peers.socket_disconnected(&descriptor);
    }
    // Also if LDK has closed it: the task ends with the connection, and others may wait for the
    // answers to its last messages.
    drop(answers);
    peers.process_events();
}

/// Transfers bytes in both directions until one side closes the connection.
async fn exchange(context: &Context, descriptor: &Descriptor, answers: &Answers) -> End {
    let peers = &*context.peers;
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
            let hold = context.commits.hold();
            let passed_on = pass_on(peers, &mut descriptor, &mut input);
            drop(hold);
            if passed_on.is_err() {
                return End::Ldk;
            }
            answers.are_due();
            yield_now().await;
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
            () = sleep(POLL_INTERVAL), if !may_read => {
                if hung_up.for_long(&connection.stream).await {
                    tracing::debug!("a peer disconnected while reading from it was paused");
                    return End::Others;
                }
            }
        }
    }
}

/// Passes the input to LDK until it is empty or LDK pauses reading.
fn pass_on(
    peers: &PeerManager,
    descriptor: &mut Descriptor,
    input: &mut Input,
) -> Result<(), PeerHandleError> {
    while !input.is_empty() && descriptor.0.may_read() {
        peers.read_event(descriptor, input.piece())?;
        peers.write_buffer_space_avail(descriptor)?;
    }
    Ok(())
}

async fn ready(stream: &TcpStream, interest: Option<Interest>) -> io::Result<Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => std::future::pending().await,
    }
}

/// Input that was read and not yet passed to LDK.
struct Input {
    bytes: [u8; READ_BYTES],
    start: usize,
    end: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            bytes: [0; READ_BYTES],
            start: 0,
            end: 0,
        }
    }
}

impl Input {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the next piece for LDK.
    fn piece(&mut self) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start + PIECE_BYTES);
        &self.bytes[start..self.start]
    }

    /// Reads what is available, once all earlier input was consumed. Returns an error at the end of
    /// the stream.
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

/// The time since which the peer has disconnected, behind input that is not read.
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
    // Waits only if nothing can be read, not even the end of the stream.
    match timeout(Duration::ZERO, stream.ready(Interest::READABLE)).await {
        Ok(Ok(ready)) => ready.is_read_closed(),
        Ok(Err(_)) => true,
        Err(_) => false,
    }
}

/// Lets LDK answer the messages of a connection, in a separate task: this may wait for locks of LDK
/// held by other threads, and the connection continues in the meantime.
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
