//! SubscribeSingleInvoice.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::invoices::{InvoiceError, InvoiceEvent, InvoiceRef, Registry, SingleSubscription};
use crate::rpc::input::hash;
use crate::rpc::invoice::invoice;
use crate::rpc::streams::{Answers, blocking, stream};
use lnd_api::proto::invoicesrpc::SubscribeSingleInvoiceRequest;
use lnd_api::proto::lnrpc::Invoice;

/// Streams the invoice as it is and every change. One that does not exist is waited for, as in lnd:
/// whoever makes a hold invoice knows its hash before.
pub(super) fn follow(
    registry: Arc<Registry>,
    stop: CancellationToken,
    request: &SubscribeSingleInvoiceRequest,
) -> Result<Answers<Invoice>, Status> {
    let hash = hash(&request.r_hash)?;
    Ok(stream(stop, move |writer| async move {
        let mut changes = once_it_is_there(&registry, hash).await?;
        while let Some(view) = changes.next().await? {
            writer.send(invoice(&view)).await;
        }
        Ok(())
    }))
}

async fn once_it_is_there(
    registry: &Arc<Registry>,
    hash: [u8; 32],
) -> Result<SingleSubscription, Status> {
    // Before the first look, so that an invoice that is made now is not missed.
    let mut events = registry.subscribe(0, 0)?;
    loop {
        let registry = registry.clone();
        let look = move || match registry.subscribe_single(&InvoiceRef::Hash(hash)) {
            Err(InvoiceError::NotFound) => Ok(None),
            found => Ok(Some(found?)),
        };
        if let Some(found) = blocking(look).await? {
            return Ok(found);
        }
        while let Some(event) = events.next().await? {
            if matches!(&event, InvoiceEvent::Added(view) if view.record.payment_hash == hash) {
                break;
            }
        }
    }
}
