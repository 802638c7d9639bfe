//! Receiving payments: invoices, and the registry that accepts, holds, settles and fails HTLCs.
//!
//! [`Registry`] is the entry point. `accept_amp` handles AMP shards, `accept_bolt11` payments to
//! the hash of an invoice (hold invoices continue in `hold`), and `keysend` payments that carry
//! their own preimage. `once` has what the latter three share. `restore` reconciles rows and
//! channels after a restart.
//!
//! Safety: the rows of a decision are queued before the claim is passed to LDK, whose monitor
//! update is queued after them. LDK therefore never claims an HTLC that the database does not show
//! as settled, and settled HTLCs are claimed again at every start until LDK reports
//! `PaymentClaimed`.

mod accept_amp;
mod accept_bolt11;
mod cancel;
mod clock;
mod create;
pub mod decode;
mod error;
mod expiry;
mod find;
mod forget;
mod give_back;
mod hold;
mod keysend;
mod ledger;
mod lookup;
mod missed;
mod once;
mod open_sets;
mod payments_received;
mod port;
mod received;
mod registry;
mod restore;
mod sign_again;
mod subscribe;
mod subscribe_one;
#[cfg(test)]
mod test_payments;
#[cfg(test)]
mod test_room;
mod view;

pub use create::{Expiry, NewInvoice, Purpose};
pub use error::InvoiceError;
pub use payments_received::{Period, PeriodTotal};
pub use port::{ChannelPort, Claimable, IncomingHtlc};
pub use registry::{Limits, Registry};
pub use sign_again::Wording;
pub use subscribe::{InvoiceEvent, Subscription};
pub use subscribe_one::{SingleSubscription, TooSlow};
pub use view::InvoiceView;

pub use crate::storage::invoices::{HtlcSelection, InvoiceRef};

/// The log target of settled payments. It has one line per payment, so [`crate::logging`] gives it
/// a higher rate limit.
const SETTLED: &str = "ampd::invoices::settled";
