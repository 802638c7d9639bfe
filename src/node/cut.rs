//! What the writer needs of the running node to make a consistent cut.

use std::sync::Arc;

use lightning::ln::types::ChannelId;
use lightning::util::ser::Writeable;
use tokio::sync::Notify;

use crate::ldk::{ChainMonitor, ChannelManager};
use crate::storage::Cut;

/// The manager to take snapshots of, and whom to tell after a commit.
pub(super) struct NodeCut {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    /// Messages that waited for the commit can go out.
    pub(super) wake: Arc<Notify>,
}

impl Cut for NodeCut {
    fn manager_snapshot(&self) -> Vec<u8> {
        self.manager.encode()
    }

    fn monitors_written(&self, updates: &[(ChannelId, u64)]) {
        for (channel_id, update_id) in updates {
            if let Err(error) = self
                .monitors
                .channel_monitor_updated(*channel_id, *update_id)
            {
                tracing::warn!(%channel_id, update_id, "a monitor update has no monitor: {error:?}");
            }
        }
        self.wake.notify_one();
    }
}
