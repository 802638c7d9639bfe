//! A door that is filled in next.
use super::InvoiceError;
use super::registry::Registry;

impl Registry {
    pub async fn settle_hold(&self, _: [u8; 32]) -> Result<(), InvoiceError> {
        Err(InvoiceError::NotFound)
    }
}
