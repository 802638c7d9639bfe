//! Atomic Multi-path Payments (AMP), as lnd speaks them, for nodes built on LDK.
//!
//! With AMP a sender splits a payment into shards, each with its own payment hash, and the recipient can claim
//! none of them before it holds all. So one can pay a node without an invoice, and one invoice can be paid again
//! and again. There is no merged BOLT for AMP: `SPEC.md` beside this crate's README describes the protocol, taken
//! from what lnd does. LDK knows nothing of AMP; this crate adds it to an unmodified LDK.
//!
//! # Sending
//!
//! A [`Splitter`] hands out one [`Share`] per shard. With its set and index a share makes a [`Child`]: the
//! shard's preimage and payment hash. [`recipient_fields`] puts the records of MPP and AMP into the onion of
//! `ChannelManager::send_payment_with_route`.
//!
//! # Receiving
//!
//! A [`Gateway`] stands before the `ChannelManager` as the peers' channel message handler. LDK then reports each
//! AMP HTLC as a payment of its own, with an [`Envelope`] among its custom records. An [`HtlcSet`] takes HTLC
//! after HTLC, and its [`Outcome`]s say which to hold, to claim (and with which preimage) or to fail.
//!
//! Nothing in here does I/O, reads a clock or starts a thread: heights and times are arguments, decisions are
//! values that the caller carries out and stores.
//!
//! The examples `send` and `receive` do both between two LDK nodes in memory.

mod child;
mod id;
mod onion;
mod outcome;
mod record;
mod set;
mod share;
#[cfg(test)]
mod spec;
mod split;
#[cfg(test)]
mod test_data;
pub mod tu64;

pub use child::Child;
pub use id::{ParseIdError, PaymentAddr, SetId};
pub use onion::*;
pub use outcome::{Claim, FailReason, HtlcRef, Outcome};
pub use record::{AMP_RECORD_TYPE, AmpRecord, MPP_RECORD_TYPE, MppRecord, RecordError};
pub use set::{HtlcKey, HtlcSet, SetHtlc, SetLimits};
pub use share::Share;
pub use split::{Shard, SplitError, Splitter};

/// Feature bit "AMP required", for invoices: a payer must use AMP (lnd).
pub const AMP_REQUIRED_BIT: usize = 30;

/// Feature bit "AMP optional", for `init` and `node_announcement`. Every lnd since 0.13 sets it, whether or not
/// it accepts spontaneous AMP payments.
pub const AMP_OPTIONAL_BIT: usize = 31;

/// The feature bits of an AMP invoice, all required, as lnd writes them: TLV onion, payment address, AMP. A
/// payer that only knows MPP must not pay it.
pub const INVOICE_FEATURE_BITS: [usize; 3] = [8, 14, AMP_REQUIRED_BIT];
