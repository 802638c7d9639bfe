//! Opens further channels of the payer, in batches.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use super::setup::prepare;
use crate::network::ChannelPlan;
use crate::node::Software;

/// The nodes that the further channels lead to. None of them takes part in the payments.
const PEERS: usize = 8;
/// How many channels are opened before the progress is printed.
const BATCH: usize = 120;
const CAPACITY_SAT: u64 = 100_000;

impl Bench {
    /// Opens channels of the payer to other nodes until it has `count` channels.
    pub(super) async fn open_until(&mut self, count: usize) -> Result<()> {
        let names: Vec<String> = (0..PEERS).map(|number| format!("peer-{number}")).collect();
        self.start_peers(&names).await?;
        // Not by `self.payer`, which was connected before a restart.
        let open = self.network["payer"].channels().await?.len();
        let missing = count.saturating_sub(open);
        let plans: Vec<ChannelPlan<'_>> = names
            .iter()
            .cycle()
            .take(missing)
            .map(|name| ChannelPlan::new("payer", name, CAPACITY_SAT))
            .collect();
        let start = Instant::now();
        for (index, batch) in plans.chunks(BATCH).enumerate() {
            self.network.open(batch).await?;
            eprintln!(
                "{} of {missing} channels opened, {} s",
                index * BATCH + batch.len(),
                start.elapsed().as_secs()
            );
        }
        Ok(())
    }

    /// Starts those that do not exist yet.
    async fn start_peers(&mut self, names: &[String]) -> Result<()> {
        let exists = |name: &&String| self.network.nodes().any(|node| node.name() == *name);
        let nodes = names
            .iter()
            .filter(|name| !exists(name))
            .map(|name| Ok(prepare(&self.network, name, Software::Ampd)?.0))
            .collect::<Result<_>>()?;
        self.network.add(nodes).await
    }
}
