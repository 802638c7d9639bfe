//! Accepts TLS connections from API clients and limits their number.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::rpc::transport::connection_slots::{ConnectionSlots, Slot};

/// The maximum number of open connections per listener. One more waits for a slot, the others wait in the
/// kernel's queue. Well below the usual limit of 1,024 open files per process.
const MAX_CONNECTIONS: usize = 300;
/// Time to finish the TLS handshake. A connection without an authenticated call may also be evicted
/// after this time, when all slots are taken.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay before accepting again after an error, such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The API client that made a call.
#[derive(Debug, Clone)]
pub(in crate::rpc) struct Caller {
    pub(in crate::rpc) address: IpAddr,
    place: Arc<Slot>,
}

impl Caller {
    /// Marks the connection as authenticated: it will not be evicted for others.
    pub(in crate::rpc) fn mark_authenticated(&self) {
        self.place.keep();
    }
}

/// A TLS connection. Its slot is freed when the connection and all calls on it are dropped.
pub(in crate::rpc) struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    /// Ready when the connection is evicted.
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn poll_evicted(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.evicted.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "evicted: no authenticated call, and other clients are waiting",
            )),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

/// Accepts connections until `stop` is cancelled.
pub(in crate::rpc) fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    stop: CancellationToken,
) -> mpsc::Receiver<Connection> {
    let (ready, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept_all(&listener, &tls, &ready) => {}
        }
    });
    connections
}

/// Accepts connections until the receiver is dropped.
async fn accept_all(listener: &TcpListener, tls: &TlsAcceptor, ready: &mpsc::Sender<Connection>) {
    let places = ConnectionSlots::new(MAX_CONNECTIONS, HANDSHAKE_TIMEOUT);
    while !ready.is_closed() {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Take the slot only after accepting: no client is evicted unless another is waiting.
                let place = places.take().await;
                let encrypting = encrypt(tls.clone(), stream, address, place);
                let ready = ready.clone();
                tokio::spawn(async move {
                    if let Some(connection) = encrypting.await {
                        // Fails only during shutdown.
                        let _ = ready.send(connection).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an API connection");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn encrypt(
    tls: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: Slot,
) -> Option<Connection> {
    // Otherwise small responses wait about 40 ms for the client's delayed ACK.
    stream.set_nodelay(true).ok()?;
    let evicted = place.evicted();
    let handshake = evicted.run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)));
    let stream = match handshake.await? {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "TLS handshake with an API client failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%address, "TLS handshake with an API client timed out");
            return None;
        }
    };
    let address = address.ip().to_canonical();
    Some(Connection {
        stream,
        caller: Caller {
            address,
            place: Arc::new(place),
        },
        evicted: Box::pin(evicted.cancelled_owned()),
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_evicted(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_evicted(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_evicted(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
