//! Doors that other parts of this step fill in.
use super::registry::Registry;
use super::InvoiceError;

impl Registry {
    pub async fn settle_hold(&self, _: [u8; 32]) -> Result<(), InvoiceError> {
        Err(InvoiceError::NotFound)
    }
}
