//! A payer, a payee and the nodes between them, with checks of the balances after payments.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{AddInvoiceResponse, Invoice, Payment, PaymentHash, Route};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{Api, bolt11, bytes};
use regtest::network::{ChannelPlan, Network};
use regtest::node::{Node, Software};
use regtest::wait::wait_for;

use crate::{SETTLE_LIMIT, binaries};

pub(crate) const CAPACITY_SAT: u64 = 4_000_000;

/// Two ends of a network. The same network is used in both directions.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub network: &'a Network,
    pub payer: &'a str,
    /// The nodes after the payer, the payee last.
    pub hops: &'a [&'a str],
}

/// Nodes in a row, with a channel between neighbours that can be paid over in both directions.
pub(crate) async fn row(nodes: &[(&str, Software)]) -> Result<Network> {
    let network = Network::mixed(binaries(), nodes).await?;
    let plans: Vec<_> = nodes
        .windows(2)
        .map(|pair| ChannelPlan::new(pair[0].0, pair[1].0, CAPACITY_SAT).push(CAPACITY_SAT / 2))
        .collect();
    network.open(&plans).await?;
    Ok(network)
}

/// A node that is not started yet.
pub(crate) fn prepare(network: &Network, name: &str, software: Software) -> Result<Node> {
    match software {
        Software::Ampd => network.prepare(name),
        _ => network.prepare_lnd(name),
    }
}

impl<'a> Scene<'a> {
    pub(crate) fn new(network: &'a Network, payer: &'a str, hops: &'a [&'a str]) -> Self {
        Self {
            network,
            payer,
            hops,
        }
    }

    pub(crate) fn payer(&self) -> Result<Api> {
        self.network[self.payer].api()
    }

    pub(crate) fn payee(&self) -> Result<Api> {
        self.network[self.payee_name()].api()
    }

    pub(crate) fn payee_name(&self) -> &'a str {
        self.hops.last().expect("a route has at least one hop")
    }

    pub(crate) fn payee_key(&self) -> &'a str {
        self.network[self.payee_name()].key()
    }

    pub(crate) fn payee_is(&self, software: Software) -> bool {
        self.network[self.payee_name()].software() == software
    }

    /// Pays; the payment must succeed and arrive in full.
    pub(crate) async fn pays(&self, request: &SendPaymentRequest) -> Result<Payment> {
        let (payer, payee) = (self.payer()?, self.payee()?);
        let before = (payer.local_msat().await?, payee.local_msat().await?);
        let payment = self.network.pay(self.payer, request).await?;
        self.network.wait_settled(SETTLE_LIMIT).await?;
        let (msat, fee) = (
            u64::try_from(payment.value_msat)?,
            u64::try_from(payment.fee_msat)?,
        );
        assert_eq!(payee.local_msat().await?, before.1 + msat);
        assert_eq!(payer.local_msat().await?, before.0 - msat - fee);
        Ok(payment)
    }

    /// Pays; the payment must fail and leave all balances unchanged.
    pub(crate) async fn payment_fails(&self, request: &SendPaymentRequest) -> Result<Payment> {
        let (payer, payee) = (self.payer()?, self.payee()?);
        let before = (payer.local_msat().await?, payee.local_msat().await?);
        let payment = payer.pay(request.clone()).await?;
        ensure!(
            payment.status() == PaymentStatus::Failed,
            "the payment did not fail: {payment:?}"
        );
        self.network.wait_settled(SETTLE_LIMIT).await?;
        let after = (payer.local_msat().await?, payee.local_msat().await?);
        assert_eq!(after, before);
        Ok(payment)
    }

    /// The route as built by the payer.
    pub(crate) async fn route(&self, msat: i64) -> Result<Route> {
        let keys = self
            .hops
            .iter()
            .map(|name| bytes(self.network[*name].key()));
        let keys: Vec<_> = keys.collect::<Result<_>>()?;
        self.payer()?.build_route(&keys, msat).await
    }

    /// Like [`Scene::route`], once the payer knows the channels.
    pub(crate) async fn known_route(&self, msat: i64) -> Result<Route> {
        wait_for("a route", SETTLE_LIMIT, async || self.route(msat).await).await
    }

    /// A static invoice of the payee; 0 msat means any amount.
    pub(crate) async fn amp_invoice(&self, msat: i64) -> Result<AddInvoiceResponse> {
        let invoice = Invoice {
            is_amp: true,
            value_msat: msat,
            ..Default::default()
        };
        self.add_invoice(invoice).await
    }

    pub(crate) async fn add_invoice(&self, invoice: Invoice) -> Result<AddInvoiceResponse> {
        let added = self.payee()?.lightning.add_invoice(invoice).await?;
        Ok(added.into_inner())
    }

    /// The invoice as reported by the payee.
    pub(crate) async fn lookup(&self, invoice: &AddInvoiceResponse) -> Result<Invoice> {
        let hash = PaymentHash {
            r_hash: invoice.r_hash.clone(),
            ..Default::default()
        };
        let found = self.payee()?.lightning.lookup_invoice(hash).await?;
        Ok(found.into_inner())
    }

    /// The payee's newest invoice.
    pub(crate) async fn newest_invoice(&self) -> Result<Invoice> {
        let mut invoices = self.payee()?.invoices(0).await?.invoices;
        invoices.pop().context("the payee has no invoice")
    }
}

/// A request that pays a static invoice; 0 msat means the invoice's own amount.
pub(crate) fn amp(invoice: &AddInvoiceResponse, msat: i64) -> SendPaymentRequest {
    SendPaymentRequest {
        amt_msat: msat,
        // Required by lnd.
        amp: true,
        ..bolt11(&invoice.payment_request)
    }
}
