//! Two nodes with production settings and one channel.

use anyhow::{Result, bail};

use super::meters::Meter;
use super::pair::{self, Pair};
use super::{Bench, disk};
use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};
use crate::node::{Node, Software};
use crate::ports::free_port;

/// The largest channel that ampd and lnd open; each side has half of it.
const CAPACITY_SAT: u64 = 1_000_000_000;
/// How often both programs poll bitcoind.
const POLL_INTERVAL: &str = "1s";
/// lnd settings used in tests only, removed so that its defaults apply.
const LND_TEST_KEYS: [&str; 3] = [
    "trickledelay",
    "gossip.sub-batch-delay",
    "gossip.max-channel-update-burst",
];

impl Bench {
    /// Starts a pair of nodes and opens the channel.
    pub(super) async fn start(binaries: Binaries, pair: Pair) -> Result<Self> {
        Self::start_with(binaries, pair, |_| {}).await
    }

    /// Like `start`, with different settings for the payee.
    pub(super) async fn start_with(
        binaries: Binaries,
        pair: Pair,
        configure: impl FnOnce(&mut Node),
    ) -> Result<Self> {
        let mut network = Network::start(binaries).await?;
        let (payer, payer_port) = prepare(&network, "payer", pair.payer)?;
        let (mut payee, payee_port) = prepare(&network, "payee", pair.payee)?;
        configure(&mut payee);
        network.add(vec![payer, payee]).await?;
        let plan = ChannelPlan::new("payer", "payee", CAPACITY_SAT).push(CAPACITY_SAT / 2);
        network.open(&[plan]).await?;
        Self::on(
            network,
            pair,
            &[("payer", payer_port), ("payee", payee_port)],
        )
        .await
    }

    /// Starts three ampd, of which one forwards the payments, and opens two channels.
    pub(super) async fn start_forwarding(binaries: Binaries) -> Result<Self> {
        let mut network = Network::start(binaries).await?;
        let (mut nodes, mut route) = (Vec::new(), Vec::new());
        for name in ["payer", "forwarder", "payee"] {
            let (node, port) = prepare(&network, name, Software::Ampd)?;
            nodes.push(node);
            route.push((name, port));
        }
        network.add(nodes).await?;
        let hops = [("payer", "forwarder"), ("forwarder", "payee")];
        let plan = |(from, to)| ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2);
        network.open(&hops.map(plan)).await?;
        Self::on(network, pair::AMPD, &route).await
    }

    /// The bench of running nodes: those on the route, the payer first, with the ports of their metrics
    /// pages.
    async fn on(network: Network, pair: Pair, route: &[(&str, Option<u16>)]) -> Result<Self> {
        let (mut versions, mut meters) = (Vec::new(), Vec::new());
        for (name, metrics_port) in route {
            let node = &network[*name];
            let version = node.api()?.info().await?.version;
            versions.push(pair::program(node.software(), &version));
            let (metrics_port, pid) = (*metrics_port, node.pid()?);
            meters.push(Meter { metrics_port, pid });
        }
        Ok(Self {
            title: pair::title(&versions),
            versions,
            pair,
            sync_p50: disk::sync_p50(network["payer"].dir())?,
            payer: network["payer"].api()?,
            payee: network["payee"].api()?,
            payee_key: network["payee"].key().to_owned(),
            meters,
            network,
        })
    }
}

/// A node with production settings that accepts spontaneous payments, and the port of its
/// metrics page if it has one.
pub(super) fn prepare(
    network: &Network,
    name: &str,
    software: Software,
) -> Result<(Node, Option<u16>)> {
    match software {
        Software::Ampd => {
            let port = free_port()?;
            Ok((ampd(network.prepare(name)?, port), Some(port)))
        }
        Software::Lnd => Ok((lnd(network.prepare_lnd(name)?), None)),
        Software::CoreLightning | Software::Eclair => {
            bail!("the benchmark supports only ampd and lnd")
        }
    }
}

fn ampd(mut node: Node, metrics_port: u16) -> Node {
    node.set_raw("accept-amp", "true");
    node.set_raw("accept-keysend", "true");
    node.set("metrics-listen", &format!("127.0.0.1:{metrics_port}"));
    // Remove settings that speed up tests or improve their failure messages.
    node.set("log-level", "info,ldk=warn");
    node.set("chain-poll-interval", POLL_INTERVAL);
    node
}

/// lnd with its default database and batching, and the minimum settings for a channel this large.
fn lnd(mut node: Node) -> Node {
    for key in LND_TEST_KEYS {
        node.unset(key);
    }
    node.set("accept-amp", "true");
    node.set("accept-keysend", "true");
    node.set("protocol.wumbo-channels", "true");
    node.set("debuglevel", "info");
    node.set("bitcoind.blockpollinginterval", POLL_INTERVAL);
    node.set("bitcoind.txpollinginterval", POLL_INTERVAL);
    node
}
