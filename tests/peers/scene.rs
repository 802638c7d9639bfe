//! Networks of ampd with one node of another program, and payments with it.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use lightning_invoice::Bolt11Invoice;
use lnd_api::proto::invoicesrpc::{
    AddHoldInvoiceRequest, CancelInvoiceMsg, SettleInvoiceMsg, SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11};
use regtest::manual_amp;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{self, Ampd};
use regtest::peer::{Paid, PeerApi};
use regtest::wait::wait_for;
use tokio::time::timeout;

use crate::{SETTLE_LIMIT, binaries};

pub(crate) const ALICE: &str = "alice";
pub(crate) const BOB: &str = "bob";
/// The node that is not ampd.
pub(crate) const PEER: &str = "peer";
pub(crate) const CAPACITY_SAT: u64 = 4_000_000;
const SMALL_MSAT: u64 = 1_000_000;

/// Alice and the peer, with one channel opened by each; each owns half of both.
pub(crate) async fn neighbours(software: Software) -> Result<Network> {
    let network = Network::mixed(binaries(), &[(ALICE, Ampd), (PEER, software)]).await?;
    network
        .open(&[half(ALICE, PEER), half(PEER, ALICE)])
        .await?;
    Ok(network)
}

/// The peer between Alice and Bob, with two channels to each.
pub(crate) async fn in_the_middle(software: Software) -> Result<Network> {
    let nodes = [(ALICE, Ampd), (PEER, software), (BOB, Ampd)];
    let network = Network::mixed(binaries(), &nodes).await?;
    let plans = [
        half(ALICE, PEER),
        half(PEER, BOB),
        half(PEER, ALICE),
        half(BOB, PEER),
    ];
    network.open(&plans).await?;
    // A small payment in each direction waits for gossip.
    for (payer, payee) in [(ALICE, BOB), (BOB, ALICE)] {
        let request = amp_to(network[payee].key(), SMALL_MSAT)?;
        pays(&network, payer, &request).await?;
    }
    Ok(network)
}

/// A public channel with half of the capacity on each side.
pub(crate) fn half<'a>(from: &'a str, to: &'a str) -> ChannelPlan<'a> {
    ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2)
}

/// The peer's own interface.
pub(crate) fn peer(network: &Network) -> Result<PeerApi> {
    network[PEER].peer_api()
}

/// Checks that nothing is in flight, and that both ends of each channel report the same balances.
pub(crate) async fn all_is_settled(network: &Network) -> Result<()> {
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await.map(drop)
}

/// An ampd pays; the payment must succeed.
pub(crate) async fn pays(
    network: &Network,
    payer: &str,
    request: &SendPaymentRequest,
) -> Result<()> {
    network.pay(payer, request).await?;
    network.wait_settled(SETTLE_LIMIT).await
}

/// The peer pays an invoice of an ampd once it knows a route; the payment must succeed with the
/// preimage of the payment hash.
pub(crate) async fn peer_pays(network: &Network, invoice: &str, msat: Option<u64>) -> Result<()> {
    let hash = Bolt11Invoice::from_str(invoice)
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .payment_hash()
        .to_string();
    let preimage = wait_for("the peer to pay", SETTLE_LIMIT, async || {
        succeeded(peer(network)?.pay(invoice, msat).await?)
    });
    let preimage = regtest::api::bytes(&preimage.await?)?;
    let opened = sha256::Hash::hash(&preimage);
    ensure!(
        opened.to_string() == hash,
        "the preimage does not match {hash}"
    );
    network.wait_settled(SETTLE_LIMIT).await
}

/// The preimage of a successful payment.
pub(crate) fn succeeded(paid: Paid) -> Result<String> {
    match paid {
        Paid::Succeeded(preimage) => Ok(preimage),
        Paid::Failed(why) => bail!("the peer's payment failed: {why}"),
    }
}

/// The peer's error for a payment that must fail.
pub(crate) fn failed(paid: Paid) -> Result<String> {
    match paid {
        Paid::Failed(why) => Ok(why),
        Paid::Succeeded(_) => bail!("the payment succeeded"),
    }
}

/// The payment hash of an invoice in hex.
pub(crate) fn hash_of(invoice: &str) -> Result<String> {
    let invoice = Bolt11Invoice::from_str(invoice).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(invoice.payment_hash().to_string())
}

/// Waits until the peer's invoice with this hash is paid, and checks the amount.
pub(crate) async fn peer_received(network: &Network, hash: &str, msat: u64) -> Result<()> {
    let received = wait_for("the peer's invoice to be paid", SETTLE_LIMIT, async || {
        let received = peer(network)?.received(hash).await?;
        received.context("the invoice is not paid")
    });
    let received = received.await?;
    ensure!(received == msat, "it received {received} msat");
    Ok(())
}

/// A hold invoice of an ampd.
#[derive(Debug)]
pub(crate) struct Hold {
    pub preimage: [u8; 32],
    pub hash: Vec<u8>,
    pub payment_request: String,
}

impl Hold {
    /// Creates a hold invoice over `msat`.
    pub(crate) async fn new(network: &Network, payee: &str, msat: u64) -> Result<Self> {
        let preimage = manual_amp::random();
        let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
        let invoice = AddHoldInvoiceRequest {
            hash: hash.clone(),
            value_msat: i64::try_from(msat)?,
            ..Default::default()
        };
        let mut invoices = network[payee].api()?.invoices;
        let added = invoices.add_hold_invoice(invoice).await?.into_inner();
        Ok(Self {
            preimage,
            hash,
            payment_request: added.payment_request,
        })
    }

    /// Waits until its payee holds the whole amount.
    pub(crate) async fn is_accepted(&self, network: &Network, payee: &str) -> Result<()> {
        let follow = SubscribeSingleInvoiceRequest {
            r_hash: self.hash.clone(),
        };
        let mut invoices = network[payee].api()?.invoices;
        let mut changes = invoices
            .subscribe_single_invoice(follow)
            .await?
            .into_inner();
        let accepted = async {
            while let Some(invoice) = changes.message().await? {
                if invoice.state() == InvoiceState::Accepted {
                    return Ok(());
                }
            }
            bail!("the stream has ended")
        };
        timeout(SETTLE_LIMIT, accepted)
            .await
            .with_context(|| format!("{} is not accepted", self.hash.to_lower_hex_string()))?
    }

    pub(crate) async fn settle(&self, network: &Network, payee: &str) -> Result<()> {
        let message = SettleInvoiceMsg {
            preimage: self.preimage.to_vec(),
        };
        let mut invoices = network[payee].api()?.invoices;
        invoices.settle_invoice(message).await?;
        Ok(())
    }

    pub(crate) async fn cancel(&self, network: &Network, payee: &str) -> Result<()> {
        let message = CancelInvoiceMsg {
            payment_hash: self.hash.clone(),
        };
        let mut invoices = network[payee].api()?.invoices;
        invoices.cancel_invoice(message).await?;
        Ok(())
    }

    /// The request that pays it.
    pub(crate) fn request(&self) -> SendPaymentRequest {
        bolt11(&self.payment_request)
    }
}

/// Starts a payment by the peer in the background.
pub(crate) fn spawn_peer_payment(
    network: &Network,
    hold: &Hold,
) -> Result<tokio::task::JoinHandle<Result<Paid>>> {
    let (api, invoice) = (peer(network)?, hold.payment_request.clone());
    Ok(tokio::spawn(async move { api.pay(&invoice, None).await }))
}
