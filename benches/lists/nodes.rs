//! The two nodes.

use std::time::{Duration, Instant};

use ampd::storage::Store;
use anyhow::{Result, ensure};
use regtest::binaries::Binaries;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::rest::Rest;
use regtest::wait::wait_for;

use super::fill::{self, Size};
use super::graph::{self, GraphSize};
use crate::common::warm;
use crate::{LARGE, Pair, SMALL};

const NAMES: [&str; 2] = ["small", "large"];
const CHANNEL_SAT: u64 = 1_000_000;
const COIN_SAT: u64 = 10_000;
/// Outputs of one transaction.
const OUTPUTS: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(300);

/// Two nodes with a channel between them.
pub(crate) struct Nodes {
    network: Network,
}

impl Nodes {
    pub(crate) async fn start() -> Result<Self> {
        let binaries = Binaries::at(env!("CARGO_BIN_EXE_ampd"));
        let mut network = Network::start(binaries).await?;
        for name in NAMES {
            let mut node = network.prepare(name)?;
            node.set("log-level", "info");
            network.add(vec![node]).await?;
        }
        let plan = ChannelPlan::new("small", "large", CHANNEL_SAT).push(CHANNEL_SAT / 2);
        network.open(&[plan]).await?;
        Ok(Self { network })
    }

    /// Gives the nodes their histories and coins.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        for (name, size) in [("small", SMALL), ("large", LARGE)] {
            self.pay_coins(name, size.coins).await?;
        }
        self.network.mine(1).await?;
        for (name, size) in [("small", SMALL), ("large", LARGE)] {
            self.fill_database(name, size).await?;
        }
        self.restart().await
    }

    async fn pay_coins(&self, name: &str, coins: usize) -> Result<()> {
        let node = &self.network[name];
        let mut addresses = Vec::new();
        for _ in 0..coins.min(OUTPUTS) {
            addresses.push((node.address().await?, COIN_SAT));
        }
        for _ in 0..coins.div_ceil(OUTPUTS) {
            self.network.bitcoind.fund(&addresses).await?;
            self.network.mine(1).await?;
        }
        Ok(())
    }

    async fn fill_database(&mut self, name: &str, size: Size) -> Result<()> {
        let start = Instant::now();
        self.network[name].stop().await?;
        let store = self.open_database(name)?;
        fill::fill(&store, size).await?;
        store.close()?;
        let bytes = warm(&Store::path_in(&self.network[name].network_dir()))?;
        println!(
            "{name}: {} invoices, {} payments, {} forwards, {} coins: {} MB, filled in {} s",
            size.received.invoices,
            size.payments,
            size.forwards,
            size.coins,
            bytes >> 20,
            start.elapsed().as_secs()
        );
        Ok(())
    }

    fn open_database(&self, name: &str) -> Result<std::sync::Arc<Store>> {
        let directory = self.network[name].network_dir();
        Ok(std::sync::Arc::new(Store::open(&directory)?))
    }

    /// Gives both nodes a network graph that includes the other node.
    pub(crate) async fn set_graphs(&mut self, sizes: [GraphSize; 2]) -> Result<()> {
        let peers = [self.node("large").key(), self.node("small").key()].map(str::to_owned);
        for name in NAMES {
            if self.node(name).is_running() {
                self.network[name].stop().await?;
            }
        }
        for ((name, size), peer) in NAMES.into_iter().zip(sizes).zip(peers) {
            let start = Instant::now();
            let generated = graph::generate(size, Some(&peer))?;
            let store = self.open_database(name)?;
            graph::write(&store, &generated)?;
            store.close()?;
            println!(
                "{name}: graph of {} channels and {} nodes, generated in {} s",
                size.channels,
                size.nodes,
                start.elapsed().as_secs()
            );
        }
        self.restart().await
    }

    /// Starts both and waits until they can use their channel.
    async fn restart(&mut self) -> Result<()> {
        for name in NAMES {
            let start = Instant::now();
            self.network.restart(&[name]).await?;
            println!("{name} starts in {} ms", start.elapsed().as_millis());
        }
        for name in NAMES {
            let api = self.node(name).api()?;
            wait_for("an active channel", LIMIT, async || {
                let channels = api.channels().await?;
                ensure!(channels.iter().any(|channel| channel.active));
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        &self.network[name]
    }

    pub(crate) fn pair(&self) -> Result<Pair> {
        Ok(Pair {
            small: self.node("small").api()?,
            large: self.node("large").api()?,
        })
    }

    pub(crate) fn rest(&self, name: &str) -> Result<Rest> {
        Rest::of(self.node(name), "admin.macaroon")
    }

    pub(crate) fn finish(self) {
        self.network.finish();
    }
}
