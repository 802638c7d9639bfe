//! Adds up what the nodes report as paid and received, and compares the totals.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Invoice, Payment};

use super::{ledgers, sets};
use crate::network::Network;
use crate::node::Node;
use crate::wait::wait_for;

/// Totals up to the end of a round, when all payments have completed, and the list positions reached.
#[derive(Debug, Default)]
pub struct Books {
    pub succeeded: u64,
    pub failed: u64,
    /// Amounts in msat that senders paid, by the receiver's public key.
    sent: BTreeMap<String, u64>,
    /// Amounts in msat that were received, by the receiver's public key.
    received: BTreeMap<String, u64>,
    /// Last payment_index counted, by node name.
    payment_offset: BTreeMap<String, u64>,
    /// Last add_index counted, by node name.
    invoice_offset: BTreeMap<String, u64>,
}

impl Books {
    /// Waits until no node has a payment in flight.
    pub async fn wait_ended(&self, network: &Network, limit: Duration) -> Result<()> {
        for node in network.nodes().filter(|node| !node.is_peer()) {
            let offset = self.payment_offset.get(node.name()).copied().unwrap_or(0);
            wait_for(
                &format!("{}'s payments to complete", node.name()),
                limit,
                async || {
                    let payments = node.api()?.payments(offset).await?.payments;
                    let under_way = payments
                        .iter()
                        .filter(|payment| !has_ended(payment))
                        .count();
                    ensure!(under_way == 0, "{under_way} payments are in flight");
                    Ok(())
                },
            )
            .await?;
        }
        Ok(())
    }

    /// Adds new payments and invoices, and compares the totals. A static invoice is counted once, when
    /// it is new, and must not be paid afterwards.
    pub async fn update(&mut self, network: &Network) -> Result<()> {
        let (mut payments, mut invoices) = (Vec::new(), Vec::new());
        for node in network.nodes().filter(|node| !node.is_peer()) {
            payments.extend(self.add_payments(node).await?);
        }
        for node in network.nodes().filter(|node| !node.is_peer()) {
            let added = self.add_invoices(node).await?;
            ledgers::compare(&node.api()?, &added, &payments).await?;
            invoices.extend(added);
        }
        sets::compare(&payments, &invoices)?;
        self.compare()
    }

    /// Counts everything again from the beginning: completed payments must not have changed.
    pub async fn check_all(&self, network: &Network) -> Result<()> {
        let mut again = Books::default();
        again.update(network).await?;
        ensure!(
            again.sent == self.sent && again.received == self.received,
            "completed payments have changed: the totals are {again:?} instead of {self:?}"
        );
        Ok(())
    }

    async fn add_payments(&mut self, node: &Node) -> Result<Vec<Payment>> {
        let offset = self
            .payment_offset
            .entry(node.name().to_owned())
            .or_default();
        let payments = node.api()?.payments(*offset).await?.payments;
        for payment in &payments {
            *offset = payment.payment_index.max(*offset);
            match payment.status() {
                PaymentStatus::Succeeded => {
                    self.succeeded += 1;
                    let paid = u64::try_from(payment.value_msat)?;
                    *self.sent.entry(receiver(payment)?).or_default() += paid;
                }
                PaymentStatus::Failed => self.failed += 1,
                other => bail!("{}: {} is {other:?}", node.name(), payment.payment_hash),
            }
        }
        Ok(payments)
    }

    async fn add_invoices(&mut self, node: &Node) -> Result<Vec<Invoice>> {
        let offset = self
            .invoice_offset
            .entry(node.name().to_owned())
            .or_default();
        let invoices = node.api()?.invoices(*offset).await?.invoices;
        for invoice in &invoices {
            *offset = invoice.add_index.max(*offset);
            *self.received.entry(node.key().to_owned()).or_default() += paid_msat(invoice)?;
        }
        Ok(invoices)
    }

    fn compare(&self) -> Result<()> {
        for (key, sent) in &self.sent {
            let received = self.received.get(key).copied().unwrap_or(0);
            ensure!(
                *sent == received,
                "{key} was paid {sent} msat but received {received} msat"
            );
        }
        Ok(())
    }
}

fn has_ended(payment: &Payment) -> bool {
    matches!(
        payment.status(),
        PaymentStatus::Succeeded | PaymentStatus::Failed
    )
}

/// The last hop of any settled shard.
fn receiver(payment: &Payment) -> Result<String> {
    let arrived = payment
        .htlcs
        .iter()
        .find(|htlc| htlc.status() == HtlcStatus::Succeeded);
    let route = arrived.and_then(|htlc| htlc.route.as_ref());
    let last = route.and_then(|route| route.hops.last());
    let key = last.map(|hop| hop.pub_key.clone());
    key.with_context(|| format!("{} succeeded without a settled shard", payment.payment_hash))
}

fn paid_msat(invoice: &Invoice) -> Result<u64> {
    match invoice.state() {
        InvoiceState::Settled => Ok(u64::try_from(invoice.amt_paid_msat)?),
        InvoiceState::Accepted => bail!("an invoice still holds HTLCs: {invoice:?}"),
        InvoiceState::Open | InvoiceState::Canceled => Ok(0),
    }
}
