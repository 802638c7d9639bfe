//! Tracks monitor updates whose completion the channel manager has not processed.
//!
//! LDK refuses to read a manager that waits for an update of a missing monitor. But
//! `archive_fully_resolved_channel_monitors` does not check for pending updates: just after closing a
//! channel in which we have no balance, the monitor could be archived before the manager learns that the
//! close is on disk. So the manager's calls pass through here, and monitors are archived only while the
//! manager waits for none that could be archived.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::secp256k1::PublicKey;
use lightning::chain::channelmonitor::{ChannelMonitorUpdate, MonitorEvent};
use lightning::chain::transaction::OutPoint;
use lightning::chain::{ChannelMonitorUpdateStatus, Watch};
use lightning::ln::types::ChannelId;
use tokio::sync::Notify;

use crate::ldk::{ChainMonitor, ChannelMonitor, ChannelSigner};
use crate::storage::monitors::SecretOnlyUpdates;
use crate::sync::lock;

/// Highest update id of a monitor that LDK may archive immediately: its channel saw nothing but the close,
/// and perhaps a `shutdown` before it.
const FEW_UPDATES: u64 = 3;

/// LDK's chain monitor as the manager sees it, with pending updates tracked.
pub(super) struct Updates {
    monitors: Arc<ChainMonitor>,
    secret_only: Arc<SecretOnlyUpdates>,
    wake: Arc<Notify>,
    /// The last update of each channel that the manager waits for.
    pending: Mutex<HashMap<ChannelId, u64>>,
}

impl Updates {
    pub(super) fn new(monitors: Arc<ChainMonitor>, secret_only: Arc<SecretOnlyUpdates>) -> Self {
        Self {
            monitors,
            secret_only,
            wake: Arc::default(),
            pending: Mutex::default(),
        }
    }

