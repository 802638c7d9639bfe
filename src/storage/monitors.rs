//! Channel monitors: implements LDK's `Persist` and reads the monitors back at startup.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::ChannelMonitorUpdate;
use lightning::ln::types::ChannelId;
use lightning::sign::SignerProvider;
use lightning::util::persist::MonitorName;
use lightning::util::ser::{Readable, ReadableArgs};
use rusqlite::params;

use super::monitor_write::MonitorWrite;
use super::monitor_write::reveals_secret_only;
use super::sql::signed;
use super::{StorageError, Store};
use crate::ldk::{Broadcaster, ChannelMonitor, ChannelSigner, FeeEstimator, KeysManager};
use crate::logging::ldk::LdkLogger;
use crate::sync::lock;

/// After this many updates the full monitor is written and its updates are deleted: an update takes
/// about 500 bytes, a monitor up to 200 kB, and the next start applies the remaining updates.
const UPDATES_PER_MONITOR: u64 = 100;

/// Persists monitors for LDK's `ChainMonitor`. A separate type, since LDK implements a synchronous
/// `Persist` for every key-value store.
///
/// Every write is queued and stays `InProgress` until the writer's commit. Until then LDK keeps the
/// update in the manager and holds back the messages that depend on it.
pub struct MonitorStore {
    pub store: Arc<Store>,
    pub secret_only: Arc<SecretOnlyUpdates>,
}

/// The channels whose last monitor update nothing waits for, as it consists of nothing but the secret that
/// the peer's `revoke_and_ack` revealed. The node completes such updates at once.
#[derive(Default)]
pub struct SecretOnlyUpdates(Mutex<HashSet<ChannelId>>);

impl SecretOnlyUpdates {
    /// Returns whether this is such a channel, and removes it.
    pub fn take(&self, channel_id: &ChannelId) -> bool {
        lock(&self.0).remove(channel_id)
    }
}

impl Persist<ChannelSigner> for MonitorStore {
    fn persist_new_channel(
        &self,
        name: MonitorName,
        monitor: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        self.store.submit_monitor(MonitorWrite::whole(
            name,
            monitor,
            Some(monitor.channel_id()),
        ));
        ChannelMonitorUpdateStatus::InProgress
    }

    fn update_persisted_channel(
        &self,
        name: MonitorName,
        update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        let channel_id = monitor.channel_id();
        let is_secret_only = update.is_some_and(reveals_secret_only);
        self.store.submit_monitor(match update {
            Some(update) if update.update_id % UPDATES_PER_MONITOR != 0 => {
                let awaited_by = (!is_secret_only).then_some(channel_id);
                MonitorWrite::update(name, update, awaited_by)
            }
            Some(_) => {
                let awaited_by = (!is_secret_only).then_some(channel_id);
                MonitorWrite::whole(name, monitor, awaited_by)
            }
            // A new block, or an update that the monitor refused: LDK waits for neither.
            None => MonitorWrite::whole(name, monitor, None),
        });
        if is_secret_only {
            lock(&self.secret_only.0).insert(channel_id);
        }
        ChannelMonitorUpdateStatus::InProgress
    }

    fn archive_persisted_channel(&self, name: MonitorName) {
        let channel_id = match name {
            MonitorName::V1Channel(funding) => ChannelId::v1_from_funding_outpoint(funding),
            MonitorName::V2Channel(channel_id) => channel_id,
        };
        self.store.submit_monitor(MonitorWrite::Archive {
            name: name.to_string(),
            channel_id,
        });
    }
}

/// The dependencies needed to decode a stored monitor and apply its updates.
pub struct MonitorReader<S> {
    pub keys: Arc<KeysManager>,
    pub signers: Arc<S>,
    pub broadcaster: Arc<Broadcaster>,
    pub fees: Arc<FeeEstimator>,
    pub logger: Arc<LdkLogger>,
}

impl<S: SignerProvider<EcdsaSigner = ChannelSigner>> MonitorReader<S> {
    /// Reads all monitors and applies their stored updates.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if one cannot be read: the node must not start without it.
    pub fn read_all(&self, store: &Store) -> Result<Vec<ChannelMonitor>, StorageError> {
        let stored: Vec<(String, Vec<u8>)> = store.query(|db| {
            db.prepare("SELECT name, bytes FROM monitors ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        stored
            .iter()
            .map(|(name, bytes)| self.read(store, name, bytes))
            .collect()
    }

    fn read(
        &self,
        store: &Store,
        name: &str,
        bytes: &[u8],
    ) -> Result<ChannelMonitor, StorageError> {
        let damaged =
            |what: String| StorageError::Damaged(format!("channel monitor {name}: {what}"));
        let args = (&*self.keys, &*self.signers);
        let (_, monitor) = <(bitcoin::BlockHash, ChannelMonitor)>::read(&mut &bytes[..], args)
            .map_err(|error| damaged(error.to_string()))?;
        for bytes in later_updates(store, name, monitor.get_latest_update_id())? {
            let update = ChannelMonitorUpdate::read(&mut &bytes[..])
                .map_err(|error| damaged(error.to_string()))?;
            monitor
                .update_monitor(&update, &self.broadcaster, &self.fees, &self.logger)
                .map_err(|()| damaged(format!("update {} does not apply", update.update_id)))?;
        }
        Ok(monitor)
    }
}

/// Returns the stored updates of a monitor after the update id `after`, in order.
fn later_updates(store: &Store, name: &str, after: u64) -> Result<Vec<Vec<u8>>, StorageError> {
    store.query(|db| {
        db.prepare(
            "SELECT bytes FROM monitor_updates WHERE name = ?1 AND update_id > ?2
             ORDER BY update_id",
        )?
        .query_map(params![name, signed(after)], |row| row.get(0))?
        .collect()
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn archived_monitor_is_kept_if_the_channel_has_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let kept = ChannelId([1; 32]);
        let sql = "INSERT INTO closed_channels VALUES (?1, 7, '{}')";
        let db = Connection::open(Store::path_in(dir.path())).unwrap();
        db.execute(sql, [kept.0]).unwrap();
        for channel_id in [kept, ChannelId([2; 32])] {
            let name = || channel_id.to_string();
            store.submit_monitor(MonitorWrite::Whole {
                name: name(),
                bytes: vec![7; 100],
                update_id: 0,
                awaited_by: None,
            });
            store.submit_monitor(MonitorWrite::Update {
                name: name(),
                bytes: vec![7; 10],
                update_id: 1,
                awaited_by: Some(channel_id),
            });
            store.submit_monitor(MonitorWrite::Archive {
                name: name(),
                channel_id,
            });
        }
        store.flush();
        let names = |table: &str| -> Vec<String> {
            let mut query = db.prepare(&format!("SELECT name FROM {table}")).unwrap();
            let names = query.query_map([], |row| row.get(0)).unwrap();
            names.collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(names("archived_monitors"), [kept.to_string()]);
        assert!(names("monitors").is_empty() && names("monitor_updates").is_empty());
    }
}
