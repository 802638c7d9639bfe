//! Pages of payments, invoices and forwards, and the calls that clients repeat.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lnd_api::proto::invoicesrpc::LookupInvoiceMsg;
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::lnrpc::{
    ForwardingHistoryRequest, ListInvoiceRequest, ListPaymentsRequest, PaymentHash,
};
use regtest::api::Api;

use super::fill::{RARE_SCID, Size};
use crate::common::Samples;
use crate::common::fill::{created_at, invoice_hash, static_addr};
use crate::{LARGE, Pair, SMALL};

/// Pairs of samples per call, and those before that are not counted.
const SAMPLES: usize = 200;
const WARM_UP: usize = 20;
/// The length of a page: half of the small history.
const PAGE: u64 = 50;

/// Prints the medians of all calls; returns the worst ratio of those that must not grow.
pub(crate) async fn measure(pair: &Pair) -> Result<f64> {
    println!(
        "\n{:<52} {:>11} {:>11} {:>8}",
        format!("p50 of {SAMPLES}, pages of {PAGE}"),
        "small",
        "large",
        "ratio"
    );
    let mut worst: f64 = 0.0;
    for (what, call) in PAYMENTS {
        worst = worst.max(
            pair.ratio(what, async |api, size| payments(api, call(size)).await)
                .await?,
        );
    }
    for (what, call) in INVOICES {
        worst = worst.max(
            pair.ratio(what, async |api, size| invoices(api, call(size)).await)
                .await?,
        );
    }
    for (what, call) in FORWARDS {
        worst = worst.max(
            pair.ratio(what, async |api, size| forwards(api, call(size)).await)
                .await?,
        );
    }
    for ratio in [
        pair.ratio("GetInfo", async |api, _| Ok(api.info().await.map(drop)?))
            .await?,
        pair.ratio("WalletBalance", async |api, _| {
            Ok(api.wallet().await.map(drop)?)
        })
        .await?,
        pair.ratio("ListChannels", async |api, _| {
            Ok(api.channels().await.map(drop)?)
        })
        .await?,
    ] {
        worst = worst.max(ratio);
    }
    static_invoice(pair).await?;
    Ok(worst)
}

impl Pair {
    /// Calls both nodes in turn and returns the ratio of the medians.
    async fn ratio(&self, what: &str, call: impl AsyncFn(&Api, Size) -> Result<()>) -> Result<f64> {
        let time = async |api: &Api, size: Size| -> Result<Duration> {
            let start = Instant::now();
            call(api, size).await?;
            Ok(start.elapsed())
        };
        let mut samples = Samples::after(WARM_UP);
        for n in 0..WARM_UP + SAMPLES {
            let first = time(&self.small, SMALL).await?;
            samples.add(n, first, time(&self.large, LARGE).await?);
        }
        Ok(samples.report(what))
    }
}

type Calls<R> = &'static [(&'static str, fn(Size) -> R)];

const PAYMENTS: Calls<ListPaymentsRequest> = &[
    ("ListPayments, newest", |_| ListPaymentsRequest {
        reversed: true,
        ..page_of_payments()
    }),
    ("ListPayments, in the middle", |size| ListPaymentsRequest {
        index_offset: size.payments / 2 - PAGE / 2,
        ..page_of_payments()
    }),
    ("ListPayments, with the total", |_| ListPaymentsRequest {
        reversed: true,
        count_total_payments: true,
        ..page_of_payments()
    }),
    ("ListPayments, of a time range", |size| {
        let first = size.payments / 2;
        ListPaymentsRequest {
            creation_date_start: Size::paid_at(first),
            creation_date_end: Size::paid_at(first + PAGE - 1),
            ..page_of_payments()
        }
    }),
    ("ListPayments, newest since a date", |size| {
        ListPaymentsRequest {
            creation_date_start: Size::paid_at(size.payments - PAGE + 1),
            reversed: true,
            max_payments: 2 * PAGE,
            ..page_of_payments()
        }
    }),
];

fn page_of_payments() -> ListPaymentsRequest {
    ListPaymentsRequest {
        max_payments: PAGE,
        include_incomplete: true,
        ..Default::default()
    }
}

async fn payments(api: &Api, request: ListPaymentsRequest) -> Result<()> {
    let found = api.lightning.clone().list_payments(request).await?;
    let found = found.into_inner().payments.len();
    ensure!(found as u64 == PAGE, "{found} payments");
    Ok(())
}

