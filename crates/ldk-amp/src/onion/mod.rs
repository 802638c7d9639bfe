//! Where AMP meets LDK's wire: everything that stock LDK needs in order to take and send AMP.
//!
//! * In: [`Gateway`] stands before the channel manager. It opens the onion of each HTLC that ends
//!   here; if there is an AMP record, it reseals the onion as a complete payment of its own and
//!   puts the AMP and MPP records into an [`Envelope`], which comes back with `PaymentClaimable`.
//!   The envelope takes some 200 bytes of the onion's 1300: a shard with more than about 850 bytes
//!   of custom records is refused.
//! * Out: [`recipient_fields`] makes LDK write records 8 and 14.
//! * Back: [`Gateway::mark_mpp_timeout`] turns LDK's failure of one HTLC into `mpp_timeout`. A payload
//!   that LDK would refuse without saying why fails with what BOLT 4 asks for ([`Fault`]).

mod announcements;
mod check;
mod closing_fees;
mod envelope;
mod failure;
mod gateway;
mod mac;
mod marks;
mod packet;
mod peer_blobs;
mod recipient;
mod refusals;
mod rewrite;
mod tlv;
mod types;

#[cfg(test)]
mod test_data;

pub use check::Fault;
pub use closing_fees::ClosingTerms;
pub use envelope::{ENVELOPE_TYPE, Envelope, EnvelopeKey};
pub use failure::{MPP_TIMEOUT, mpp_timeout_packet, with_reason};
pub use gateway::Gateway;
pub use packet::{HopSecret, OpenError, Payload, TooLarge, open, seal};
pub use peer_blobs::PeerBlobs;
pub use recipient::{RecipientError, fields_without_mpp, recipient_fields};
pub use rewrite::{Refusal, Rewriter, Rewritten, Untouched};
pub use tlv::{Record, TlvError};
