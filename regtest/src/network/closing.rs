//! Waits until closed channels are fully resolved.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Network;
use crate::wait::wait_for;

/// LDK considers an output irrevocably confirmed six blocks deep.
const DEEP: u32 = 6;

impl Network {
    /// Mines `blocks` blocks at a time until no ampd or lnd is waiting for an output of a closed channel.
    /// Each claim needs its own block, and a node that force-closed must wait some 144 blocks.
    pub async fn mine_until_swept(&self, blocks: u32, limit: Duration) -> Result<()> {
        wait_for("closed channels to be swept", limit, async || {
            self.mine(blocks).await?;
            for node in self.nodes().filter(|node| !node.is_peer()) {
                let pending = node.api()?.pending().await?;
                let closing = pending.pending_force_closing_channels.len();
                let waiting = pending.waiting_close_channels.len();
                ensure!(
                    closing + waiting == 0,
                    "{} is closing: {pending:?}",
                    node.name()
                );
            }
            Ok(())
        })
        .await?;
        self.mine(DEEP).await
    }
}
