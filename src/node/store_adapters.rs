//! Store adapters for modules that define their own storage traits.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, Txid};
use lightning_block_sync::BlockHeaderData;

use crate::chain::HeaderLog;
use crate::peers::AddressBook;
use crate::peers::address_book::AddressBookError;
use crate::storage::Store;
use crate::storage::headers::{ForgetHeaders, PutHeader};
use crate::storage::peers::PutPeer;
use crate::storage::wallet::{AppendWalletChange, ReplaceWalletChanges};
use crate::storage::wallet_notes::{DropLease, LeaseRow, PutLabel, PutLease};
use crate::wallet::{ChangeLog, ChangeLogError, Lease, NoteBook};

/// The store behind the storage traits of the wallet, chain and peers modules.
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
        self.0.submit_patiently(PutHeader(header));
    }

    fn forget_below(&self, height: u32) {
        self.0.submit_patiently(ForgetHeaders { below: height });
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