    /// Notified when HTLCs may be ready to be processed: here when an update has completed at once, elsewhere
    /// when a commit has completed or an event was handled.
    pub(super) fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }

    /// Archives fully resolved monitors. `open` are the channels that the manager has. Returns false if
    /// pending updates prevent it and the caller has to retry.
    pub(super) fn archive(&self, open: &HashSet<ChannelId>) -> bool {
        // No update begins while this lock is held.
        let pending = self.pending();
        let may_be_archived = |(channel, update): (&ChannelId, &u64)| {
            *update <= FEW_UPDATES || !open.contains(channel)
        };
        if pending.iter().any(may_be_archived) {
            return false;
        }
        self.monitors.archive_fully_resolved_channel_monitors();
        true
    }

    /// Records a pending update. Returns the one that was pending before.
    fn begin(&self, channel_id: ChannelId, update_id: u64) -> Option<u64> {
        self.pending().insert(channel_id, update_id)
    }

    fn revert(&self, channel_id: ChannelId, before: Option<u64>) {
        let mut pending = self.pending();
        match before {
            Some(update) => pending.insert(channel_id, update),
            None => pending.remove(&channel_id),
        };
    }

    fn complete(&self, channel_id: &ChannelId, update_id: u64) {
        let mut pending = self.pending();
        if pending
            .get(channel_id)
            .is_some_and(|last| *last <= update_id)
        {
            pending.remove(channel_id);
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ChannelId, u64>> {
        lock(&self.pending)
    }
}

impl Watch<ChannelSigner> for Updates {
    fn watch_channel(
        &self,
        channel_id: ChannelId,
        monitor: ChannelMonitor,
    ) -> Result<ChannelMonitorUpdateStatus, ()> {
        let before = self.begin(channel_id, monitor.get_latest_update_id());
        let watched = self.monitors.watch_channel(channel_id, monitor);
        if watched.is_err() {
            // LDK has a monitor for this channel id already; a rejected one never completes.
            self.revert(channel_id, before);
        }
        watched
    }

    fn update_channel(
        &self,
        channel_id: ChannelId,
        update: &ChannelMonitorUpdate,
    ) -> ChannelMonitorUpdateStatus {
        self.begin(channel_id, update.update_id);
        let status = self.monitors.update_channel(channel_id, update);
        if self.secret_only.take(&channel_id) {
            // Fails only for an unknown channel.
            let _ = self
                .monitors
                .channel_monitor_updated(channel_id, update.update_id);
            self.wake.notify_one();
        }
        status
    }

    /// The manager holds its consistency lock until it has processed the events, so its next snapshot
    /// includes them.
    fn release_pending_monitor_events(
        &self,
    ) -> Vec<(OutPoint, ChannelId, Vec<MonitorEvent>, PublicKey)> {
        let released = self.monitors.release_pending_monitor_events();
        for (_, channel_id, events, _) in &released {
            for event in events {
                if let MonitorEvent::Completed {
                    monitor_update_id, ..
                } = event
                {
                    self.complete(channel_id, *monitor_update_id);
                }
            }
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::{BlockHash, Network};
    use lightning::sign::{KeysManager, NodeSigner};
    use lightning::util::ser::{Readable, ReadableArgs, Writeable};
    use lightning::util::test_utils::{TestBroadcaster, TestFeeEstimator};

    use super::*;
    use crate::channels::test_node::{TestNode, TestSigners, two_nodes};
    use crate::logging::ldk::LdkLogger;
    use crate::storage::Store;
    use crate::storage::monitors::MonitorStore;

    #[tokio::test]
    async fn monitors_with_pending_updates_are_not_archived() {
        let node = TestNode::start(1).await;
        let updates = Updates::new(node.monitors.clone(), Arc::default());
        let (open, closed) = (ChannelId([1; 32]), ChannelId([2; 32]));
        let all_open = HashSet::from([open]);
        assert!(updates.archive(&all_open));
        updates.begin(open, 100);
        assert!(updates.archive(&all_open), "a payment is in flight");
        for (channel, update) in [(open, 1), (closed, 100)] {
            updates.begin(channel, update);
            assert!(!updates.archive(&all_open));
            updates.complete(&channel, update - 1);
            assert!(!updates.archive(&all_open), "only an older one completed");
            updates.complete(&channel, update);
            assert!(updates.archive(&all_open));
        }
    }

    /// Two peers may name the same funding output.
    #[tokio::test]
    async fn rejected_monitor_does_not_block_archiving() {
        let (alice, _bob, _chain, _point) = two_nodes(400_000, 0).await;
        let updates = Updates::new(alice.monitors.clone(), Arc::default());
        let (channel_id, again) = copy_of_monitor(&alice);
        assert!(updates.watch_channel(channel_id, again).is_err());
        assert!(updates.archive(&HashSet::new()));
    }

    /// LDK never completes an update that the monitor refused: the channel stands still.
    #[tokio::test]
    async fn only_an_accepted_secret_completes_at_once() {
        let (alice, _bob, _chain, _point) = two_nodes(400_000, 0).await;
        let directory = tempfile::tempdir().unwrap();
        let secret_only: Arc<SecretOnlyUpdates> = Arc::default();
        let monitors = monitors_in(directory.path(), &secret_only);
        let (channel_id, monitor) = copy_of_monitor(&alice);
        let last = monitor.get_latest_update_id();
        let updates = Updates::new(monitors, secret_only);
        updates.watch_channel(channel_id, monitor).unwrap();
        let written = updates.monitors.channel_monitor_updated(channel_id, last);
        written.unwrap();
        updates.release_pending_monitor_events();
        assert!(updates.pending().is_empty(), "watched");

        let number_of_first = (1 << 48) - 1;
        updates.update_channel(channel_id, &secret(channel_id, last + 1, number_of_first));
        assert_eq!(updates.pending().get(&channel_id), Some(&(last + 1)));
        updates.release_pending_monitor_events();
        assert!(updates.pending().is_empty(), "accepted");

        // The first secret cannot be derived from this one, as it must be.
        updates.update_channel(
            channel_id,
            &secret(channel_id, last + 2, number_of_first - 1),
        );
        updates.release_pending_monitor_events();
        assert_eq!(updates.pending().get(&channel_id), Some(&(last + 2)));
    }

    /// A chain monitor whose monitors are stored in `directory`.
    fn monitors_in(
        directory: &std::path::Path,
        secret_only: &Arc<SecretOnlyUpdates>,
    ) -> Arc<ChainMonitor> {
        let keys = Arc::new(KeysManager::new(&[1; 32], 1, 1, true));
        let persister = MonitorStore {
            store: Arc::new(Store::open(directory).unwrap()),
            secret_only: secret_only.clone(),
        };
        Arc::new(ChainMonitor::new(
            None,
            Arc::new(TestBroadcaster::new(Network::Regtest)),
            Arc::new(LdkLogger),
            Arc::new(TestFeeEstimator::new(253)),
            Arc::new(persister),
            keys.clone(),
            keys.get_peer_storage_key(),
        ))
    }

    /// The node's only channel, and its monitor read again.
    fn copy_of_monitor(node: &TestNode) -> (ChannelId, ChannelMonitor) {
        let channel_id = node.manager.list_channels()[0].channel_id;
        let bytes = node.monitors.get_monitor(channel_id).unwrap().encode();
        let keys = Arc::new(KeysManager::new(&[1; 32], 1, 1, true));
        let args = (&*keys, &TestSigners(keys.clone()));
        let read = <(BlockHash, ChannelMonitor)>::read(&mut &bytes[..], args);
        (channel_id, read.unwrap().1)
    }

    /// An update with the secret of a commitment, and nothing else.
    fn secret(channel_id: ChannelId, update_id: u64, commitment: u64) -> ChannelMonitorUpdate {
        const VERSIONS: [u8; 2] = [1, 1];
        const COMMITMENT_SECRET: u8 = 3;
        let number = [&[0, 8][..], &commitment.to_be_bytes()].concat();
        let secret = [&[2, 32][..], &[7; 32]].concat();
        let fields = [number, secret].concat();
        let steps = [
            &1_u64.to_be_bytes()[..],
            &[COMMITMENT_SECRET, fields.len() as u8],
        ]
        .concat();
        let channel = [&[34, 3, 32][..], &channel_id.0].concat();
        let parts = [
            VERSIONS.into(),
            update_id.to_be_bytes().into(),
            steps,
            fields,
            channel,
        ];
        ChannelMonitorUpdate::read(&mut &parts.concat()[..]).unwrap()
    }
}
