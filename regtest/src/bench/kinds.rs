//! The kinds of payments and the requests that send them.

use anyhow::{Context, Result};
use bitcoin::hashes::{Hash, sha256};
use clap::ValueEnum;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use lnd_api::proto::lnrpc::Invoice;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use serde::Serialize;
use tonic::Code;

use super::Bench;
use crate::api::{amp_to, bolt11};

/// Above the dust limit of 354 sat, so each HTLC is an output of the commitment transaction.
pub(super) const SHARD_MSAT: u64 = 1_000_000;
/// Shards of a split payment.
pub(super) const SHARDS: usize = 4;
/// Maximum number of HTLCs that a channel carries in one direction (BOLT 2).
pub(super) const MAX_HTLCS: usize = 483;
/// An incomplete set holds all shards but the last; by default ampd holds at most 241 HTLCs of
/// incomplete sets per channel.
const MAX_SETS: usize = 241 / (SHARDS - 1);
/// The TLV record that carries the preimage of a keysend payment.
const KEYSEND_RECORD: u64 = 5_482_373_484;
/// Invoices created concurrently before measuring starts.
const CONCURRENT_INVOICES: usize = 64;

/// The kind of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Each to its own BOLT 11 invoice
    Bolt11,
    /// To a public key, with the preimage in the onion
    Keysend,
    /// AMP to a public key
    AmpKey,
    /// AMP, all to one static invoice
    AmpInvoice,
    /// AMP to a public key, in four shards
    AmpShards,
}

/// In the order of the table.
pub(super) const ALL: [Kind; 5] = [
    Kind::Bolt11,
    Kind::Keysend,
    Kind::AmpKey,
    Kind::AmpInvoice,
    Kind::AmpShards,
];

impl Kind {
    /// Display name.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Bolt11 => "BOLT 11 invoice",
            Self::Keysend => "keysend",
            Self::AmpKey => "AMP to a key",
            Self::AmpInvoice => "AMP, one static invoice",
            Self::AmpShards => "AMP in four shards",
        }
    }

    /// Number of HTLCs of one payment.
    pub(super) fn shards(self) -> usize {
        match self {
            Self::AmpShards => SHARDS,
            _ => 1,
        }
    }

    /// The largest number of payments in flight.
    pub(super) fn max_concurrency(self) -> usize {
        match self {
            Self::AmpShards => MAX_SETS,
            _ => MAX_HTLCS,
        }
    }
}

/// The payment requests to send.
#[derive(Debug)]
pub(super) enum Requests {
    /// A different request for each payment.
    Each(Vec<SendPaymentRequest>),
    /// The same request for all payments.
    Same(Box<SendPaymentRequest>),
}

impl Requests {
    /// Returns the request of payment `number`, or `None` if there are no more.
    pub(super) fn get(&self, number: usize) -> Option<SendPaymentRequest> {
        match self {
            Self::Each(requests) => requests.get(number).cloned(),
            Self::Same(request) => Some((**request).clone()),
        }
    }
}

/// Creates the requests for `count` payments and the invoices they pay.
pub(super) async fn requests(bench: &Bench, kind: Kind, count: usize) -> Result<Requests> {
    match kind {
        Kind::Bolt11 => invoices(bench, count).await.map(Requests::Each),
        Kind::Keysend => Ok(Requests::Each(
            (0..count).map(|_| keysend(bench)).collect::<Result<_>>()?,
        )),
        Kind::AmpKey => same(amp_to(&bench.payee_key, SHARD_MSAT)?),
        Kind::AmpInvoice => same(to_static_invoice(&static_invoice(bench).await?)?),
        Kind::AmpShards => same(SendPaymentRequest {
            max_parts: u32::try_from(SHARDS)?,
            max_shard_size_msat: SHARD_MSAT,
            ..amp_to(&bench.payee_key, SHARD_MSAT * SHARDS as u64)?
        }),
    }
}

/// Returns the payer's error if it cannot send this kind, `None` if it can.
pub(super) async fn not_supported(bench: &Bench, kind: Kind) -> Result<Option<String>> {
    let request = requests(bench, kind, 1)
        .await?
        .get(0)
        .context("no request")?;
    match bench.payer.pay(request.clone()).await {
        Err(answer) if answer.code() == Code::Unimplemented => {
            Ok(Some(answer.message().to_owned()))
        }
        // If this is the first payment, it also lets the payer's router find the route.
        _ => bench
            .network
            .pay("payer", &request_again(bench, kind).await?)
            .await
            .map(|_| None),
    }
}

/// A new request; a BOLT 11 invoice can be paid only once.
async fn request_again(bench: &Bench, kind: Kind) -> Result<SendPaymentRequest> {
    requests(bench, kind, 1).await?.get(0).context("no request")
}

/// Creates an invoice without an amount that can be paid repeatedly.
pub(super) async fn static_invoice(bench: &Bench) -> Result<String> {
    let invoice = Invoice {
        is_amp: true,
        ..Default::default()
    };
    let mut lightning = bench.payee.lightning.clone();
    Ok(lightning
        .add_invoice(invoice)
        .await?
        .into_inner()
        .payment_request)
}

/// A request for one payment to the static invoice.
pub(super) fn to_static_invoice(invoice: &str) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        amt_msat: i64::try_from(SHARD_MSAT)?,
        // Required by lnd.
        amp: true,
        ..bolt11(invoice)
    })
}

async fn invoices(bench: &Bench, count: usize) -> Result<Vec<SendPaymentRequest>> {
    stream::iter(0..count)
        .map(|_| async {
            let invoice = bench.payee.invoice(SHARD_MSAT).await?;
            anyhow::Ok(bolt11(&invoice.payment_request))
        })
        .buffer_unordered(CONCURRENT_INVOICES)
        .try_collect()
        .await
}

fn keysend(bench: &Bench) -> Result<SendPaymentRequest> {
    let preimage: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let hash = sha256::Hash::hash(&preimage);
    Ok(SendPaymentRequest {
        amp: false,
        payment_hash: hash.to_byte_array().to_vec(),
        dest_custom_records: [(KEYSEND_RECORD, preimage.to_vec())].into(),
        ..amp_to(&bench.payee_key, SHARD_MSAT)?
    })
}

fn same(request: SendPaymentRequest) -> Result<Requests> {
    Ok(Requests::Same(Box::new(request)))
}
