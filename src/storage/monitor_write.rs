//! A pending write of a channel monitor.

use lightning::chain::channelmonitor::ChannelMonitorUpdate;
use lightning::io;
use lightning::ln::types::ChannelId;
use lightning::util::persist::MonitorName;
use lightning::util::ser::{Writeable, Writer};
use rusqlite::{Connection, params};

use super::sql::signed;
use super::{Change, Subject};
use crate::ldk::ChannelMonitor;

/// A pending write of a channel monitor. `awaited_by` is the channel that LDK pauses until the write is on
/// disk, if it pauses one.
pub(super) enum MonitorWrite {
    /// The full monitor, which replaces its earlier updates.
    Whole {
        name: String,
        bytes: Vec<u8>,
        update_id: u64,
        awaited_by: Option<ChannelId>,
    },
    /// An update that applies to the monitor on disk.
    Update {
        name: String,
        bytes: Vec<u8>,
        update_id: u64,
        awaited_by: Option<ChannelId>,
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
        awaited_by: Option<ChannelId>,
    ) -> Self {
        let update_id = monitor.get_latest_update_id();
        Self::Whole {
            name: name.to_string(),
            bytes: monitor.encode(),
            update_id,
            awaited_by,
        }
    }

    pub(super) fn update(
        name: MonitorName,
        update: &ChannelMonitorUpdate,
        awaited_by: Option<ChannelId>,
    ) -> Self {
        let update_id = update.update_id;
        Self::Update {
            name: name.to_string(),
            bytes: update.encode(),
            update_id,
            awaited_by,
        }
    }

    /// Whether something waits for this write.
    pub(super) fn is_urgent(&self) -> bool {
        !matches!(
            self,
            Self::Update {
                awaited_by: None,
                ..
            }
        )
    }

    /// The update that LDK is waiting for, if any.
    pub(super) fn completes(&self) -> Option<(ChannelId, u64)> {
        match self {
            Self::Whole {
                awaited_by,
                update_id,
                ..
            }
            | Self::Update {
                awaited_by,
                update_id,
                ..
            } => awaited_by.map(|channel| (channel, *update_id)),
            Self::Archive { .. } => None,
        }
    }
}

/// Whether this update consists of nothing but a revoked commitment's secret, from the peer's
/// `revoke_and_ack`.
///
/// LDK would hold the HTLCs that the message committed irrevocably until the update is on disk, so that a
/// crash does not undo what was done for them. It cannot here, without that wait: a claim, a failure or a
/// forward is a monitor update itself, whose commit includes this one or follows it, and so is everything
/// that a message to a peer depends on. The exception, `closing_signed`, waits for a commit of its own.
/// Therefore the node completes such an update at once, which saves each payment a commit.
pub(super) fn reveals_secret_only(update: &ChannelMonitorUpdate) -> bool {
    let mut head = Head::default();
    // Stops as soon as the head is full, which is no error here.
    let _ = update.write(&mut head);
    head.bytes[STEPS..] == [0, 0, 0, 0, 0, 0, 0, 1, COMMITMENT_SECRET]
}

/// Number of bytes before the number of steps: two versions and the update id.
const STEPS: usize = 2 + 8;
/// LDK's type number of `ChannelMonitorUpdateStep::CommitmentSecret`, which it does not publish otherwise.
const COMMITMENT_SECRET: u8 = 3;

/// The beginning of an encoded update: up to the type of its first step.
#[derive(Default)]
struct Head {
    bytes: [u8; STEPS + 8 + 1],
    len: usize,
}

impl Writer for Head {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), io::Error> {
        let free = &mut self.bytes[self.len..];
        if free.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let len = bytes.len().min(free.len());
        free[..len].copy_from_slice(&bytes[..len]);
        self.len += len;
        Ok(())
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

#[cfg(test)]
mod tests {
    use lightning::ln::functional_test_utils::{
        create_announced_chan_between_nodes, create_chanmon_cfgs, create_network, create_node_cfgs,
        create_node_chanmgrs, send_payment,
    };

    use super::*;

    /// Compares with what LDK shows of the updates of a real payment.
    #[test]
    fn updates_with_a_secret_and_nothing_else_are_recognized() {
        let monitors = create_chanmon_cfgs(2);
        let configs = create_node_cfgs(2, &monitors);
        let managers = create_node_chanmgrs(2, &configs, &[None, None]);
        let nodes = create_network(2, &configs, &managers);
        let channel_id = create_announced_chan_between_nodes(&nodes, 0, 1).2;
        send_payment(&nodes[0], &[&nodes[1]], 100_000);
        for node in &nodes {
            let updates = node.chain_monitor.monitor_updates.lock().unwrap();
            let updates = &updates[&channel_id];
            let (secret_only, others): (Vec<_>, Vec<_>) = updates
                .iter()
                .partition(|update| reveals_secret_only(update));
            assert!(!secret_only.is_empty() && !others.is_empty());
            for update in secret_only {
                assert_eq!(steps(update), ["CommitmentSecret"]);
            }
            for update in others {
                assert_ne!(steps(update), ["CommitmentSecret"]);
            }
        }
    }

    /// The names of an update's steps.
    fn steps(update: &ChannelMonitorUpdate) -> Vec<String> {
        let names = [
            "LatestHolderCommitment",
            "LatestCounterpartyCommitment",
            "PaymentPreimage {",
            "CommitmentSecret",
            "ReleasePaymentComplete",
        ];
        let text = format!("{update:?}");
        let found = names.iter().filter(|name| text.contains(**name));
        let found: Vec<String> = found.map(ToString::to_string).collect();
        assert!(!found.is_empty(), "unknown step: {text}");
        found
    }
}
