//! Errors of invoice requests. Texts are lnd's wherever lnd has the same case.

use crate::storage::StorageError;

/// The reason why a request about invoices failed.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error("invoice with payment hash already exists")]
    Duplicate,
    #[error("unable to locate invoice")]
    NotFound,
    #[error("not an AMP invoice: it can be paid only once; use lookupinvoice to see its payment")]
    NotAmp,
    #[error("invoice still open")]
    StillOpen,
    #[error("invoice already settled")]
    AlreadySettled,
    #[error("invoice already canceled")]
    AlreadyCanceled,
    #[error(
        "too late to settle: the payment is failed back at height {deadline}, and the current height \
         is {height}"
    )]
    ClaimDeadline { deadline: u32, height: u32 },
    #[error("invoice not canceled")]
    NotCanceled,
    #[error("the invoice was paid; invoices with received payments cannot be deleted")]
    WasPaid,
    #[error("only static AMP invoices can be disabled and enabled; cancel this invoice instead")]
    NotStatic,
    #[error("memo too large: {0} bytes (maxsize=1024)")]
    MemoTooLong(usize),
    #[error("payment request too large: {0} bytes; shorten the memo or use fewer route hints")]
    RequestTooLong(usize),
    #[error("amount of {0} msat exceeds the maximum of 100,000 BTC")]
    AmountTooLarge(u64),
    #[error("expiry of {0} seconds greater than max expiry of 31536000 seconds")]
    ExpiryTooLong(u64),
    #[error(
        "only AMP invoices can be created without expiry; set an expiry or make it an AMP invoice"
    )]
    NeverExpires,
    #[error("fallback address is not for {0}")]
    FallbackNetwork(&'static str),
    #[error("CLTV delta of {delta} must be between {least} and {most}")]
    CltvDelta { delta: u64, least: u32, most: u32 },
    #[error("number of hop hint within a route must be positive")]
    EmptyRouteHint,
    #[error("cannot build the invoice: {0}")]
    Build(String),
    /// Commits fail. An invoice that is not on disk must not be handed out.
    #[error("cannot create invoices while the database is not writable ({0})")]
    NotWriting(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
