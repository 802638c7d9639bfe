//! Macaroons as lnd makes and checks them: bearer tokens which name what they allow, and which
//! their owner can narrow by caveats without asking the node.
//!
//! [`Bakery`] makes and checks them. [`Macaroon`] is the signed whole in its binary form (version 2 of libmacaroons), [`Id`] what lnd
//! puts into its identifier, [`Operations`] what is allowed, [`caveat`] what narrows it. Written
//! here because the `macaroon` crate stands on the abandoned sodiumoxide; ampd needs no discharges by
//! third parties, and without them a macaroon is a chain of HMACs.

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
