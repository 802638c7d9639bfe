//! Socket options set before a connection is passed to LDK.

use std::io;

use tokio::net::TcpStream;

/// Disables Nagle's algorithm.
///
/// Lightning exchanges small messages that wait for each other: with Nagle's algorithm and delayed
/// acknowledgements, each round trip of a payment takes 40 ms longer.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn nagle_is_disabled_on_both_sides() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        assert!(!ours.nodelay().unwrap() && !theirs.nodelay().unwrap());
        for end in [ours, theirs] {
            prepare(&end).unwrap();
            assert!(end.nodelay().unwrap());
        }
    }
}
