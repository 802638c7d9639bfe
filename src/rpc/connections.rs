//! Connections from callers: taken, limited in number, and encrypted before anybody reads them.

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

use super::places::{Place, Places};

/// Connections at a time to one listener; one more waits for a place, further ones in the system's queue. Well below
/// the 1,024 files that a process may usually have open.
const MOST: usize = 300;
/// Who has not finished the handshake by then loses its place; who has not shown a macaroon either, if others
/// wait.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The pause after the system refused a connection, such as for want of files.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a call comes from.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) address: IpAddr,
    place: Arc<Place>,
}

impl Caller {
    /// It has shown a macaroon of ours: its connection is no stranger's any more.
    pub(super) fn is_known(&self) {
        self.place.keep();
    }
}

/// An encrypted connection; its place is free when it, and all calls on it, are dropped.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    /// Ready when the place is wanted for somebody else.
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn poll_gone(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.gone.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "it has not shown a macaroon, and others wait",
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

/// Takes connections until `stop` is cancelled.
pub(super) fn accept(
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

/// Returns when nobody wants connections any more.
async fn accept_all(listener: &TcpListener, tls: &TlsAcceptor, ready: &mpsc::Sender<Connection>) {
    let places = Places::new(MOST, HANDSHAKE);
    while !ready.is_closed() {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Only now: nobody goes for a place that nobody waits for.
                let place = places.take().await;
                let encrypting = encrypt(tls.clone(), stream, address, place);
                let ready = ready.clone();
                tokio::spawn(async move {
                    if let Some(connection) = encrypting.await {
                        // Fails only at the stop.
                        let _ = ready.send(connection).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a caller's connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn encrypt(
    tls: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
) -> Option<Connection> {
    // Without it a small answer waits some 40 ms for the client's acknowledgement.
    stream.set_nodelay(true).ok()?;
    let gone = place.gone();
    let handshake = gone.run_until_cancelled(timeout(HANDSHAKE, tls.accept(stream)));
    let stream = match handshake.await? {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a caller's TLS handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%address, "a caller's TLS handshake took too long");
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
        gone: Box::pin(gone.cancelled_owned()),
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_gone(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_gone(context)?;
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
        self.poll_gone(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
