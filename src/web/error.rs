//! Why there is no donation page, or no new invoice for it.

use crate::invoices::InvoiceError;
use crate::storage::StorageError;
use crate::wallet::WalletError;
use ampd_text::qr::QrError;

/// What went wrong with the page's invoice or its books.
#[derive(Debug, thiserror::Error)]
pub enum DonationError {
    #[error("the donation page's invoice: {0}")]
    Invoice(#[from] InvoiceError),
    #[error("the donation page's QR code: {0}")]
    Code(#[from] QrError),
    #[error("the donation page's on-chain address: {0}")]
    Address(#[from] WalletError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
