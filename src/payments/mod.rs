//! Sending payments: a payment is split over routes, each attempt is one HTLC, failed attempts are
//! retried until the timeout, and the history is kept.
//!
//! [`Payments`] is the entry point. [`lifecycle`] is the state machine (without I/O),
//! [`outbound_htlcs`] what it needs from the channel manager and the router, and `restore` resumes
//! payments after a restart. The steps of a payment (`send`, `advance`, `events`, ...) are methods
//! of [`Payments`] in files of their own; `registry` holds its state, and knows none of them.
//!
//! Safety: an attempt's row is queued before its HTLC is passed to LDK, whose monitor update is
//! queued after it. An HTLC is therefore never sent without its row on disk, and a row whose HTLC
//! LDK does not know was never sent.

mod active;
mod advance;
mod cancel;
mod error;
mod events;
mod failed_channels;
mod failure;
mod given_route;
mod hints;
mod history;
mod hops;
mod ids;
mod ldk_events;
pub mod lifecycle;
mod onion;
pub mod outbound_htlcs;
mod prepare;
pub mod probe;
mod probes;
mod progress;
mod registry;
mod request;
mod restore;
mod send;
pub mod send_to_route;
pub mod shards;
mod slots;
mod track_payments;
mod updates;
mod view;

pub use error::{DeleteError, SendError, SendToRouteError};
pub use given_route::{GivenHop, GivenRoute, RouteError};
pub use history::Deletion;
pub use hops::hops;
pub use registry::Payments;
pub use request::{Limits, Method, NewPayment, PaidInvoice};
pub use track_payments::AllUpdates;
pub use view::PaymentView;

#[cfg(test)]
mod tests;
