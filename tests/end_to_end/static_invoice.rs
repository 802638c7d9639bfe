//! One static invoice paid two hundred times by two payers: its payment list, the channel balances and
//! subscribers agree to the msat.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hex::DisplayHex;
use futures_util::{StreamExt, TryStreamExt, stream};
use lnd_api::proto::ampdrpc::invoice_reference::Name;
use lnd_api::proto::ampdrpc::{
    ExportInvoicePaymentsRequest, InvoicePayment, InvoiceReference, InvoiceTotalsRequest,
    ListInvoicePaymentsRequest, PeriodTotal,
};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{AddInvoiceResponse, Invoice, InvoiceSubscription};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{Api, bolt11};
use regtest::network::{ChannelPlan, Network};
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::{SETTLE_LIMIT, binaries};

const PAYERS: [&str; 2] = ["alice", "bob"];
const PAYMENTS: u64 = 200;
const CONCURRENT_PAYMENTS: usize = 10;
const LIMIT: Duration = Duration::from_secs(30);
/// The custom record that carries a message to the receiver.
const MESSAGE: u64 = 34_349_334;

/// Set ids of payments and their amounts in msat.
type Books = BTreeMap<Vec<u8>, u64>;

#[tokio::test]
async fn static_invoice_lists_each_of_two_hundred_payments() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = PAYERS.map(|payer| ChannelPlan::new(payer, "carol", 1_000_000));
    network.open(&plans).await?;
    let carol = network["carol"].api()?;
    let invoice = static_invoice(&carol).await?;
    let before = balances(&network).await?;

    let mut always = subscribe(&carol, 0).await?;
    let mut first_half = pay(&network, &invoice, 0..PAYMENTS / 2).await?;
    let (settled, last_index) = read_settlements(&mut always, PAYMENTS / 2).await?;
    assert_eq!(settled, first_half);
    // From here on only one subscriber is connected; the other has to catch up.
    let second_half = pay(&network, &invoice, PAYMENTS / 2..PAYMENTS).await?;
    let mut away = subscribe(&carol, last_index).await?;
    for updates in [&mut always, &mut away] {
        let (settled, last_index) = read_settlements(updates, PAYMENTS / 2).await?;
        assert_eq!(settled, second_half);
        assert_eq!(last_index, PAYMENTS);
    }
    // A subscriber that requests the whole history gets each settlement once.
    let (settled, _) = read_settlements(&mut subscribe(&carol, 1).await?, PAYMENTS - 1).await?;
    assert_eq!(settled.len() as u64, PAYMENTS - 1);

    first_half.extend(second_half);
    the_ledger_has_each_payment(&carol, &invoice, &first_half).await?;
    ampcli_shows_it(&network, &invoice, &first_half)?;
    the_channels_agree(&network, &before, &first_half).await?;
    disabled_invoice_cannot_be_paid(&network, &invoice).await?;
    network.finish();
    Ok(())
}

async fn static_invoice(carol: &Api) -> Result<AddInvoiceResponse> {
    let request = Invoice {
        memo: "as much and as often as you like".into(),
        is_amp: true,
        ..Default::default()
    };
    Ok(carol
        .lightning
        .clone()
        .add_invoice(request)
        .await?
        .into_inner())
}

/// A different amount for each payment, from 1 sat, not in whole satoshis.
fn amount_msat(n: u64) -> u64 {
    1_000 + n * 12_347
}

fn request(invoice: &AddInvoiceResponse, n: u64) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        amt_msat: i64::try_from(amount_msat(n))?,
        amp: true,
        dest_custom_records: [(MESSAGE, format!("payment {n}").into_bytes())].into(),
        ..bolt11(&invoice.payment_request)
    })
}

/// Makes these payments, alternating payers, ten at a time, and returns the amounts.
async fn pay(
    network: &Network,
    invoice: &AddInvoiceResponse,
    numbers: std::ops::Range<u64>,
) -> Result<Books> {
    let pay = async |n: u64| {
        let payer = PAYERS[usize::try_from(n)? % PAYERS.len()];
        let payment = network.pay(payer, &request(invoice, n)?).await?;
        let set_id = regtest::api::bytes(&payment.payment_hash)?;
        anyhow::Ok((set_id, u64::try_from(payment.value_msat)?))
    };
    let books: Books = stream::iter(numbers.clone())
        .map(pay)
        .buffer_unordered(CONCURRENT_PAYMENTS)
        .try_collect()
        .await?;
    let mut paid: Vec<u64> = books.values().copied().collect();
    paid.sort_unstable();
    assert_eq!(paid, numbers.map(amount_msat).collect::<Vec<_>>());
    Ok(books)
}

