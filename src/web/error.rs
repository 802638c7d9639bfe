//! Errors of the donation page.

use crate::invoices::InvoiceError;
use crate::storage::StorageError;
use crate::wallet::WalletError;
use ampd_text::qr::QrError;

/// The page's invoice, QR code, address or totals could not be created or read.
#[derive(Debug, thiserror::Error)]
pub enum DonationError {
    #[error("cannot create the donation page's invoice: {0}")]
    Invoice(#[from] InvoiceError),
    #[error("cannot create the donation page's QR code: {0}")]
    Code(#[from] QrError),
    #[error("cannot get the donation page's on-chain address: {0}")]
    Address(#[from] WalletError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
