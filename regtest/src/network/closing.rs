//! Waiting for closed channels to be over.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Network;
use crate::wait::wait_for;

/// LDK takes an output for irrevocably ours six blocks deep.
const DEEP: u32 = 6;

impl Network {
    /// Mines, so many blocks at a time, until no ampd or lnd waits for an output of a closed channel. Each
    /// claim needs a block of its own, and who closed by force must wait some 144 blocks.
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
