//! A payee with two payers.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use lnd_api::proto::lnrpc::{HtlcAttempt, InvoiceHtlcState};
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::manual_amp::Set;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{Ampd, Lnd};
use regtest::wait::wait_for;

use crate::manual_shards::{count, settled};
use crate::scene::{CAPACITY_SAT, Scene};
use crate::{SETTLE_LIMIT, binaries};

/// Shards that one payer's own checks would reject can be sent by two payers together.
#[derive(Clone, Copy)]
pub(super) struct TwoPayers<'a> {
    pub one: Scene<'a>,
    pub other: Scene<'a>,
}

pub(super) async fn open() -> Result<Network> {
    let nodes = [("alice", Ampd), ("bob", Ampd), ("lena", Lnd), ("lisa", Lnd)];
    let network = Network::mixed(binaries(), &nodes).await?;
    let plans = [("lena", "alice"), ("lisa", "alice"), ("bob", "lena")]
        .map(|(from, to)| ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2));
    network.open(&plans).await?;
    for payers in all(&network) {
        for scene in [payers.one, payers.other] {
            wait_for("a route", SETTLE_LIMIT, async || scene.route(1_000).await).await?;
        }
    }
    Ok(network)
}

/// Two lnd nodes that pay ampd, and two ampd nodes that pay lnd.
pub(super) fn all(network: &Network) -> [TwoPayers<'_>; 2] {
    let payers = |one, other, payee| TwoPayers {
        one: Scene::new(network, one, payee),
        other: Scene::new(network, other, payee),
    };
    [
        payers("lena", "lisa", &["alice"]),
        payers("alice", "bob", &["lena"]),
    ]
}

impl Scene<'_> {
    /// The request that sends the shard with this number.
    pub(crate) async fn shard(
        &self,
        set: &Set,
        number: usize,
        msat: i64,
    ) -> Result<SendToRouteRequest> {
        set.request(number, self.route(msat).await?)
    }

    pub(crate) async fn sends_shard(
        &self,
        set: &Set,
        number: usize,
        msat: i64,
    ) -> Result<HtlcAttempt> {
        let request = self.shard(set, number, msat).await?;
        Ok(self.payer()?.send_to_route(request).await?)
    }

    /// Sends all shards concurrently; they must settle.
    pub(crate) async fn sends_set(&self, set: &Set, msat: i64) -> Result<()> {
        let sent = (0..set.shards.len()).map(|number| self.sends_shard(set, number, msat));
        self.set_settled(set, &try_join_all(sent).await?).await
    }

    /// Checks that all shards are settled at both ends.
    pub(crate) async fn set_settled(&self, set: &Set, attempts: &[HtlcAttempt]) -> Result<()> {
        for (attempt, shard) in attempts.iter().zip(&set.shards) {
            settled(attempt, shard);
        }
        let invoice = self.invoice_of(set).await?;
        let arrived = count(&invoice, set, InvoiceHtlcState::Settled);
        assert_eq!(arrived, set.shards.len());
        Ok(())
    }
}

/// Sets the expiry of a direct route.
pub(super) fn set_expiry(request: &mut SendToRouteRequest, height: u32) -> Result<()> {
    let route = request.route.as_mut().context("no route")?;
    route.total_time_lock = height;
    route
        .hops
        .last_mut()
        .context("the route has no hops")?
        .expiry = height;
    Ok(())
}