async fn subscribe(api: &Api, settle_index: u64) -> Result<Streaming<Invoice>> {
    let since = InvoiceSubscription {
        settle_index,
        ..Default::default()
    };
    let updates = api.lightning.clone().subscribe_invoices(since).await?;
    Ok(updates.into_inner())
}

/// Reads the next `count` settlements, each once and in order; returns them with the last index.
async fn read_settlements(updates: &mut Streaming<Invoice>, count: u64) -> Result<(Books, u64)> {
    let (mut settled, mut last) = (Books::new(), 0);
    for _ in 0..count {
        let update = timeout(LIMIT, updates.message()).await;
        let update = update
            .context("timed out waiting for an update")??
            .context("the stream has ended")?;
        let sets = &update.amp_invoice_state;
        ensure!(sets.len() == 1, "{} sets in one update", sets.len());
        let (set_id, set) = sets.iter().next().context("no set")?;
        ensure!(
            last == 0 || set.settle_index == last + 1,
            "settle index {} after {last}",
            set.settle_index
        );
        last = set.settle_index;
        let amount = u64::try_from(set.amt_paid_msat)?;
        let twice = settled.insert(regtest::api::bytes(set_id)?, amount);
        ensure!(twice.is_none(), "{set_id} was reported twice");
    }
    Ok((settled, last))
}

async fn the_ledger_has_each_payment(
    carol: &Api,
    invoice: &AddInvoiceResponse,
    paid: &Books,
) -> Result<()> {
    let ledger = ledger(carol, invoice).await?;
    let indices: Vec<u64> = ledger.iter().map(|payment| payment.settle_index).collect();
    assert_eq!(indices, (1..=PAYMENTS).collect::<Vec<_>>());
    let mut books = Books::new();
    for payment in &ledger {
        let amount = u64::try_from(payment.amt_msat)?;
        let number = (amount - amount_msat(0)) / (amount_msat(1) - amount_msat(0));
        assert_eq!(payment.message, format!("payment {number}"));
        assert!(payment.num_htlcs >= 1);
        books.insert(payment.set_id.clone(), amount);
    }
    assert_eq!(&books, paid);

    let sum: u64 = paid.values().sum();
    let totals = totals(carol, invoice).await?;
    let payments: u64 = totals.iter().map(|total| total.num_payments).sum();
    let msat: i64 = totals.iter().map(|total| total.amt_msat).sum();
    assert_eq!((payments, u64::try_from(msat)?), (PAYMENTS, sum));

    let csv = export(carol, invoice).await?;
    assert_eq!(csv.lines().count() as u64, 1 + PAYMENTS);
    let of_csv: u64 = csv
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(2)?.parse::<u64>().ok())
        .sum();
    assert_eq!(of_csv, sum);
    Ok(())
}

fn by_addr(invoice: &AddInvoiceResponse) -> Option<InvoiceReference> {
    let name = Some(Name::PaymentAddr(invoice.payment_addr.clone()));
    Some(InvoiceReference { name })
}

/// Reads all payments to the invoice, page by page.
async fn ledger(carol: &Api, invoice: &AddInvoiceResponse) -> Result<Vec<InvoicePayment>> {
    let mut found = Vec::new();
    let mut request = ListInvoicePaymentsRequest {
        invoice: by_addr(invoice),
        num_max_payments: 64,
        ..Default::default()
    };
    loop {
        let mut service = carol.static_invoices.clone();
        let page = service.list_invoice_payments(request.clone()).await?;
        let page = page.into_inner();
        if page.payments.is_empty() {
            return Ok(found);
        }
        request.index_offset = page.last_index_offset;
        found.extend(page.payments);
    }
}

async fn totals(carol: &Api, invoice: &AddInvoiceResponse) -> Result<Vec<PeriodTotal>> {
    let request = InvoiceTotalsRequest {
        invoice: by_addr(invoice),
        period: lnd_api::proto::ampdrpc::invoice_totals_request::Period::Day.into(),
        ..Default::default()
    };
    let mut service = carol.static_invoices.clone();
    Ok(service.invoice_totals(request).await?.into_inner().totals)
}