const INVOICES: Calls<ListInvoiceRequest> = &[
    ("ListInvoices, newest", |_| ListInvoiceRequest {
        reversed: true,
        ..page_of_invoices()
    }),
    ("ListInvoices, in the middle", |size| ListInvoiceRequest {
        index_offset: size.received.invoices / 2 - PAGE / 2,
        ..page_of_invoices()
    }),
    ("ListInvoices, of a time range", |size| {
        let first = size.received.invoices / 2;
        ListInvoiceRequest {
            creation_date_start: created_at(first),
            creation_date_end: created_at(first + PAGE - 1),
            ..page_of_invoices()
        }
    }),
    ("ListInvoices, newest since a date", |size| {
        let invoices = size.received.invoices;
        ListInvoiceRequest {
            creation_date_start: created_at(invoices - PAGE + 1),
            reversed: true,
            num_max_invoices: 2 * PAGE,
            ..page_of_invoices()
        }
    }),
];

fn page_of_invoices() -> ListInvoiceRequest {
    ListInvoiceRequest {
        num_max_invoices: PAGE,
        ..Default::default()
    }
}

async fn invoices(api: &Api, request: ListInvoiceRequest) -> Result<()> {
    let found = api.lightning.clone().list_invoices(request).await?;
    let found = found.into_inner().invoices.len();
    ensure!(found as u64 == PAGE, "{found} invoices");
    Ok(())
}

const FORWARDS: Calls<(ForwardingHistoryRequest, usize)> = &[
    ("ForwardingHistory, first page", |_| page_of_forwards(0)),
    ("ForwardingHistory, in the middle", |size| {
        page_of_forwards(size.forwards / 2 - PAGE / 2)
    }),
    ("ForwardingHistory, last page", |size| {
        page_of_forwards(size.forwards - PAGE)
    }),
    ("ForwardingHistory, of a time range", |size| {
        let first = size.forwards / 2;
        let (request, events) = page_of_forwards(0);
        let range = ForwardingHistoryRequest {
            start_time: Size::forwarded_at(first),
            end_time: Size::forwarded_at(first + PAGE - 1),
            ..request
        };
        (range, events)
    }),
    ("ForwardingHistory, of a channel with one forward", |_| {
        let (request, _) = page_of_forwards(0);
        let range = ForwardingHistoryRequest {
            incoming_chan_ids: vec![RARE_SCID],
            ..request
        };
        (range, 1)
    }),
];

fn page_of_forwards(offset: u64) -> (ForwardingHistoryRequest, usize) {
    let request = ForwardingHistoryRequest {
        index_offset: u32::try_from(offset).unwrap_or(u32::MAX),
        num_max_events: PAGE as u32,
        ..Default::default()
    };
    (request, PAGE as usize)
}

async fn forwards(api: &Api, (request, events): (ForwardingHistoryRequest, usize)) -> Result<()> {
    let found = api.lightning.clone().forwarding_history(request).await?;
    let found = found.into_inner().forwarding_events.len();
    ensure!(found == events, "{found} forwards");
    Ok(())
}

/// LookupInvoice returns every payment to the static invoice, as in lnd, so it grows with their number.
async fn static_invoice(pair: &Pair) -> Result<()> {
    println!("\nlookup of the static invoice with all its payments (grows, as in lnd)");
    for (api, size) in [(&pair.small, SMALL), (&pair.large, LARGE)] {
        let payments = size.received.static_payments();
        let by_hash = PaymentHash {
            r_hash: invoice_hash(1).0.to_vec(),
            ..Default::default()
        };
        let start = Instant::now();
        let found = api.lightning.clone().lookup_invoice(by_hash).await?;
        let took = start.elapsed();
        let found = found.into_inner().htlcs.len();
        ensure!(found as u64 == payments, "{found} HTLCs");
        println!(
            "  LookupInvoice, {payments} payments: {} ms",
            took.as_millis()
        );
        let without_htlcs = LookupInvoiceMsg {
            lookup_modifier: lnd_api::proto::invoicesrpc::LookupModifier::HtlcSetBlank.into(),
            invoice_ref: Some(InvoiceRef::PaymentAddr(static_addr().as_bytes().to_vec())),
        };
        let start = Instant::now();
        api.invoices
            .clone()
            .lookup_invoice_v2(without_htlcs)
            .await?;
        let took = start.elapsed().as_millis();
        println!("  LookupInvoiceV2 without HTLCs, {payments} payments: {took} ms");
    }
    Ok(())
}
