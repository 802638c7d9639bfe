//! Static invoices: `invoicepayments`, `disableinvoice`, `enableinvoice`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap::{Args, ValueEnum};
use tonic::{Code, Status, Streaming};

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_text};
use super::table::{Column, satoshi, table};
use super::values::{Hex, hex_32, time_from, time_to, without_scheme};
use ampd_text::sanitize;
use ampd_text::utc_text;
use lnd_api::proto::ampdrpc::invoice_reference::Name;
use lnd_api::proto::ampdrpc::invoice_totals_request::Period;
use lnd_api::proto::ampdrpc::{
    CsvChunk, ExportInvoicePaymentsRequest, InvoicePayment, InvoiceReference, InvoiceTotalsRequest,
    ListInvoicePaymentsRequest, PeriodTotal,
};

const PAYMENT_COLUMNS: [Column; 6] = [
    ("SETTLE_INDEX", true),
    ("TIME", false),
    ("AMOUNT", true),
    ("HTLCS", true),
    ("SET_ID", false),
    ("MESSAGE", false),
];

const TOTAL_COLUMNS: [Column; 3] = [("PERIOD", false), ("PAYMENTS", true), ("AMOUNT", true)];

/// Maximum length of a message in a table, in characters; JSON and CSV contain it in full.
const MAX_MESSAGE_CHARS: usize = 60;

/// An identifier of an invoice, as given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum InvoiceName {
    /// A payment hash, payment address or set_id: all have 32 bytes.
    Id(Vec<u8>),
    /// The invoice itself.
    Request(String),
}

impl InvoiceName {
    fn parse(text: &str) -> Result<Self, String> {
        let text = without_scheme(text);
        match hex_32(text) {
            Ok(Hex(id)) => Ok(Self::Id(id)),
            Err(_)
                if text
                    .get(..2)
                    .is_some_and(|start| start.eq_ignore_ascii_case("ln")) =>
            {
                Ok(Self::Request(text.to_owned()))
            }
            Err(_) => Err("expected 32 bytes in hex or an invoice".to_owned()),
        }
    }

    /// Calls the node with each possible meaning of the identifier until it finds the invoice.
    async fn lookup<T>(
        self,
        mut call: impl AsyncFnMut(Option<InvoiceReference>) -> Result<T, Status>,
    ) -> Result<T, CliError> {
        let names = match self {
            Self::Request(text) => vec![Name::PaymentRequest(text)],
            Self::Id(id) => vec![
                // Identifiers chosen by this node first: a set_id is chosen by the payer.
                Name::PaymentAddr(id.clone()),
                Name::PaymentHash(id.clone()),
                Name::SetId(id),
            ],
        };
        let mut not_found = Status::not_found("unable to locate invoice");
        for name in names {
            match call(Some(InvoiceReference { name: Some(name) })).await {
                Err(status) if status.code() == Code::NotFound => not_found = status,
                answer => return Ok(answer?),
            }
        }
        Err(not_found.into())
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Totals {
    Day,
    Week,
    Month,
    All,
}

impl From<Totals> for Period {
    fn from(totals: Totals) -> Self {
        match totals {
            Totals::Day => Self::Day,
            Totals::Week => Self::Week,
            Totals::Month => Self::Month,
            Totals::All => Self::All,
        }
    }
}

/// List the payments to an AMP invoice, by default the last 100.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct InvoicePayments {
    /// Payment hash, payment address or set_id (32 bytes in hex), or the invoice itself
    #[arg(value_parser = InvoiceName::parse)]
    invoice: InvoiceName,
    /// settle_index before which (with --paginate_forwards: after which) the list starts
    #[arg(long, default_value_t = 0)]
    index_offset: u64,
    /// Maximum number of payments; 0 means 100
    #[arg(long, default_value_t = 0)]
    max_payments: u64,
    /// List from oldest to newest
    #[arg(long)]
    paginate_forwards: bool,
    /// Earliest settle time: 2026-11-01 (UTC), 2026-11-01T12:00:00Z or seconds since 1970
    #[arg(long, default_value = "0", hide_default_value = true, value_parser = time_from)]
    from: u64,
    /// Latest settle time, in the same formats; a date includes the whole day
    #[arg(long, default_value = "0", hide_default_value = true, value_parser = time_to)]
    to: u64,
    /// Print a table instead of JSON
    #[arg(long)]
    table: bool,
    /// CSV file to which all payments are written; - for stdout
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["table", "totals", "index_offset", "max_payments", "paginate_forwards"]
    )]
    csv: Option<String>,
    /// Print totals per period instead of payments (UTC; weeks begin on Monday)
    #[arg(
        long,
        value_name = "PERIOD",
        conflicts_with_all = ["index_offset", "max_payments", "paginate_forwards"]
    )]
    totals: Option<Totals>,
}

