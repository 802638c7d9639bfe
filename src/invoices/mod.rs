//! Receiving payments: invoices, and the registry that accepts, holds, settles and fails HTLCs.
//!
//! [`Registry`] is the entry point. `claimable` dispatches the payments that LDK reports:
//! `accept_amp` handles AMP shards, `accept_bolt11` payments to the hash of an invoice (hold
//! invoices continue in `hold`), and `keysend` payments that carry their own preimage.
//! `hash_payments` has what the latter three share. `restore` reconciles rows and channels after a
//! restart.
//!
//! Safety: every decision is data, and `decision` is the only place that carries it out: rows
//! first, then the claim, whose monitor update is queued after the rows. LDK therefore never claims
//! an HTLC that the database does not show as settled, and settled HTLCs are claimed again at every
//! start until LDK reports `PaymentClaimed`.

mod accept_amp;
mod accept_bolt11;
mod accepted;
mod add;
mod amp_refusal;
mod amp_sets;
mod announcer;
mod cancel;
mod claimable;
mod create;
mod decision;
pub mod decode;
mod delete_failed;
mod error;
mod event;
mod expiry;
mod fail_back;
mod find;
mod followers;
mod hash_payments;
mod hold;
mod inbound_htlcs;
mod keysend;
mod ldk_events;
mod lookup;
mod missed_events;
mod registry;
mod reissue;
mod restore;
mod seen;
mod state;
mod steady_clock;
mod subscribe;
mod subscribe_single;
#[cfg(test)]
mod test_payments;
#[cfg(test)]
mod test_registry;
mod totals;
mod view;

pub use create::{Expiry, NewInvoice, Purpose};
pub use error::InvoiceError;
pub use event::InvoiceEvent;
pub use followers::TooSlow;
pub use inbound_htlcs::{Claimable, InboundHtlcs, IncomingHtlc};
pub use registry::{Limits, OwnHints, Registry};
pub use reissue::InvoiceText;
pub use subscribe::Subscription;
pub use subscribe_single::SingleSubscription;
pub use totals::{Period, PeriodTotal};
pub use view::InvoiceView;

/// The log target of settled payments. It has one line per payment, so [`crate::logging`] gives it
/// a higher rate limit.
const SETTLED: &str = "ampd::invoices::settled";
