//! The domain model: what this node stores, lists and decides about, as plain data.
//!
//! `storage` maps these types to rows and back. Types with `serde` derives are stored as JSON: their
//! field names and forms are part of the file format.

pub mod amp_payment;
pub mod attempt;
pub mod forward;
pub mod htlc;
pub mod invoice;
mod json;
pub mod payment;
