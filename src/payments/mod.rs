//! Sending: a payment is split over routes, each attempt an HTLC of its own; what fails is tried
//! again until the time limit; what happened is kept.
//!
//! [`Payments`] is the room's door. [`flow`] decides (pure), [`outbound`] is what it needs of the
//! network, `restore` picks payments up again after a restart.
//!
//! The order that makes it safe: an attempt's row is queued before its HTLC is handed to LDK, whose
//! monitor update is queued after it. So an HTLC never leaves whose row is not on disk, and a row
//! whose HTLC LDK does not know was never sent.

mod advance;
pub mod by_route;
mod cancel;
mod error;
mod events;
mod failed_channels;
pub mod flow;
mod follow_all;
pub mod hashes;
mod hints;
mod history;
mod ids;
pub mod outbound;
mod prepare;
pub mod probe;
mod request;
mod restore;
mod send;
mod verdict;
mod view;

pub use advance::hops;
pub use error::{DeleteError, SendError};
pub use follow_all::AllUpdates;
pub use history::Deletion;
pub use request::{Limits, Method, NewPayment, PaidInvoice};
pub use send::{Payments, parse_key};
pub use view::PaymentView;
