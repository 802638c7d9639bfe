//! Atomic Multi-path Payments (AMP), as lnd speaks them, for nodes built on LDK.
//!
//! With AMP, a sender splits a payment into shards with different payment hashes, and the recipient can
//! claim none of them before it holds all. LDK does not implement AMP. This crate adds it to an
//! unmodified LDK 0.2, for senders and for recipients.
//!
//! # The protocol
//!
//! In an AMP payment the sender chooses a random 32-byte root and splits it into shares, one per shard,
//! whose XOR is the root. The root, the share and an index determine the preimage of each shard, so
//! every HTLC has its own payment hash. Each HTLC carries its share in the onion:
//!
//! * the AMP record (TLV type 14) has the share, the set id and the child index ([`AmpRecord`]);
//! * the MPP record (TLV type 8) has the payment address and the total of the payment ([`MppRecord`]).
//!
//! All HTLCs of a payment have the same set id. The recipient holds them until their amounts reach the
//! total. Only then does it know all shares, and thus the root and the preimages: it can claim all HTLCs
//! or none.
//!
//! Because the preimages come from the sender, a node can be paid without an invoice (a spontaneous
//! payment), and an AMP invoice can be paid any number of times, with a new set id for each payment. For
//! the same reason an AMP payment gives the sender no proof of payment.
//!
//! No BOLT describes AMP. This crate follows lnd's implementation and is tested against data recorded
//! from lnd.
//!
//! # Sending
//!
//! A [`Splitter`] gives a [`Share`] of the root to each shard, and takes it back if the shard fails.
//! Root, share and index determine the [`Child`]: the preimage and the payment hash of the HTLC.
//! [`recipient_fields`] adds the MPP and AMP records to the onion of
//! `ChannelManager::send_payment_with_route`.
//!
//! # Receiving
//!
//! A [`Gateway`] takes the place of the `ChannelManager` as the channel message handler of LDK's
//! `PeerManager`. LDK then reports each AMP HTLC as a payment of its own in `Event::PaymentClaimable`,
//! with an [`Envelope`] among its custom records. Pass each HTLC to its [`HtlcSet`]; the returned
//! [`Outcome`] says which HTLCs to hold, to claim (with their preimages) or to fail.
//!
//! The crate does no I/O, reads no clock and starts no thread. Block heights and times are arguments;
//! decisions are return values, which the caller stores and carries out.
//!
//! # Examples
//!
//! `examples/receive.rs` and `examples/send.rs` run LDK nodes in memory. In debug builds the payer's LDK
//! panics on an AMP onion unless the `lightning` crate's debug assertions are off; the README says
//! how.
//!
//! A sender splits a payment into two shards; the recipient derives their preimages from both shares:
//!
//! ```
//! use ldk_amp::{Child, Share, Splitter};
//!
//! // The root and the first argument of `next_shard` must be random bytes.
//! let mut splitter = Splitter::new(Share::from_bytes([7; 32]));
//! let first = splitter.next_shard([1; 32], 0, false)?;
//! let last = splitter.next_shard([2; 32], 1, true)?;
//!
//! let root = first.share.xor(&last.share);
//! assert_eq!(Child::derive(&root, &first.share, first.index), first.child);
//! assert_eq!(Child::derive(&root, &last.share, last.index), last.child);
//! # Ok::<(), ldk_amp::SplitError>(())
//! ```

mod child;
mod id;
mod key;
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
pub use key::HtlcKey;
pub use onion::*;
pub use outcome::{Claim, FailReason, HtlcRef, Outcome};
pub use record::{AMP_RECORD_TYPE, AmpRecord, MPP_RECORD_TYPE, MppRecord, RecordError};
pub use set::{HtlcSet, SetHtlc, SetLimits};
pub use share::Share;
pub use split::{Shard, SplitError, Splitter};

/// Feature bit "AMP required", for invoices: a payer must use AMP (lnd).
pub const AMP_REQUIRED_BIT: usize = 30;

/// Feature bit "AMP optional", for `init` and `node_announcement`. lnd sets it since 0.13, whether or not it
/// accepts spontaneous AMP payments.
pub const AMP_OPTIONAL_BIT: usize = 31;

/// The feature bits of an AMP invoice, all required, as lnd writes them: TLV onion, payment address, AMP. A
/// payer that only knows MPP must not pay it.
pub const INVOICE_FEATURE_BITS: [usize; 3] = [8, 14, AMP_REQUIRED_BIT];
