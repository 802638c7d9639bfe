//! Types of the custom TLV records that lnd and its clients use.

/// The 32-byte preimage of a spontaneous payment (keysend, bLIP 3).
pub const KEYSEND: u64 = 5_482_373_484;

/// A UTF-8 text message to the recipient. This is a convention among clients; lnd does not define it.
pub const MESSAGE: u64 = 34_349_334;
