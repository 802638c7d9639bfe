//! What the writer needs of the running node to make a consistent cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lightning::ln::types::ChannelId;
use lightning::util::ser::Writeable;
use tokio::sync::Notify;

use crate::ldk::{ChainMonitor, ChannelManager};
use crate::storage::Cut;

/// Bytes that a snapshot is expected to be longer than the last one at most; it may be more.
const ROOM_TO_GROW: usize = 4_096;

/// The manager to take snapshots of, and whom to tell after a commit.
pub(super) struct NodeCut {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    /// Messages that waited for the commit can go out.
    pub(super) wake: Arc<Notify>,
    /// Bytes of the last snapshot.
    pub(super) last_length: AtomicUsize,
}

impl Cut for NodeCut {
    /// Not `encode()`, which goes through the whole manager once before, under all its locks, only to
    /// learn how long the bytes will be.
    fn manager_snapshot(&self) -> Vec<u8> {
        let expected = self.last_length.load(Ordering::Relaxed) + ROOM_TO_GROW;
        let mut bytes = Vec::with_capacity(expected);
        // A vector takes all that is written to it, and the manager has no other reason to fail.
        self.manager.write(&mut bytes).expect("writes to a vector");
        self.last_length.store(bytes.len(), Ordering::Relaxed);
        bytes
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
