//! Why an invoice cannot be made or found. The texts are lnd's where lnd has the case.

use crate::storage::StorageError;

/// What is wrong with a request about invoices.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error("invoice with payment hash already exists")]
    Duplicate,
    #[error("unable to locate invoice")]
    NotFound,
    #[error("not an AMP invoice: it is paid once, and lookupinvoice shows by what")]
    NotAmp,
    #[error("invoice still open")]
    StillOpen,
    #[error("invoice already settled")]
    AlreadySettled,
    #[error("invoice already canceled")]
    AlreadyCanceled,
    #[error(
        "the payment goes back to its sender at height {deadline}, and it is {height}: too late to \
         settle it"
    )]
    ClaimDeadline { deadline: u32, height: u32 },
    #[error("invoice not canceled")]
    NotCanceled,
    #[error("the invoice was paid; payments that were received are not deleted")]
    WasPaid,
    #[error("only a static AMP invoice can be switched off and on; cancel this one instead")]
    NotStatic,
    #[error("memo too large: {0} bytes (maxsize=1024)")]
    MemoTooLong(usize),
    #[error("payment request too large: {0} bytes; shorten the memo or give fewer route hints")]
    RequestTooLong(usize),
    #[error("amount {0} msat is more than the 100,000 BTC that an invoice may ask for")]
    AmountTooLarge(u64),
    #[error("expiry of {0} seconds greater than max expiry of 31536000 seconds")]
    ExpiryTooLong(u64),
    #[error("only an AMP invoice, which can be paid again and again, can be without expiry")]
    NeverExpires,
    #[error("fallback address is not for {0}")]
    FallbackNetwork(&'static str),
    #[error("CLTV delta of {delta} must be between {least} and {most}")]
    CltvDelta { delta: u64, least: u32, most: u32 },
    #[error("number of hop hint within a route must be positive")]
    EmptyRouteHint,
    #[error("the invoice cannot be built: {0}")]
    Build(String),
    /// Commits fail: what is not on disk cannot be promised to a payer.
    #[error("the node cannot write to its database ({0}); no invoice is made until it can")]
    NotWriting(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
