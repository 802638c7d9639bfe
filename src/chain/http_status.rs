//! Asks an HTTP server for nothing but its status code.
//!
//! lightning-block-sync's HTTP client gives up on an empty body before it looks at the status, and
//! bitcoind's 401 and 403 have an empty body. So after a call that failed in an unclear way the
//! status is asked for once more, here.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Limit for connecting and for the status line. bitcoind delays a 401 by a quarter of a second.
const LIMIT: Duration = Duration::from_secs(5);

/// No status line is longer; a server that sends more without a line end is not bitcoind.
const MAX_STATUS_LINE: u64 = 512;

/// Connects to `(host, port)` without blocking the thread, or says within five seconds why not.
pub(super) async fn knock(host: &str, port: u16) -> io::Result<TcpStream> {
    match timeout(LIMIT, TcpStream::connect((host, port))).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    }
}

/// Calls a method without parameters and returns the HTTP status, or what came instead. bitcoind may
/// forbid one method and allow another; without parameters none of ours changes anything.
pub(super) async fn ask(host: &str, port: u16, basic: &str, method: &str) -> io::Result<u16> {
    let mut stream = knock(host, port).await?;
    let body = format!(r#"{{"method":"{method}","params":[],"id":"status"}}"#);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Basic {basic}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut line = Vec::new();
        BufReader::new(stream)
            .take(MAX_STATUS_LINE)
            .read_until(b'\n', &mut line)
            .await?;
        io::Result::Ok(line)
    };
    let line = match timeout(LIMIT, exchange).await {
        Ok(line) => line?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP answer")),
    };
    parse(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

fn parse(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_http_status_lines_are_understood() {
        assert_eq!(parse(b"HTTP/1.1 401 Unauthorized\r\n"), Some(401));
        assert_eq!(parse(b"HTTP/1.0 200 OK\n"), Some(200));
        for garbage in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"",
            b"HTTP/1.1",
            b"\xff\xfe",
            b"200 OK",
        ] {
            assert_eq!(parse(garbage), None);
        }
    }
}