async fn export(carol: &Api, invoice: &AddInvoiceResponse) -> Result<String> {
    let request = ExportInvoicePaymentsRequest {
        invoice: by_addr(invoice),
        ..Default::default()
    };
    let mut service = carol.static_invoices.clone();
    let chunks = service.export_invoice_payments(request).await?.into_inner();
    let chunks: Vec<_> = chunks.map_ok(|chunk| chunk.csv).try_collect().await?;
    Ok(String::from_utf8(chunks.concat())?)
}

/// Checks ampcli's output for every identifier of the invoice: payments, table, totals and file.
fn ampcli_shows_it(network: &Network, invoice: &AddInvoiceResponse, paid: &Books) -> Result<()> {
    let hex = |bytes: &[u8]| bytes.to_lower_hex_string();
    let set_id = paid.keys().next().context("no payment")?;
    for name in [&invoice.r_hash, &invoice.payment_addr, set_id] {
        let text = ampcli(
            network,
            &["invoicepayments", &hex(name), "--max_payments=3"],
        )?;
        let page: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(page["last_index_offset"], PAYMENTS.to_string());
        assert_eq!(page["payments"].as_array().map(Vec::len), Some(3));
    }
    let request = invoice.payment_request.as_str();
    let table = ampcli(network, &["invoicepayments", request, "--table"])?;
    assert_eq!(table.matches("| payment ").count(), 100);
    let totals = ampcli(network, &["invoicepayments", request, "--totals", "all"])?;
    let totals: serde_json::Value = serde_json::from_str(&totals)?;
    let sum: u64 = paid.values().sum();
    assert_eq!(totals["totals"][0]["amt_msat"], sum.to_string());
    let file = network["carol"].dir().join("ledger.csv");
    let path = file.to_str().context("the path is not UTF-8")?;
    ampcli(network, &["invoicepayments", request, "--csv", path])?;
    assert_eq!(
        std::fs::read_to_string(file)?.lines().count() as u64,
        1 + PAYMENTS
    );
    Ok(())
}

/// Runs ampcli with Carol's node and returns its output.
fn ampcli(network: &Network, args: &[&str]) -> Result<String> {
    let carol = &network["carol"];
    let output = Command::new(&network.binaries().ampcli)
        .args(["--network=regtest", "--rpcserver", carol.rpc_address()?])
        .arg("--datadir")
        .arg(carol.dir())
        .args(args)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ampcli {args:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn balances(network: &Network) -> Result<BTreeMap<&'static str, u64>> {
    let mut balances = BTreeMap::new();
    for name in ["alice", "bob", "carol"] {
        balances.insert(name, network[name].api()?.local_msat().await?);
    }
    Ok(balances)
}

/// Channels are direct, so there are no fees: payers' losses, Carol's gain and her list must agree.
async fn the_channels_agree(
    network: &Network,
    before: &BTreeMap<&'static str, u64>,
    paid: &Books,
) -> Result<()> {
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    let after = balances(network).await?;
    let sum: u64 = paid.values().sum();
    assert_eq!(after["carol"] - before["carol"], sum);
    let of_payer = |first: u64| (first..PAYMENTS).step_by(2).map(amount_msat).sum::<u64>();
    assert_eq!(before["alice"] - after["alice"], of_payer(0));
    assert_eq!(before["bob"] - after["bob"], of_payer(1));
    Ok(())
}

async fn disabled_invoice_cannot_be_paid(
    network: &Network,
    invoice: &AddInvoiceResponse,
) -> Result<()> {
    let mut service = network["carol"].api()?.static_invoices;
    let reference = by_addr(invoice).unwrap_or_default();
    service.disable_invoice(reference.clone()).await?;
    let refused = network.pay_routed("alice", &request(invoice, 1)?).await?;
    assert_eq!(refused.status(), PaymentStatus::Failed);
    service.enable_invoice(reference).await?;
    network.pay("alice", &request(invoice, 1)?).await?;
    let unknown = InvoiceReference {
        name: Some(Name::PaymentAddr(vec![1; 32])),
    };
    let refusal = service.disable_invoice(unknown).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert_eq!(
        ledger(&network["carol"].api()?, invoice).await?.len() as u64,
        PAYMENTS + 1
    );
    Ok(())
}
