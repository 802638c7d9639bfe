//! The onion adaptation that lets an unmodified LDK receive and send AMP.
//!
//! * Receiving: [`Gateway`] sits between the peers and the channel manager. It opens the onion of
//!   each HTLC for which this node is the final hop. If it contains an AMP record, the gateway
//!   reseals the onion as a complete single-HTLC payment and moves the AMP and MPP records into an
//!   [`Envelope`], which LDK returns in `PaymentClaimable`. The envelope takes about 200 of the
//!   onion's 1300 bytes, so a shard with more than about 850 bytes of custom records is rejected.
//! * Sending: [`recipient_fields`] makes LDK write records 8 (MPP) and 14 (AMP).
//! * Failing: [`Gateway::mark_mpp_timeout`] replaces LDK's failure of one HTLC with `mpp_timeout`.
//!   Payloads that LDK would fail without a usable reason fail with the one BOLT 4 requires
//!   ([`Fault`]).

mod check;
mod envelope;
mod failure;
mod gateway;
mod hmac;
mod packet;
mod recipient;
mod refusals;
mod rewrite;
mod timeout_marks;
mod tlv;
mod types;

#[cfg(test)]
mod test_data;

pub use check::Fault;
pub use envelope::{ENVELOPE_TYPE, Envelope, EnvelopeKey};
pub use failure::{MPP_TIMEOUT, mpp_timeout_packet, with_reason};
pub use gateway::Gateway;
pub use packet::{HopSecret, OpenError, Payload, TooLarge, open, seal};
pub use recipient::{RecipientError, fields_without_mpp, recipient_fields};
pub use rewrite::{Refusal, Rewriter, Rewritten, Untouched};
pub use tlv::{Record, TlvError};
