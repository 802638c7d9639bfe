//! Text formats shared by ampd and ampcli: amounts, times, BIP 21 URIs, QR codes and untrusted text.

pub mod amount;
pub mod bip21;
pub mod qr;
pub mod sanitize;
mod utc;

pub use utc::utc_text;