impl InvoicePayments {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match (&self.csv, self.totals) {
            (Some(file), _) => {
                let file = file.clone();
                self.export(node, &file).await
            }
            (None, Some(totals)) => self.totals(node, totals.into()).await,
            (None, None) => self.list(node).await,
        }
    }

    async fn list(self, node: &mut Node) -> Result<(), CliError> {
        let request = ListInvoicePaymentsRequest {
            invoice: None,
            index_offset: self.index_offset,
            num_max_payments: self.max_payments,
            reversed: !self.paginate_forwards,
            settle_date_start: self.from,
            settle_date_end: self.to,
        };
        let call = async |invoice| {
            let request = ListInvoicePaymentsRequest { invoice, ..request };
            node.static_invoices.list_invoice_payments(request).await
        };
        let found = self.invoice.lookup(call).await?.into_inner();
        if !self.table {
            return print(&found);
        }
        let rows: Vec<_> = found.payments.iter().map(payment_row).collect();
        print_text(&table(&PAYMENT_COLUMNS, &rows))
    }

    async fn totals(self, node: &mut Node, period: Period) -> Result<(), CliError> {
        let request = InvoiceTotalsRequest {
            invoice: None,
            period: period.into(),
            settle_date_start: self.from,
            settle_date_end: self.to,
        };
        let call = async |invoice| {
            let request = InvoiceTotalsRequest { invoice, ..request };
            node.static_invoices.invoice_totals(request).await
        };
        let found = self.invoice.lookup(call).await?.into_inner();
        if !self.table {
            return print(&found);
        }
        let rows: Vec<_> = found.totals.iter().map(total_row).collect();
        print_text(&table(&TOTAL_COLUMNS, &rows))
    }

    async fn export(self, node: &mut Node, file: &str) -> Result<(), CliError> {
        let request = ExportInvoicePaymentsRequest {
            invoice: None,
            settle_date_start: self.from,
            settle_date_end: self.to,
        };
        let call = async |invoice| {
            let request = ExportInvoicePaymentsRequest { invoice, ..request };
            node.static_invoices.export_invoice_payments(request).await
        };
        let chunks = self.invoice.lookup(call).await?.into_inner();
        match file {
            "-" => copy(chunks, io::stdout()).await,
            file => save(chunks, Path::new(file)).await,
        }
    }
}

/// Writes to a temporary file first and renames it, so that the file is never incomplete.
async fn save(chunks: Streaming<CsvChunk>, file: &Path) -> Result<(), CliError> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = Path::new(&unfinished);
    let in_file = |cause: io::Error| CliError::Text(format!("{}: {cause}", file.display()));
    let saved = match File::create(unfinished) {
        Ok(open) => copy(chunks, open).await,
        Err(cause) => return Err(in_file(cause)),
    };
    match saved {
        Ok(()) => fs::rename(unfinished, file).map_err(in_file),
        Err(cause) => {
            // Best effort: a leftover temporary file is harmless.
            let _ = fs::remove_file(unfinished);
            error(format!("{}: {cause}", file.display()))
        }
    }
}

async fn copy(mut chunks: Streaming<CsvChunk>, mut to: impl Write) -> Result<(), CliError> {
    while let Some(chunk) = chunks.message().await? {
        to.write_all(&chunk.csv)?;
    }
    Ok(to.flush()?)
}

