//! A pending write of a channel monitor.

use lightning::chain::channelmonitor::ChannelMonitorUpdate;
use lightning::ln::types::ChannelId;
use lightning::util::persist::MonitorName;
use lightning::util::ser::Writeable;
use rusqlite::{Connection, params};

use super::sql::signed;
use super::{Change, Subject};
use crate::ldk::ChannelMonitor;

/// A pending write of a channel monitor.
pub(super) enum MonitorWrite {
    /// The full monitor, which replaces its earlier updates.
    Whole {
        name: String,
        bytes: Vec<u8>,
        update_id: u64,
        completes: Option<ChannelId>,
    },
    /// An update that applies to the monitor on disk.
    Update {
        name: String,
        bytes: Vec<u8>,
        update_id: u64,
        channel_id: ChannelId,
    },
    /// The channel is resolved: its monitor is archived and no longer read at startup. Without a
    /// record in `closed_channels` the monitor is deleted: the funding was never seen, and none of
    /// its value was ours.
    Archive { name: String, channel_id: ChannelId },
}

impl MonitorWrite {
    pub(super) fn whole(
        name: MonitorName,
        monitor: &ChannelMonitor,
        completes: Option<ChannelId>,
    ) -> Self {
        let update_id = monitor.get_latest_update_id();
        Self::Whole {
            name: name.to_string(),
            bytes: monitor.encode(),
            update_id,
            completes,
        }
    }

    pub(super) fn update(
        name: MonitorName,
        update: &ChannelMonitorUpdate,
        channel_id: ChannelId,
    ) -> Self {
        let update_id = update.update_id;
        Self::Update {
            name: name.to_string(),
            bytes: update.encode(),
            update_id,
            channel_id,
        }
    }

    /// The update that LDK is waiting for, if any.
    pub(super) fn completes(&self) -> Option<(ChannelId, u64)> {
        match self {
            Self::Whole {
                completes,
                update_id,
                ..
            } => completes.map(|id| (id, *update_id)),
            Self::Update {
                channel_id,
                update_id,
                ..
            } => Some((*channel_id, *update_id)),
            Self::Archive { .. } => None,
        }
    }
}

impl Change for MonitorWrite {
    fn subject(&self) -> Subject {
        let (Self::Whole { name, .. } | Self::Update { name, .. } | Self::Archive { name, .. }) =
            self;
        Subject::Vital(format!("the monitor of channel {name}"))
    }

    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Whole {
                name,
                bytes,
                update_id,
                ..
            } => {
                db.prepare_cached("INSERT OR REPLACE INTO monitors VALUES (?1, ?2)")?
                    .execute(params![name, bytes])?;
                db.prepare_cached(
                    "DELETE FROM monitor_updates WHERE name = ?1 AND update_id <= ?2",
                )?
                .execute(params![name, signed(*update_id)])?;
            }
            Self::Update {
                name,
                bytes,
                update_id,
                ..
            } => {
                db.prepare_cached("INSERT OR REPLACE INTO monitor_updates VALUES (?1, ?2, ?3)")?
                    .execute(params![name, signed(*update_id), bytes])?;
            }
            Self::Archive { name, channel_id } => {
                db.prepare_cached(
                    "INSERT OR REPLACE INTO archived_monitors
                     SELECT name, bytes FROM monitors WHERE name = ?1
                     AND EXISTS (SELECT 1 FROM closed_channels WHERE channel_id = ?2)",
                )?
                .execute(params![name, channel_id.0])?;
                db.prepare_cached("DELETE FROM monitors WHERE name = ?1")?
                    .execute([name])?;
                db.prepare_cached("DELETE FROM monitor_updates WHERE name = ?1")?
                    .execute([name])?;
            }
        }
        Ok(())
    }
}
