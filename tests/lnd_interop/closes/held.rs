//! Half of a set that its receiver holds on a given channel.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::invoicesrpc::CancelInvoiceMsg;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{
    AddInvoiceResponse, Channel, HtlcAttempt, InvoiceHtlcState, PaymentHash, Route,
};
use lnd_api::proto::routerrpc::BuildRouteRequest;
use regtest::api::{Api, bytes};
use regtest::manual_amp::Set;
use regtest::network::Network;
use regtest::wait::wait_for;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

use super::{LIMIT, LND, payee_of};

/// Far more than the fees of all transactions of a close.
pub(super) const SHARD_SAT: u64 = 500_000;
const SHARD_MSAT: i64 = 500_000_000;
/// Time for a close and its blocks.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);

pub(super) struct Held<'a> {
    network: &'a Network,
    payer: &'a str,
    payee: &'a str,
    invoice: AddInvoiceResponse,
    set: Set,
    first: JoinHandle<Result<HtlcAttempt, Status>>,
}

impl<'a> Held<'a> {
    /// Sends the first of two shards over this channel, and waits until the payee holds it.
    pub(super) async fn start(network: &'a Network, payer: &'a str, point: &str) -> Result<Self> {
        let payee = payee_of(payer);
        let invoice = network[payee].api()?.static_invoice().await?;
        let address = invoice.payment_addr.as_slice().try_into();
        let set = Set::new(address?, 2 * SHARD_MSAT, &[0, 1])?;
        let request = set.request(0, known_route(network, payer, point).await?)?;
        let api = network[payer].api()?;
        let held = Self {
            network,
            payer,
            payee,
            invoice,
            set,
            first: tokio::spawn(async move { api.send_to_route(request).await }),
        };
        wait_for("half of the set to be held", LIMIT, async || {
            held.is_held().await
        })
        .await?;
        Ok(held)
    }

    async fn is_held(&self) -> Result<()> {
        let hash = PaymentHash {
            r_hash: self.invoice.r_hash.clone(),
            ..Default::default()
        };
        let mut payee = self.network[self.payee].api()?.lightning;
        let invoice = payee.lookup_invoice(hash).await?.into_inner();
        let states: Vec<_> = invoice.htlcs.iter().map(|htlc| htlc.state()).collect();
        ensure!(
            states == [InvoiceHtlcState::Accepted],
            "its HTLCs are {states:?}"
        );
        Ok(())
    }

    /// Sends the other half over another channel: both must settle. Whether lnd as payer learns the result of
    /// the first is another question: see [`Held::forgets`].
    pub(super) async fn complete(self, point: &str) -> Result<()> {
        let forgets = self.forgets();
        let end = self.complete_elsewhere(point).await?;
        if forgets { Ok(()) } else { end.arrives().await }
    }

    /// If the last HTLC of a channel is resolved while it closes, lnd may lose the result of that HTLC
    /// (docs/lnd-compatibility.md), so only the balances can be checked.
    fn forgets(&self) -> bool {
        self.payer == LND
    }

    /// Sends the other half over another channel, where it settles; the first half is still in flight.
    pub(super) async fn complete_elsewhere(self, point: &str) -> Result<Half<'a>> {
        let route = known_route(self.network, self.payer, point).await?;
        let payer = self.network[self.payer].api()?;
        let attempt = payer.send_to_route(self.set.request(1, route)?).await?;
        assert_arrived(&attempt, &self.set, 1);
        Ok(Half(self))
    }

    /// Cancels the invoice: the first half fails, and its payer gets the result unless it
    /// [forgets](Held::forgets).
    pub(super) async fn cancel(self) -> Result<()> {
        let message = CancelInvoiceMsg {
            payment_hash: self.invoice.r_hash.clone(),
        };
        let mut payee = self.network[self.payee].api()?.invoices;
        payee.cancel_invoice(message).await?;
        if self.forgets() {
            Ok(())
        } else {
            self.fails_back().await
        }
    }

    /// Waits until the first half fails.
    pub(super) async fn fails_back(self) -> Result<()> {
        let attempt = timeout(ANSWER_LIMIT, self.first)
            .await
            .context("no result")???;
        assert_eq!(attempt.status(), HtlcStatus::Failed, "{attempt:?}");
        Ok(())
    }
}

/// The first half of a set of which the other half has settled.
pub(super) struct Half<'a>(Held<'a>);

impl Half<'_> {
    pub(super) async fn arrives(self) -> Result<()> {
        let attempt = timeout(ANSWER_LIMIT, self.0.first)
            .await
            .context("no result")???;
        assert_arrived(&attempt, &self.0.set, 0);
        Ok(())
    }
}

#[track_caller]
fn assert_arrived(attempt: &HtlcAttempt, set: &Set, number: usize) {
    assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
    assert_eq!(attempt.preimage, set.shards[number].preimage);
}

/// Like [`route`]. lnd builds no route before it has the channel_update of the other end.
async fn known_route(network: &Network, payer: &str, point: &str) -> Result<Route> {
    wait_for("the channel to be in the graph", LIMIT, async || {
        route(network, payer, point).await
    })
    .await
}

/// A route for a shard over this channel.
pub(super) async fn route(network: &Network, payer: &str, point: &str) -> Result<Route> {
    let payee = bytes(network[payee_of(payer)].key())?;
    let request = BuildRouteRequest {
        amt_msat: SHARD_MSAT,
        outgoing_chan_id: channel(&network[payer].api()?, point).await?.chan_id,
        hop_pubkeys: vec![payee],
        ..Default::default()
    };
    let mut router = network[payer].api()?.router;
    let built = router.build_route(request).await?;
    built
        .into_inner()
        .route
        .context("BuildRoute returned no route")
}

pub(super) async fn channel(api: &Api, point: &str) -> Result<Channel> {
    let mut channels = api.channels().await?.into_iter();
    let channel = channels.find(|channel| channel.channel_point == point);
    channel.with_context(|| format!("the channel {point} is not listed"))
}
