//! Macaroons in lnd's format: creating, restricting and verifying them.
//!
//! A macaroon is a bearer token that lists the operations it permits. Its holder can restrict it with
//! caveats, for example on time or IP address, without contacting the node.
//!
//! * [`Macaroon`]: the signed token and its binary format (version 2 of libmacaroons).
//! * [`RootKey`]: the secret that signs macaroons.
//! * [`Id`]: lnd's identifier, with a nonce, the root key id and the permitted [`Operations`].
//! * [`caveat`]: checks lnd's caveats against a call.
//!
//! Third-party caveats, which lnd does not use, are not supported. Without them a macaroon is a chain
//! of HMACs. This crate exists because the `macaroon` crate depends on the unmaintained sodiumoxide.

pub mod caveat;
mod format;
mod id;
mod macaroon;
mod operations;
#[cfg(test)]
pub(crate) mod test_data;

pub use format::FormatError;
pub use id::{Id, IdError};
pub use macaroon::{Macaroon, RootKey, SignatureError};
pub use operations::Operations;
