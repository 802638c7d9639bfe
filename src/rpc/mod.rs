//! lnd's interface: names, numbers and behaviour are those of lnd 0.21, as gRPC and as REST.
//!
//! A call comes over TLS (`connections`, `tls`), is let in by its macaroon (`guard`) and goes to its service.
//! What a macaroon must allow, and where REST has the call (`rest`), is said in the .proto beside it
//! (`methods`).
//!
//! The services translate and decide nothing: each call is read (`input`), handed to a room, and the
//! room's answer (`payment`, `invoice`, ...) or error (`errors`) is put into lnd's words.

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

/// lnd's messages have signed numbers for what is never negative. Nothing real is cut off: all
/// bitcoins in msat are a quarter of the largest number.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
