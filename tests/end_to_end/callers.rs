//! Callers who are wrong, slow or too many: each gets a clear answer or a closed connection, and nobody else
//! notices.

mod door;
mod flood;
mod half_open;
mod macaroons;
mod open_to_all;
mod request_log;
mod versions;
mod wrong;

use std::time::Duration;

/// A handshake that is not finished loses its place after 10 s.
const LIMIT: Duration = Duration::from_secs(40);
