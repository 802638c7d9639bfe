//! The `StaticInvoices` service: an AMP invoice's payments, and enabling or disabling it.

mod csv;
mod donations;
mod request;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::invoices::{PeriodTotal, Registry};
use crate::model::amp_payment::{PaymentPage, PaymentRecord, TimeSpan};
use crate::model::invoice::InvoiceRef;
use crate::rpc::transport::streams::{Answers, Writer, blocking, stream, unless_stopped};
use crate::rpc::{Context, signed};
use lnd_api::proto::ampdrpc;
use lnd_api::proto::ampdrpc::static_invoices_server::StaticInvoices;
use lnd_api::proto::ampdrpc::{
    CsvChunk, DisableInvoiceResponse, DonationPageRequest, DonationPageResponse,
    EnableInvoiceResponse, ExportInvoicePaymentsRequest, InvoicePayment, InvoiceReference,
    InvoiceTotalsRequest, InvoiceTotalsResponse, ListInvoicePaymentsRequest,
    ListInvoicePaymentsResponse, RotateDonationInvoiceRequest, RotateDonationInvoiceResponse,
};

/// The number of payments that an export reads at a time.
const EXPORT_PAGE: u64 = 1_000;

/// Implements ampd's `StaticInvoices` service.
pub(in crate::rpc) struct StaticInvoicesService {
    context: Arc<Context>,
    /// Cancelled when the RPC server stops.
    stop: CancellationToken,
}

impl StaticInvoicesService {
    pub(in crate::rpc) fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop }
    }

    async fn switch(&self, invoice: &InvoiceReference, enabled: bool) -> Result<(), Status> {
        let invoice = request::invoice(Some(invoice), self.context.node.network)?;
        let registry = &self.context.invoices;
        let switched = async { Ok(registry.set_enabled(&invoice, enabled).await?) };
        unless_stopped(&self.stop, switched).await
    }
}

#[tonic::async_trait]
impl StaticInvoices for StaticInvoicesService {
    type ExportInvoicePaymentsStream = Answers<CsvChunk>;

    async fn list_invoice_payments(
        &self,
        request: Request<ListInvoicePaymentsRequest>,
    ) -> Result<Response<ListInvoicePaymentsResponse>, Status> {
        self.context.read(request, list).await
    }

    async fn invoice_totals(
        &self,
        request: Request<InvoiceTotalsRequest>,
    ) -> Result<Response<InvoiceTotalsResponse>, Status> {
        self.context.read(request, totals).await
    }

    async fn export_invoice_payments(
        &self,
        request: Request<ExportInvoicePaymentsRequest>,
    ) -> Result<Response<Self::ExportInvoicePaymentsStream>, Status> {
        let request = request.into_inner();
        let invoice = request::invoice(request.invoice.as_ref(), self.context.node.network)?;
        let settled = request::span(request.settle_date_start, request.settle_date_end)?;
        let registry = self.context.invoices.clone();
        // Refuse an unknown invoice before the stream starts.
        let asked = registry.clone();
        blocking(move || Ok(asked.amp_invoice(&invoice).map(drop)?)).await?;
        Ok(Response::new(stream(self.stop.clone(), |writer| {
            export(registry, invoice, settled, writer)
        })))
    }

    async fn disable_invoice(
        &self,
        request: Request<InvoiceReference>,
    ) -> Result<Response<DisableInvoiceResponse>, Status> {
        self.switch(request.get_ref(), false).await?;
        Ok(Response::new(DisableInvoiceResponse {}))
    }

    async fn enable_invoice(
        &self,
        request: Request<InvoiceReference>,
    ) -> Result<Response<EnableInvoiceResponse>, Status> {
        self.switch(request.get_ref(), true).await?;
        Ok(Response::new(EnableInvoiceResponse {}))
    }

    async fn donation_page(
        &self,
        _: Request<DonationPageRequest>,
    ) -> Result<Response<DonationPageResponse>, Status> {
        let page = donations::page(&self.context)?;
        let shown = blocking(move || donations::show(&page)).await?;
        Ok(Response::new(shown))
    }

    async fn rotate_donation_invoice(
        &self,
        _: Request<RotateDonationInvoiceRequest>,
    ) -> Result<Response<RotateDonationInvoiceResponse>, Status> {
        let page = donations::page(&self.context)?;
        let rotated = unless_stopped(&self.stop, donations::rotate(&page)).await?;
        Ok(Response::new(rotated))
    }
}

fn list(
    context: &Context,
    request: &ListInvoicePaymentsRequest,
) -> Result<ListInvoicePaymentsResponse, Status> {
    let invoice = request::invoice(request.invoice.as_ref(), context.node.network)?;
    let found = context
        .invoices
        .payments_received(&invoice, &request::page(request)?)?;
    let index = |payment: Option<&PaymentRecord>| payment.map_or(0, |one| one.settle_index);
    Ok(ListInvoicePaymentsResponse {
        first_index_offset: index(found.first()),
        last_index_offset: index(found.last()),
        payments: found.into_iter().map(payment).collect(),
    })
}

fn payment(record: PaymentRecord) -> InvoicePayment {
    InvoicePayment {
        settle_index: record.settle_index,
        settle_date: signed(record.settled_at),
        amt_msat: signed(record.amt_msat),
        set_id: record.set_id.as_bytes().to_vec(),
        num_htlcs: record.shards,
        message: text(record.message),
    }
}

/// Returns a message as text; invalid UTF-8 becomes U+FFFD.
fn text(message: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&message.unwrap_or_default()).into_owned()
}

fn totals(
    context: &Context,
    request: &InvoiceTotalsRequest,
) -> Result<InvoiceTotalsResponse, Status> {
    let invoice = request::invoice(request.invoice.as_ref(), context.node.network)?;
    let settled = request::span(request.settle_date_start, request.settle_date_end)?;
    let period = request::period(request.period)?;
    let totals = context
        .invoices
        .totals_received(&invoice, period, settled)?;
    Ok(InvoiceTotalsResponse {
        totals: totals.into_iter().map(total).collect(),
    })
}

fn total(total: PeriodTotal) -> ampdrpc::PeriodTotal {
    ampdrpc::PeriodTotal {
        period: total.name,
        start: signed(total.start),
        end: signed(total.end),
        num_payments: total.payments,
        amt_msat: signed(total.amt_msat),
    }
}

/// Exports all payments in pages, which bounds the memory used and the duration of each database read.
async fn export(
    registry: Arc<Registry>,
    invoice: InvoiceRef,
    settled: TimeSpan,
    writer: Writer<CsvChunk>,
) -> Result<(), Status> {
    let csv = csv::header()?;
    writer.send(CsvChunk { csv }).await;
    let mut page = PaymentPage {
        limit: EXPORT_PAGE,
        settled,
        ..Default::default()
    };
    loop {
        let registry = registry.clone();
        let payments = blocking(move || Ok(registry.payments_received(&invoice, &page)?)).await?;
        let Some(last) = payments.last() else {
            return Ok(());
        };
        page.index_offset = last.settle_index;
        let csv = csv::lines(&payments)?;
        writer.send(CsvChunk { csv }).await;
    }
}
