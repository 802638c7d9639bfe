//! The store adapters of this module: how its records are stored.

use lightning::ln::types::ChannelId;

use super::closed::{ClosedChannel, ClosedChannels};
use super::closing_transaction::{AgreedClose, ClosingTransaction};
use super::forwards::{Forward, Forwards};
use crate::clock::{unix_nanos, unix_seconds};
use crate::storage::Store;
use crate::storage::channels::{
    AgreedCloseRow, DropAgreedClose, MergeClosedChannel, PutAgreedClose,
};
use crate::storage::forwards::{AddForward, ForwardRow};

impl ClosedChannels for Store {
    fn record(&self, channel: ClosedChannel) {
        let channel_id = channel.channel_id.0;
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
            closed_at: unix_seconds(),
            merge: Box::new(merge),
        });
    }

    /// Before the record exists there is nothing to write: the record includes the transaction.
    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction) {
        let merge =
            move |stored: Option<ClosedChannel>| stored.map(|stored| stored.with_closing(closing));
        let channel_id = channel_id.0;
        self.submit(MergeClosedChannel {
            channel_id,
            closed_at: unix_seconds(),
            merge: Box::new(merge),
        });
    }

    fn agreed(&self, close: AgreedClose) {
        self.submit(PutAgreedClose(AgreedCloseRow {
            channel_id: close.channel_id.0,
            transaction: close.transaction,
            forced: close.forced,
            confirmed: close.confirmed,
        }));
    }

    fn buried(&self, channel_id: ChannelId) {
        self.submit(DropAgreedClose(channel_id.0));
    }
}

impl From<AgreedCloseRow> for AgreedClose {
    fn from(row: AgreedCloseRow) -> Self {
        Self {
            channel_id: ChannelId(row.channel_id),
            transaction: row.transaction,
            forced: row.forced,
            confirmed: row.confirmed,
        }
    }
}

impl Forwards for Store {
    fn record(&self, forward: Forward) {
        let row = ForwardRow {
            forwarded_at_ns: unix_nanos(),
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
