//! Consistent snapshots of the running node for the database writer.

use std::sync::Arc;

use lightning::io;
use lightning::ln::types::ChannelId;
use lightning::util::ser::{Writeable, Writer};
use tokio::sync::Notify;

use crate::ldk::{ChainMonitor, ChannelManager};
use crate::storage::SnapshotSource;

/// Takes snapshots of the channel manager and reports completed commits to the monitors.
pub(super) struct NodeSnapshot {
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    /// Notified when a commit allows delayed messages to be sent.
    pub(super) wake: Arc<Notify>,
}

/// The buffer of a snapshot. LDK locks the manager before it writes the first byte, and no monitor is updated
/// until it has written the last one.
struct Snapshot<'a, F> {
    bytes: &'a mut Vec<u8>,
    /// Called before the first byte.
    cut: Option<F>,
}

impl<F: FnOnce()> Writer for Snapshot<'_, F> {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), io::Error> {
        if let Some(cut) = self.cut.take() {
            cut();
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl SnapshotSource for NodeSnapshot {
    /// Does not use `encode()`, which first walks the whole manager, under all its locks, just to
    /// compute the length.
    #[expect(clippy::expect_used, reason = "writing to a vector never fails")]
    fn manager_snapshot(&self, bytes: &mut Vec<u8>, cut: &mut dyn FnMut()) {
        let cut = Some(cut);
        // Fails only if the writer does, and a vector does not.
        self.manager
            .write(&mut Snapshot { bytes, cut })
            .expect("writing to a vector never fails");
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
