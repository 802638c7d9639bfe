//! The `Invoices` service: single invoices and hold invoices.

mod change;
mod follow;
mod hold;
mod lookup;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::rpc::Context;
use crate::rpc::transport::streams::{Answers, blocking};
use lnd_api::proto::invoicesrpc::invoices_server::Invoices;
use lnd_api::proto::invoicesrpc::{
    AddHoldInvoiceRequest, AddHoldInvoiceResp, CancelInvoiceMsg, CancelInvoiceResp,
    LookupInvoiceMsg, SettleInvoiceMsg, SettleInvoiceResp, SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::Invoice;

pub(in crate::rpc) use change::delete_canceled;

/// Implements lnd's `Invoices` service.
pub(in crate::rpc) struct InvoicesService {
    context: Arc<Context>,
    /// Cancelled when the RPC server stops.
    stop: CancellationToken,
}

impl InvoicesService {
    pub(in crate::rpc) fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop }
    }
}

#[tonic::async_trait]
impl Invoices for InvoicesService {
    type SubscribeSingleInvoiceStream = Answers<Invoice>;

    async fn subscribe_single_invoice(
        &self,
        request: Request<SubscribeSingleInvoiceRequest>,
    ) -> Result<Response<Self::SubscribeSingleInvoiceStream>, Status> {
        let invoices = self.context.invoices.clone();
        let answers = follow::follow(invoices, self.stop.clone(), request.get_ref())?;
        Ok(Response::new(answers))
    }

    async fn cancel_invoice(
        &self,
        request: Request<CancelInvoiceMsg>,
    ) -> Result<Response<CancelInvoiceResp>, Status> {
        change::cancel(&self.context.invoices, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn add_hold_invoice(
        &self,
        request: Request<AddHoldInvoiceRequest>,
    ) -> Result<Response<AddHoldInvoiceResp>, Status> {
        hold::add(&self.context, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn settle_invoice(
        &self,
        request: Request<SettleInvoiceMsg>,
    ) -> Result<Response<SettleInvoiceResp>, Status> {
        hold::settle(&self.context.invoices, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn lookup_invoice_v2(
        &self,
        request: Request<LookupInvoiceMsg>,
    ) -> Result<Response<Invoice>, Status> {
        let invoices = self.context.invoices.clone();
        blocking(move || lookup::lookup(&invoices, request.get_ref()))
            .await
            .map(Response::new)
    }
}
