//! A bitcoind and any number of nodes with channels between them.

pub mod channels;
pub mod close_fees;
mod closing;
mod money;

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;

use crate::binaries::{self, Binaries, LndBinaries};
use crate::bitcoind::Bitcoind;
use crate::node::{Node, Software};
use crate::paths::Scratch;
use crate::wait::wait_for;

pub use channels::ChannelPlan;

/// Time for nodes to agree on blocks, connections or channels.
pub(crate) const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// A running network. Dropping it kills all processes and removes all files; unless
/// [`Network::finish`] was called, it first prints the last log lines of all nodes.
#[derive(Debug)]
pub struct Network {
    nodes: BTreeMap<String, Node>,
    pub bitcoind: Bitcoind,
    binaries: Binaries,
    went_well: bool,
    // Last, because fields are dropped in order: directories must outlive the processes.
    scratch: Scratch,
}

impl Network {
    /// Starts bitcoind without any nodes.
    pub async fn start(binaries: Binaries) -> Result<Self> {
        let scratch = Scratch::new()?;
        let bitcoind = Bitcoind::start(&scratch.path().join("bitcoind")).await?;
        Ok(Self::on(binaries, bitcoind, scratch))
    }

    /// Like [`Network::start`], with the bitcoind settings that Eclair requires.
    pub async fn start_for_eclair(binaries: Binaries) -> Result<Self> {
        let scratch = Scratch::new()?;
        let bitcoind = Bitcoind::start_with_zmq(&scratch.path().join("bitcoind")).await?;
        Ok(Self::on(binaries, bitcoind, scratch))
    }

    fn on(binaries: Binaries, bitcoind: Bitcoind, scratch: Scratch) -> Self {
        Self {
            nodes: BTreeMap::new(),
            bitcoind,
            binaries,
            went_well: false,
            scratch,
        }
    }

    /// Starts a network of ampd nodes with these names that accept spontaneous AMP and keysend payments.
    pub async fn with_nodes(binaries: Binaries, names: &[&str]) -> Result<Self> {
        let all_ampd: Vec<_> = names.iter().map(|name| (*name, Software::Ampd)).collect();
        Self::mixed(binaries, &all_ampd).await
    }

    /// Starts a network of any programs. ampd and lnd accept spontaneous AMP and keysend payments.
    pub async fn mixed(binaries: Binaries, wanted: &[(&str, Software)]) -> Result<Self> {
        let has_eclair = wanted
            .iter()
            .any(|(_, software)| *software == Software::Eclair);
        let mut network = if has_eclair {
            Self::start_for_eclair(binaries).await?
        } else {
            Self::start(binaries).await?
        };
        let mut nodes = Vec::new();
        for (name, software) in wanted {
            nodes.push(network.prepare_as(name, *software).await?);
        }
        network.add(nodes).await?;
        Ok(network)
    }

    /// A node that is not started yet; change its config, then [`Network::add`] it.
    pub fn prepare(&self, name: &str) -> Result<Node> {
        Node::new(
            name,
            &self.scratch.path().join(name),
            &self.binaries,
            &self.bitcoind,
        )
    }

    /// An lnd that is not started yet, otherwise like [`Network::prepare`].
    ///
    /// # Errors
    /// If `LND_EXE` and `LNCLI_EXE` are not set.
    pub fn prepare_lnd(&self, name: &str) -> Result<Node> {
        let lnd = LndBinaries::named()?.context("LND_EXE and LNCLI_EXE are not set")?;
        Node::lnd(name, &self.scratch.path().join(name), &lnd, &self.bitcoind)
    }

    /// A node of any program that is not started yet. ampd and lnd accept spontaneous AMP and keysend
    /// payments.
    ///
    /// # Errors
    /// If the program's variable is not set, or bitcoind lacks something it requires.
    pub async fn prepare_as(&self, name: &str, software: Software) -> Result<Node> {
        let dir = self.scratch.path().join(name);
        let mut node = match software {
            Software::Ampd => self.prepare(name)?,
            Software::Lnd => self.prepare_lnd(name)?,
            Software::CoreLightning => {
                let exe = binaries::lightningd()?.context("LIGHTNINGD_EXE is not set")?;
                return Node::core_lightning(name, &dir, &exe, &self.bitcoind);
            }
            Software::Eclair => {
                let exe = binaries::eclair()?.context("ECLAIR_EXE is not set")?;
                return Node::eclair(name, &dir, &exe, &self.bitcoind).await;
            }
        };
        node.set_raw("accept-amp", "true");
        node.set_raw("accept-keysend", "true");
        Ok(node)
    }

