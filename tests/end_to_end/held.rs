//! Two payments from Alice held by Bob: one is finally settled, the other canceled.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::invoicesrpc::{AddHoldInvoiceRequest, CancelInvoiceMsg, SettleInvoiceMsg};
use lnd_api::proto::lnrpc::PaymentHash;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::bolt11;
use regtest::network::Network;
use regtest::wait::wait_for;

use crate::SETTLE_LIMIT;

const LIMIT: Duration = Duration::from_secs(60);
/// Amount of each payment.
const AMOUNT_MSAT: u64 = 40_000_000;

/// The preimages of both payments.
pub(crate) struct Held {
    settled: [u8; 32],
    canceled: [u8; 32],
}

impl Held {
    /// Lets Alice pay both invoices and waits until Bob holds the payments.
    pub(crate) async fn start(network: &Network) -> Result<Self> {
        let held = Self {
            settled: new_preimage(),
            canceled: new_preimage(),
        };
        for preimage in [held.settled, held.canceled] {
            hold(network, preimage).await?;
        }
        Ok(held)
    }

    /// Lets Bob settle one and cancel the other, and waits until Alice has these results and no HTLC is
    /// left.
    pub(crate) async fn resolve(self, network: &Network) -> Result<()> {
        let bob = network["bob"].api()?;
        let settle = SettleInvoiceMsg {
            preimage: self.settled.to_vec(),
        };
        bob.invoices.clone().settle_invoice(settle).await?;
        let cancel = CancelInvoiceMsg {
            payment_hash: hash(self.canceled),
        };
        bob.invoices.clone().cancel_invoice(cancel).await?;
        self.wait_ended(network, PaymentStatus::Succeeded).await
    }

    /// Waits until one has this status, the other has failed, and no HTLC is left.
    pub(crate) async fn wait_ended(&self, network: &Network, settled: PaymentStatus) -> Result<()> {
        wait_payment(network, self.settled, settled).await?;
        wait_payment(network, self.canceled, PaymentStatus::Failed).await?;
        network.wait_settled(SETTLE_LIMIT).await
    }
}

async fn hold(network: &Network, preimage: [u8; 32]) -> Result<()> {
    let bob = network["bob"].api()?;
    let request = AddHoldInvoiceRequest {
        hash: hash(preimage),
        value_msat: i64::try_from(AMOUNT_MSAT)?,
        ..Default::default()
    };
    let added = bob.invoices.clone().add_hold_invoice(request).await?;
    let request = bolt11(&added.into_inner().payment_request);
    let alice = network["alice"].api()?;
    // The status is polled separately: the node that serves this call may be killed.
    tokio::spawn(async move { alice.pay(request).await });
    wait_for("Bob to hold the payment", LIMIT, async || {
        let request = PaymentHash {
            r_hash: hash(preimage),
            ..Default::default()
        };
        let found = bob.lightning.clone().lookup_invoice(request).await?;
        let state = found.into_inner().state();
        ensure!(state == InvoiceState::Accepted, "it is {state:?}");
        Ok(())
    })
    .await
}

async fn wait_payment(network: &Network, preimage: [u8; 32], end: PaymentStatus) -> Result<()> {
    let hash = hash(preimage).to_lower_hex_string();
    wait_for("the payment to complete", LIMIT, async || {
        let payments = network["alice"].api()?.payments(0).await?.payments;
        let mut payments = payments.iter();
        let payment = payments.find(|payment| payment.payment_hash == hash);
        let status = payment.context("the payment does not exist")?.status();
        ensure!(status == end, "the status is {status:?}");
        Ok(())
    })
    .await
}

fn hash(preimage: [u8; 32]) -> Vec<u8> {
    sha256::Hash::hash(&preimage).to_byte_array().to_vec()
}

/// A preimage that is unique within this process.
fn new_preimage() -> [u8; 32] {
    static LAST: AtomicU8 = AtomicU8::new(0);
    [LAST.fetch_add(1, Ordering::Relaxed); 32]
}
