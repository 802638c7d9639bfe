//! lnd's API over gRPC and REST, with the names, field numbers and behaviour of lnd 0.21.
//!
//! A call arrives over TLS (`connections`, `tls`), is authorized by its macaroon (`guard`) and dispatched to
//! its service. The required permissions and the REST paths (`rest`) are options of each method in the
//! .proto files (`methods`).
//!
//! The services only translate: they parse the request (`input`), call another module of the node, and
//! convert the result (`payment`, `invoice`, ...) or the error (`errors`) to lnd's messages.

mod asked_route;
pub mod bakery;
mod chain_notifier;
mod connections;
mod errors;
mod events;
mod features;
mod guard;
mod input;
mod invoice;
mod invoices;
mod lightning;
mod macaroon_files;
mod methods;
mod new_invoice;
mod on_chain;
mod payment;
mod places;
#[cfg(test)]
mod recorded;
mod rest;
mod rooms;
mod route_hints;
mod router;
mod server;
mod state;
mod static_invoices;
mod streams;
mod tls;
mod unlocker;
mod versioner;
mod wallet_kit;

pub use bakery::{BakeError, Bakery};
pub use macaroon_files::{MacaroonFileError, write as write_macaroons};
pub use rest::{Origins, rest_message};
pub use rooms::Rooms;
pub use server::{Doors, ServeError, local_names, serve};
pub use tls::{Names, Tls, TlsError};

/// Converts a number for lnd's messages, which use signed fields for values that are never negative. Real
/// values are never truncated: 21 million BTC in msat are less than a quarter of `i64::MAX`.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
