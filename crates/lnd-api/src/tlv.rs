//! The numbers of custom TLV records that lnd and its clients use.

/// The preimage of a spontaneous payment (keysend), 32 bytes.
pub const KEYSEND: u64 = 5_482_373_484;

/// A text message to the recipient, UTF-8: by convention, not by lnd itself.
pub const MESSAGE: u64 = 34_349_334;
