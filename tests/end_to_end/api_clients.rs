//! API clients that send invalid requests, are slow or too many: each gets a clear error or its
//! connection is closed, and no other client is affected.

mod flood;
mod invalid_requests;
mod macaroons;
mod public_services;
mod request_log;
mod stalled_clients;
mod tls;
mod versions;

use std::time::Duration;

/// A connection without a finished handshake is closed after 10 s.
const LIMIT: Duration = Duration::from_secs(40);
