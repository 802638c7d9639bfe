//! The kinds of payments, and the requests that make them.

use lnd_api::proto::lnrpc::Invoice;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use anyhow::{Context, Result};
use bitcoin::hashes::{Hash, sha256};
use clap::ValueEnum;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tonic::Code;

use super::Bench;
use crate::api::{amp_to, bolt11};

/// Above the dust limit of 354 sat: each HTLC is a real output of the commitment transaction.
pub const SHARD_MSAT: u64 = 1_000_000;
/// Of a payment of the kind that is split.
pub const SHARDS: usize = 4;
/// The record in which a keysend payment carries its preimage.
const KEYSEND_RECORD: u64 = 5_482_373_484;
/// Invoices that are made at the same time, before the clock starts.
const AT_A_TIME: usize = 64;

/// How a payment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// To a BOLT 11 invoice of its own
    Bolt11,
    /// To a public key, the preimage in the payment
    Keysend,
    /// To a public key
    AmpKey,
    /// All to one static invoice
    AmpInvoice,
    /// To a public key, in four shards
    AmpShards,
}

/// In the order of the table.
pub const ALL: [Kind; 5] = [
    Kind::Bolt11,
    Kind::Keysend,
    Kind::AmpKey,
    Kind::AmpInvoice,
    Kind::AmpShards,
];

impl Kind {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bolt11 => "BOLT 11 invoice",
            Self::Keysend => "keysend",
            Self::AmpKey => "AMP to a key",
            Self::AmpInvoice => "AMP, one static invoice",
            Self::AmpShards => "AMP in four shards",
        }
    }

    /// HTLCs of one payment.
    pub fn shards(self) -> usize {
        match self {
            Self::AmpShards => SHARDS,
            _ => 1,
        }
    }
}

/// What to ask the payer for, payment by payment.
#[derive(Debug)]
pub enum Requests {
    /// Each payment is another one.
    Each(Vec<SendPaymentRequest>),
    /// All are the same.
    Same(Box<SendPaymentRequest>),
}

impl Requests {
    /// The request of the payment with this number; `None` if there are no more.
    pub fn get(&self, number: usize) -> Option<SendPaymentRequest> {
        match self {
            Self::Each(requests) => requests.get(number).cloned(),
            Self::Same(request) => Some((**request).clone()),
        }
    }
}

/// Makes the requests for `count` payments, and the invoices that they pay.
pub async fn requests(bench: &Bench, kind: Kind, count: usize) -> Result<Requests> {
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

/// Why the payer cannot send this kind, in its own words; `None` if it can.
pub async fn not_supported(bench: &Bench, kind: Kind) -> Result<Option<String>> {
    let request = requests(bench, kind, 1)
        .await?
        .get(0)
        .context("no request")?;
    match bench.payer.pay(request.clone()).await {
        Err(answer) if answer.code() == Code::Unimplemented => {
            Ok(Some(answer.message().to_owned()))
        }
        // Also tells the payer's router the way, if this is the first payment.
        _ => bench
            .network
            .pay("payer", &request_again(bench, kind).await?)
            .await
            .map(|_| None),
    }
}

/// A BOLT 11 invoice is paid once.
async fn request_again(bench: &Bench, kind: Kind) -> Result<SendPaymentRequest> {
    requests(bench, kind, 1).await?.get(0).context("no request")
}

/// An invoice without an amount, to be paid again and again.
pub async fn static_invoice(bench: &Bench) -> Result<String> {
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

/// One payment to it.
pub fn to_static_invoice(invoice: &str) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        amt_msat: i64::try_from(SHARD_MSAT)?,
        // lnd wants to be told.
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
        .buffer_unordered(AT_A_TIME)
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
