//! SubscribeSingleInvoice.

use std::sync::Arc;

use lightning_types::payment::PaymentHash;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::invoices::{InvoiceError, InvoiceEvent, Registry, SingleSubscription};
use crate::model::invoice::InvoiceRef;
use crate::rpc::convert::invoice::invoice;
use crate::rpc::convert::parse::hash;
use crate::rpc::transport::streams::{Answers, blocking, stream};
use lnd_api::proto::invoicesrpc::SubscribeSingleInvoiceRequest;
use lnd_api::proto::lnrpc::Invoice;

/// Streams the invoice's current state and every change. If the invoice does not exist, waits for it, as lnd
/// does: the hash of a hold invoice is known before the invoice is created.
pub(super) fn follow(
    registry: Arc<Registry>,
    stop: CancellationToken,
    request: &SubscribeSingleInvoiceRequest,
) -> Result<Answers<Invoice>, Status> {
    let hash = PaymentHash(hash(&request.r_hash)?);
    Ok(stream(stop, move |writer| async move {
        let mut changes = wait_for_invoice(&registry, hash).await?;
        while let Some(view) = changes.next().await? {
            writer.send(invoice(&view)).await;
        }
        Ok(())
    }))
}

async fn wait_for_invoice(
    registry: &Arc<Registry>,
    hash: PaymentHash,
) -> Result<SingleSubscription, Status> {
    // Subscribe before the first lookup, so that an invoice created in between is not missed.
    let mut events = registry.subscribe(0, 0)?;
    loop {
        let registry = registry.clone();
        let lookup = move || match registry.subscribe_single(&InvoiceRef::Hash(hash)) {
            Err(InvoiceError::NotFound) => Ok(None),
            found => Ok(Some(found?)),
        };
        if let Some(found) = blocking(lookup).await? {
            return Ok(found);
        }
        while let Some(event) = events.next().await? {
            if matches!(&event, InvoiceEvent::Added(view) if view.record.payment_hash == hash) {
                break;
            }
        }
    }
}