    /// Starts nodes concurrently.
    pub async fn add(&mut self, nodes: Vec<Node>) -> Result<()> {
        for node in try_join_all(nodes.into_iter().map(started)).await? {
            self.nodes.insert(node.name().to_owned(), node);
        }
        Ok(())
    }

    /// All nodes, with their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The programs in use.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Mines and waits until every running node has reached the new tip.
    pub async fn mine(&self, blocks: u32) -> Result<()> {
        self.bitcoind.mine(blocks).await?;
        self.wait_synced().await
    }

    /// Waits until every running node has reached bitcoind's tip.
    pub async fn wait_synced(&self) -> Result<()> {
        let height = self.bitcoind.height().await?;
        for node in self.running() {
            let what = format!("{} at height {height}", node.name());
            wait_for(&what, AGREE_LIMIT, async || {
                let info = node.info().await?;
                ensure!(info.height >= height, "it is at height {}", info.height);
                ensure!(info.synced_to_chain, "synced_to_chain is false");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Connects two nodes and waits until both list the connection.
    pub async fn connect(&self, from: &str, to: &str) -> Result<()> {
        let what = format!("{from} connected to {to}");
        wait_for(&what, AGREE_LIMIT, async || {
            self[from].connect(&self[to]).await
        })
        .await?;
        // lnd responds before it has tried.
        for (name, other) in [(from, to), (to, from)] {
            self.wait_connected(name, other).await?;
        }
        Ok(())
    }

    /// Waits until `name` lists `other` as a peer.
    async fn wait_connected(&self, name: &str, other: &str) -> Result<()> {
        let key = self[other].key();
        let what = format!("{name} to list {other} as a peer");
        wait_for(&what, AGREE_LIMIT, async || {
            let peers = self[name].peers().await?;
            ensure!(
                peers.iter().any(|peer| peer == key),
                "its peers are {peers:?}"
            );
            Ok(())
        })
        .await
    }

    /// A directory for other data that lives as long as the network.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Makes the nodes use this bitcoind from their next start on. Returns the previous one.
    ///
    /// # Errors
    /// If it lacks something that one of the nodes requires.
    pub fn replace_bitcoind(&mut self, bitcoind: Bitcoind) -> Result<Bitcoind> {
        for node in self.nodes.values_mut() {
            node.use_bitcoind(&bitcoind)?;
        }
        Ok(std::mem::replace(&mut self.bitcoind, bitcoind))
    }

    /// Sends SIGKILL to all of these nodes at once.
    pub fn kill(&mut self, names: &[&str]) -> Result<()> {
        names.iter().try_for_each(|name| self[*name].kill())
    }

    /// Restarts these nodes concurrently.
    pub async fn restart(&mut self, names: &[&str]) -> Result<()> {
        let nodes = names.iter().filter_map(|name| self.nodes.remove(*name));
        let nodes = nodes.collect();
        self.add(nodes).await
    }

    /// Stops the network without printing logs, after a successful test.
    pub fn finish(mut self) {
        self.went_well = true;
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|node| node.is_running())
    }
}

async fn started(mut node: Node) -> Result<Node> {
    node.start().await?;
    Ok(node)
}

impl Drop for Network {
    fn drop(&mut self) {
        if !self.went_well {
            for node in self.nodes() {
                eprintln!("{}: {}", node.name(), node.log_tail());
            }
        }
    }
}

/// # Panics
/// If there is no node with this name, which is an error in the test.
impl Index<&str> for Network {
    type Output = Node;

    fn index(&self, name: &str) -> &Node {
        self.nodes
            .get(name)
            .unwrap_or_else(|| panic!("the network has no node {name:?}"))
    }
}

/// # Panics
/// If there is no node with this name, which is an error in the test.
impl IndexMut<&str> for Network {
    fn index_mut(&mut self, name: &str) -> &mut Node {
        self.nodes
            .get_mut(name)
            .unwrap_or_else(|| panic!("the network has no node {name:?}"))
    }
}