fn payment_row(payment: &InvoicePayment) -> [String; PAYMENT_COLUMNS.len()] {
    let set_id = bitcoin::hex::DisplayHex::to_lower_hex_string(&payment.set_id[..]);
    [
        payment.settle_index.to_string(),
        utc_text(u64::try_from(payment.settle_date).unwrap_or_default()),
        satoshi(payment.amt_msat),
        payment.num_htlcs.to_string(),
        set_id,
        shortened(&sanitize::escape(&payment.message)),
    ]
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

fn total_row(total: &PeriodTotal) -> [String; TOTAL_COLUMNS.len()] {
    [
        total.period.clone(),
        total.num_payments.to_string(),
        satoshi(total.amt_msat),
    ]
}

/// Disable a static invoice: payments are rejected until it is enabled again.
#[derive(Debug, Args)]
pub(crate) struct DisableInvoice {
    /// Payment hash, payment address or set_id (32 bytes in hex), or the invoice itself
    #[arg(value_parser = InvoiceName::parse)]
    invoice: InvoiceName,
}

impl DisableInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let call = async |invoice: Option<InvoiceReference>| {
            let invoice = invoice.unwrap_or_default();
            node.static_invoices.disable_invoice(invoice).await
        };
        print(self.invoice.lookup(call).await?.get_ref())
    }
}

/// Enable a disabled static invoice.
#[derive(Debug, Args)]
pub(crate) struct EnableInvoice {
    /// Payment hash, payment address or set_id (32 bytes in hex), or the invoice itself
    #[arg(value_parser = InvoiceName::parse)]
    invoice: InvoiceName,
}

impl EnableInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let call = async |invoice: Option<InvoiceReference>| {
            let invoice = invoice.unwrap_or_default();
            node.static_invoices.enable_invoice(invoice).await
        };
        print(self.invoice.lookup(call).await?.get_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invoice_is_given_by_identifier_or_itself() {
        let id = "11".repeat(32);
        assert_eq!(InvoiceName::parse(&id), Ok(InvoiceName::Id(vec![0x11; 32])));
        for text in ["lnbcrt1x", "LNBC1X", "lightning:lnbc1x"] {
            let expected = InvoiceName::Request(without_scheme(text).to_owned());
            assert_eq!(InvoiceName::parse(text), Ok(expected));
        }
        for text in ["", "l", "11", "ä", "0x11"] {
            assert!(InvoiceName::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn ids_are_looked_up_as_each_kind_of_identifier() {
        let lookup = async |known: Name| {
            let mut calls = 0;
            let answer = InvoiceName::Id(vec![1; 32])
                .lookup(async |invoice| {
                    calls += 1;
                    match invoice.and_then(|invoice| invoice.name) {
                        Some(name) if name == known => Ok(()),
                        _ => Err(Status::not_found("unable to locate invoice")),
                    }
                })
                .await;
            (calls, answer.map_err(|error| error.to_string()))
        };
        assert_eq!(lookup(Name::PaymentAddr(vec![1; 32])).await, (1, Ok(())));
        assert_eq!(lookup(Name::PaymentHash(vec![1; 32])).await, (2, Ok(())));
        assert_eq!(lookup(Name::SetId(vec![1; 32])).await, (3, Ok(())));
        let (calls, answer) = lookup(Name::SetId(vec![2; 32])).await;
        assert_eq!(calls, 3);
        let not_found = "rpc error: code = NotFound desc = unable to locate invoice";
        assert_eq!(answer, Err(not_found.to_owned()));
    }

    #[test]
    fn messages_are_escaped_and_shortened_in_tables() {
        let payment = InvoicePayment {
            settle_date: 1_000_000_000,
            amt_msat: 1_500,
            message: format!("\u{1b}[2J{}", "ü".repeat(100)),
            ..Default::default()
        };
        let row = payment_row(&payment);
        assert_eq!(row[1..3], ["2001-09-09T01:46:40Z", "1.5"]);
        assert!(row[5].starts_with("\\u{1b}[2Jü"), "{}", row[5]);
        assert_eq!(row[5].chars().count(), MAX_MESSAGE_CHARS + 1);
    }
}
