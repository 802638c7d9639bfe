//! Store adapters for modules that define their own storage traits.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, Txid};
use lightning::ln::types::ChannelId;
use lightning_block_sync::BlockHeaderData;

use crate::chain::HeaderLog;
use crate::channels::closed::{ClosedChannel, ClosedChannels};
use crate::channels::closing_transaction::{AgreedClose, ClosingTransaction};
use crate::channels::forwards::{Forward, Forwards};
use crate::clock::{unix_nanos, unix_seconds};
use crate::model::forward::ForwardRow;
use crate::peers::AddressBook;
use crate::peers::address_book::AddressBookError;
use crate::peers::connection::HoldCommits;
use crate::storage::Store;
use crate::storage::channels::{
    AgreedCloseRow, DropAgreedClose, MergeClosedChannel, PutAgreedClose,
};
use crate::storage::forwards::AddForward;
use crate::storage::headers::{ForgetHeaders, PutHeader};
use crate::storage::peers::PutPeer;
use crate::storage::wallet::{AppendWalletChange, ReplaceWalletChanges};
use crate::storage::wallet_notes::{DropLease, LeaseRow, PutLabel, PutLease};
use crate::wallet::{ChangeLog, ChangeLogError, Lease, NoteBook};

/// The store behind the storage traits of the wallet, chain, peers and channels modules.
pub(super) struct StoreAdapters(pub(super) Arc<Store>);

impl ChangeLog for StoreAdapters {
    fn load(&self) -> Result<Vec<Vec<u8>>, ChangeLogError> {
        Ok(self.0.wallet_changes()?)
    }

    fn append(&self, record: Vec<u8>) {
        self.0.submit(AppendWalletChange(record));
    }

    fn replace(&self, record: Vec<u8>) {
        self.0.submit(ReplaceWalletChanges(record));
    }
}

impl NoteBook for StoreAdapters {
    fn labels(&self) -> Result<Vec<(Txid, String)>, ChangeLogError> {
        Ok(self.0.wallet_labels()?)
    }

    fn leases(&self) -> Result<Vec<Lease>, ChangeLogError> {
        let rows = self.0.wallet_leases()?.into_iter();
        let lease = |row: LeaseRow| Lease {
            coin: row.coin,
            id: row.lease_id,
            expires_at: row.expires_at,
        };
        Ok(rows.map(lease).collect())
    }

    fn put_label(&self, txid: Txid, label: &str) {
        let label = label.to_owned();
        self.0.submit(PutLabel { txid, label });
    }

    fn put_lease(&self, lease: Lease, now: u64) {
        let lease = LeaseRow {
            coin: lease.coin,
            lease_id: lease.id,
            expires_at: lease.expires_at,
        };
        self.0.submit(PutLease { lease, now });
    }

    fn drop_lease(&self, coin: OutPoint) {
        self.0.submit(DropLease(coin));
    }
}

impl HeaderLog for StoreAdapters {
    fn put(&self, header: BlockHeaderData) {
        self.0.submit_deferred(PutHeader(header));
    }

    fn forget_below(&self, height: u32) {
        self.0.submit_deferred(ForgetHeaders { below: height });
    }
}

impl AddressBook for StoreAdapters {
    fn addresses(&self) -> Result<Vec<(PublicKey, String)>, AddressBookError> {
        Ok(self.0.peers()?)
    }

    fn remember(&self, peer: PublicKey, address: String) {
        self.0.submit(PutPeer {
            node_id: peer,
            address: Some(address),
        });
    }

    fn forget(&self, peer: &PublicKey) {
        self.0.submit(PutPeer {
            node_id: *peer,
            address: None,
        });
    }
}

impl HoldCommits for StoreAdapters {
    fn hold(&self) -> Box<dyn Send> {
        Box::new(self.0.hold_commits())
    }
}

impl ClosedChannels for StoreAdapters {
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
        self.0.submit(MergeClosedChannel {
            channel_id,
            closed_at: unix_seconds(),
            merge: Box::new(merge),
        });
    }

    /// Before the record exists there is nothing to write: the record includes the transaction.
    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction) {
        let merge =
            move |stored: Option<ClosedChannel>| stored.map(|stored| stored.with_closing(closing));
        self.0.submit(MergeClosedChannel {
            channel_id,
            closed_at: unix_seconds(),
            merge: Box::new(merge),
        });
    }

    fn agreed(&self, close: AgreedClose) {
        self.0.submit(PutAgreedClose(AgreedCloseRow {
            channel_id: close.channel_id,
            transaction: close.transaction,
            forced: close.forced,
            confirmed: close.confirmed,
        }));
    }

    fn buried(&self, channel_id: ChannelId) {
        self.0.submit(DropAgreedClose(channel_id));
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

impl Forwards for StoreAdapters {
    fn record(&self, forward: Forward) {
        let row = ForwardRow {
            forwarded_at_ns: unix_nanos(),
            scid_in: forward.incoming_scid,
            scid_out: forward.outgoing_scid,
            amount_out_msat: forward.amount_out_msat,
            fee_msat: forward.fee_msat,
        };
        self.0.submit_deferred(AddForward {
            row,
            record: forward,
        });
    }
}
