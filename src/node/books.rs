//! What rooms without storage of their own keep in the store.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;

use crate::peers::PeerBook;
use crate::peers::book::BookError;
use crate::storage::Store;
use crate::storage::peers::PutPeer;
use crate::storage::wallet::{AppendWalletChange, ReplaceWalletChanges};
use crate::wallet::{ChangeLog, ChangeLogError};

/// The store, as the rooms know it.
pub(super) struct Books(pub(super) Arc<Store>);

impl ChangeLog for Books {
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

impl PeerBook for Books {
    fn addresses(&self) -> Result<Vec<(PublicKey, String)>, BookError> {
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
