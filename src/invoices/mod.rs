//! Receiving: invoices, and the registry that accepts, holds, settles and refuses HTLCs.
//!
//! [`Registry`] is the room's door. AMP shards go through `accept_amp`. Payments to an invoice's hash
//! go through `accept_bolt11`, and from there to `hold` if it is a hold invoice; those that bring
//! their own preimage through `keysend`. What these three share is in `once`. `restore` puts all in
//! order after a restart.
//!
//! What makes it safe: a decision's rows are queued before the claim is handed to LDK, whose monitor
//! update is queued after them. So LDK never claims what our books do not know as settled, and what
//! they know as settled is claimed again at every start until LDK says `PaymentClaimed`.

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

/// The target of the lines that say what was paid. There is one for each payment, so that the log has a
/// higher limit for them ([`crate::logging`]).
const SETTLED: &str = "ampd::invoices::settled";
