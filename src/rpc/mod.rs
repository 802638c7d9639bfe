//! lnd's API over gRPC and REST, with the names, field numbers and behaviour of lnd 0.21.
//!
//! A call arrives over TLS, is authorized by its macaroon (`transport`) and dispatched to its service
//! (`server`). The required permissions and the REST paths are options of each method in the .proto
//! files (`transport::methods`).
//!
//! The services only translate: they parse the request, call another module of the node, which they
//! find in the `context`, and convert the result or the error to lnd's messages (`convert`).

pub mod bakery;
mod context;
mod convert;
mod server;
mod services;
#[cfg(test)]
mod test_recordings;
mod transport;

pub use bakery::{BakeError, Bakery};
pub use context::{Context, NodeInfo};
pub use server::{Listeners, ServeError, local_names, serve};
pub use transport::macaroon_files::{MacaroonFileError, write as write_macaroons};
pub use transport::rest::{Origins, rest_message};
pub use transport::tls::{Names, Tls, TlsError};

/// Converts a number for lnd's messages, which use signed fields for values that are never negative. Real
/// values are never truncated: 21 million BTC in msat are less than a quarter of `i64::MAX`.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
