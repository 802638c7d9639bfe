//! Invoices, AMP sets, and the HTLCs that pay them.
//!
//! Each record is a row; writing a record replaces the row with the same key.

mod amp_payments;
mod changes;
mod expiry;
mod failed_back;
mod lookup;
mod queries;
mod records;

pub use changes::{MarkClaimed, PutHtlc, PutInvoice, PutInvoiceState, PutSet};
pub use expiry::{DeleteInvoice, NeverExpires};
pub use failed_back::{FailedBack, ForgetFailedBack};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;
