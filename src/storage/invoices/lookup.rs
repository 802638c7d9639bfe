//! What an invoice is known by.

/// What an invoice is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceRef {
    /// Its payment hash, or that of one of its HTLCs.
    Hash([u8; 32]),
    /// Its payment address.
    Addr([u8; 32]),
    /// A set that paid to it, or tried to.
    SetId([u8; 32]),
}
