//! Management of the donation page's invoices.

use std::sync::Arc;

use tonic::Status;

use crate::model::invoice::InvoiceRecord;
use crate::rpc::convert::errors::refused;
use crate::rpc::{Context, signed};
use crate::web::{DonationError, Donations};
use lnd_api::proto::ampdrpc::{
    DonationInvoice, DonationPageResponse, RotateDonationInvoiceResponse,
};

impl From<DonationError> for Status {
    fn from(error: DonationError) -> Self {
        match error {
            DonationError::Invoice(error) => error.into(),
            DonationError::Code(error) => refused(error.to_string()),
            DonationError::Address(error) => error.into(),
            DonationError::Storage(error) => error.into(),
        }
    }
}

/// Returns the donation page.
pub(super) fn page(context: &Context) -> Result<Arc<Donations>, Status> {
    context
        .donations
        .clone()
        .ok_or_else(|| refused("the donation page is disabled: donations-listen is not set"))
}

/// Returns the page's current invoice, its totals, and all of its invoices.
pub(super) fn show(page: &Donations) -> Result<DonationPageResponse, Status> {
    let (shown, total) = (page.rendered(), page.total());
    Ok(DonationPageResponse {
        payment_request: shown.payment_request().to_owned(),
        num_payments: total.payments,
        amt_msat: signed(total.amt_msat),
        invoices: page.invoices()?.into_iter().map(invoice).collect(),
        snippet: page.snippet().unwrap_or_default(),
    })
}

/// Switches the page to a new invoice.
pub(super) async fn rotate(page: &Donations) -> Result<RotateDonationInvoiceResponse, Status> {
    let shown = page.rotate().await?;
    Ok(RotateDonationInvoiceResponse {
        payment_request: shown.payment_request().to_owned(),
        add_index: shown.invoice().add_index,
    })
}

fn invoice(record: InvoiceRecord) -> DonationInvoice {
    DonationInvoice {
        add_index: record.add_index,
        payment_hash: record.payment_hash.0.to_vec(),
        creation_date: signed(record.created_at),
        expiry_date: record.expires_at.map_or(0, signed),
        amt_paid_msat: signed(record.amt_paid_msat),
        state: format!("{:?}", record.state).to_uppercase(),
    }
}
