//! Consistent snapshots of the running node for the database writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lightning::ln::types::ChannelId;
use lightning::util::ser::Writeable;
use tokio::sync::Notify;

use crate::ldk::{ChainMonitor, ChannelManager};
use crate::storage::SnapshotSource;

/// Capacity reserved beyond the previous snapshot, in bytes; exceeding it only reallocates.
const SPARE_CAPACITY: usize = 4_096;

/// Takes snapshots of the channel manager and reports completed commits to the monitors.
pub(super) struct NodeSnapshot {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    /// Notified when a commit allows delayed messages to be sent.
    pub(super) wake: Arc<Notify>,
    /// Length of the last snapshot, in bytes.
    pub(super) last_length: AtomicUsize,
}

impl SnapshotSource for NodeSnapshot {
    /// Does not use `encode()`, which first walks the whole manager, under all its locks, just to
    /// compute the length.
    #[expect(clippy::expect_used, reason = "writing to a vector never fails")]
    fn manager_snapshot(&self) -> Vec<u8> {
        let expected = self.last_length.load(Ordering::Relaxed) + SPARE_CAPACITY;
        let mut bytes = Vec::with_capacity(expected);
        // Fails only if the writer does, and a vector does not.
        self.manager
            .write(&mut bytes)
            .expect("writing to a vector never fails");
        self.last_length.store(bytes.len(), Ordering::Relaxed);
        bytes
    }

    fn monitors_written(&self, updates: &[(ChannelId, u64)]) {
        for (channel_id, update_id) in updates {
            if let Err(error) = self
                .monitors
                .channel_monitor_updated(*channel_id, *update_id)
            {
                tracing::warn!(
                    %channel_id,
                    update_id,
                    "completed update for an unknown ChannelMonitor: {error:?}"
                );
            }
        }
        self.wake.notify_one();
    }
}
