//! How ampd and ampcli show values to people: amounts, dates, BIP 21 URIs, QR codes and text from strangers.

pub mod amount;
pub mod bip21;
pub mod qr;
pub mod sanitize;
mod utc;

pub use utc::utc_text;
