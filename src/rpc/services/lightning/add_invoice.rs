//! AddInvoice.

use tonic::Status;

use crate::rpc::Context;
use crate::rpc::convert::new_invoice;
use crash_points::panics;
use lnd_api::proto::lnrpc::{AddInvoiceResponse, Invoice};

/// Creates an invoice.
pub(super) async fn add(context: &Context, request: Invoice) -> Result<AddInvoiceResponse, Status> {
    panics::at(panics::Place::Call);
    let record = context.invoices.add(new_invoice::read(request)?).await?;
    Ok(AddInvoiceResponse {
        r_hash: record.payment_hash.0.to_vec(),
        payment_request: record.terms.payment_request,
        add_index: record.add_index,
        payment_addr: record.payment_addr.as_bytes().to_vec(),
    })
}
