//! The AMP protocol, without I/O: records, shares, children, and the set of HTLCs that form one
//! payment.
//!
//! There is no merged BOLT for AMP, so lnd's behaviour is the specification. Nothing here does I/O,
//! reads a clock or uses a channel manager: heights and times are arguments, outcomes are return
//! values.
//!
//! * sending: [`Splitter`] gives each shard its share, [`Child`] its preimage and payment hash;
//! * receiving: [`HtlcSet`] takes one HTLC after another and returns hold, settle or fail.

mod child;
mod id;
mod outcome;
mod record;
mod set;
mod share;
mod split;
#[cfg(test)]
mod test_data;
pub(crate) mod truncated;

pub use child::Child;
pub use id::{ParseIdError, PaymentAddr, SetId};
pub use outcome::{Claim, FailReason, HtlcRef, Outcome};
pub use record::{AMP_RECORD_TYPE, AmpRecord, MPP_RECORD_TYPE, MppRecord, RecordError};
pub use set::{HtlcKey, HtlcSet, SetHtlc, SetLimits};
pub use share::Share;
pub use split::{Shard, SplitError, Splitter};
