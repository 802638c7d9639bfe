//! Noticing at once that a peer has hung up.
//!
//! lightning-net-tokio learns of it by reading, and it does not read while a dozen messages wait to
//! be sent; an error of a write it ignores. So under load a peer whose process died stays connected
//! for LDK until its pings time out, some 90 seconds. All that time LDK refuses the new connections
//! that the peer makes after its restart, and the channels stand still.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::sleep;

use super::address::ip_address;
use crate::ldk::PeerManager;

/// How often a socket with unread data is looked at; it would be "ready" all the time.
const LOOK: Duration = Duration::from_millis(500);
/// What LDK gets to read what came before the end, if it reads.
const GRACE: Duration = Duration::from_millis(500);

/// Completes with `gone`, LDK's end of the connection, and brings that about if the peer has hung up.
///
/// `handle` is a second handle of the connection's socket.
pub(super) async fn watch(
    peers: Arc<PeerManager>,
    gone: impl Future<Output = ()>,
    handle: TcpStream,
) {
    tokio::pin!(gone);
    let address = handle.peer_addr();
    tokio::select! {
        () = &mut gone => return,
        () = closed(handle) => {}
    }
    tokio::select! {
        () = &mut gone => return,
        () = sleep(GRACE) => {}
    }
    if let Ok(address) = address {
        disconnect(&peers, address);
    }
    gone.await;
}

/// Completes when the other end has closed the connection, whether or not its last data was read.
async fn closed(handle: TcpStream) {
    let Ok(stream) = tokio::net::TcpStream::from_std(handle) else {
        return std::future::pending().await;
    };
    loop {
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if ready.is_read_closed() => return,
            Ok(_) => sleep(LOOK).await,
            Err(_) => return,
        }
    }
}

fn disconnect(peers: &PeerManager, address: SocketAddr) {
    let connected = peers
        .list_peers()
        .into_iter()
        .find(|peer| peer.socket_address.as_ref().and_then(ip_address) == Some(address));
    if let Some(peer) = connected {
        tracing::debug!(peer = %peer.counterparty_node_id, "the peer has hung up");
        peers.disconnect_by_node_id(peer.counterparty_node_id);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_end_is_noticed_behind_data_that_nobody_reads() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(b"never read").unwrap();
        let closed = closed(ours.try_clone().unwrap());
        tokio::pin!(closed);
        assert!(
            timeout(2 * LOOK, &mut closed).await.is_err(),
            "it is still open"
        );
        drop(theirs);
        timeout(Duration::from_secs(10), closed)
            .await
            .expect("noticed");
    }
}
