//! The store adapters of this module: how its records are stored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lightning::ln::types::ChannelId;

use super::closed::{ClosedChannel, ClosedChannels};
use super::closing_transaction::{AgreedClose, ClosingTransaction};
use super::forwards::{Forward, Forwards};
use crate::model::forward::ForwardRow;
use crate::storage::Store;
use crate::storage::channels::{
    AgreedCloseRow, DropAgreedClose, MergeClosedChannel, PutAgreedClose,
};
use crate::storage::forwards::AddForward;

impl ClosedChannels for Store {
    fn record(&self, channel: ClosedChannel) {
        let channel_id = channel.channel_id;
        let merge = move |stored: Option<ClosedChannel>| {
            let known = stored.and_then(|stored| stored.closing);
            let record = channel.clone();
            Some(match channel.closing.or(known) {
                Some(closing) => record.with_closing(closing),
                None => record,
            })
        };
        self.submit(MergeClosedChannel {
            channel_id,
            closed_at: now(),
            merge: Box::new(merge),
        });
    }

    /// Before the record exists there is nothing to write: the record includes the transaction.
    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction) {
        let merge =
            move |stored: Option<ClosedChannel>| stored.map(|stored| stored.with_closing(closing));
        self.submit(MergeClosedChannel {
            channel_id,
            closed_at: now(),
            merge: Box::new(merge),
        });
    }

    fn agreed(&self, close: AgreedClose) {
        self.submit(PutAgreedClose(AgreedCloseRow {
            channel_id: close.channel_id,
            transaction: close.transaction,
            forced: close.forced,
            confirmed: close.confirmed,
        }));
    }

    fn buried(&self, channel_id: ChannelId) {
        self.submit(DropAgreedClose(channel_id));
    }
}

impl From<AgreedCloseRow> for AgreedClose {
    fn from(row: AgreedCloseRow) -> Self {
        Self {
            channel_id: row.channel_id,
            transaction: row.transaction,
            forced: row.forced,
            confirmed: row.confirmed,
        }
    }
}

impl Forwards for Store {
    fn record(&self, forward: Forward) {
        let row = ForwardRow {
            forwarded_at_ns: now_ns(),
            scid_in: forward.incoming_scid,
            scid_out: forward.outgoing_scid,
            amount_out_msat: forward.amount_out_msat,
            fee_msat: forward.fee_msat,
        };
        self.submit(AddForward {
            row,
            record: forward,
        });
    }
}

/// Returns the current time in seconds since 1970.
fn now() -> u64 {
    since_1970().as_secs()
}

/// Returns the current time in nanoseconds since 1970, which fits until 2554.
pub(super) fn now_ns() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
