//! What is done to every socket before LDK gets it.

use std::io;

use tokio::net::TcpStream;

/// Switches Nagle's algorithm off and hands the socket out in the form that LDK takes.
///
/// Lightning exchanges small messages that wait for each other: with Nagle's algorithm and delayed
/// acknowledgements a payment takes 40 ms more for each round. lightning-net-tokio leaves it on.
pub(super) fn prepare(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn nagle_is_off_on_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        assert!(!ours.nodelay().unwrap() && !theirs.nodelay().unwrap());
        assert!(prepare(ours).unwrap().nodelay().unwrap());
        assert!(prepare(theirs).unwrap().nodelay().unwrap());
    }
}
