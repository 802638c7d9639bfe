//! Labels of on-chain transactions and leases of wallet outputs.

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};
use rusqlite::{Connection, Row, params};

use super::sql::{array, bound, unsigned};
use super::{Change, StorageError, Store, Subject};

/// Sets the label of a transaction.
pub struct PutLabel {
    pub txid: Txid,
    pub label: String,
}

impl Change for PutLabel {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO wallet_labels VALUES (?1, ?2)")?
            .execute(params![self.txid.to_byte_array(), self.label])
            .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("the label of transaction {}", self.txid))
    }
}

/// A stored lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub coin: OutPoint,
    pub lease_id: [u8; 32],
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Adds or replaces the lease of an output and removes leases that expired before `now`.
pub struct PutLease {
    pub lease: LeaseRow,
    /// Seconds since 1970.
    pub now: u64,
}

impl Change for PutLease {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM wallet_leases WHERE expires_at <= ?1")?
            .execute([bound(self.now)])?;
        let lease = &self.lease;
        db.prepare_cached("INSERT OR REPLACE INTO wallet_leases VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                lease.coin.txid.to_byte_array(),
                lease.coin.vout,
                lease.lease_id,
                bound(lease.expires_at)
            ])
            .map(|_| ())
    }
}

/// Releases a lease.
pub struct DropLease(pub OutPoint);

impl Change for DropLease {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM wallet_leases WHERE txid = ?1 AND vout = ?2")?
            .execute(params![self.0.txid.to_byte_array(), self.0.vout])
            .map(|_| ())
    }
}

impl Store {
    /// Returns all labels.
    ///
    /// # Errors
    /// If the query fails.
    pub fn wallet_labels(&self) -> Result<Vec<(Txid, String)>, StorageError> {
        self.query(|db| {
            db.prepare("SELECT txid, label FROM wallet_labels")?
                .query_map([], |row| Ok((txid(row)?, row.get("label")?)))?
                .collect()
        })
    }

    /// Returns all leases, including expired ones.
    ///
    /// # Errors
    /// If the query fails.
    pub fn wallet_leases(&self) -> Result<Vec<LeaseRow>, StorageError> {
        self.query(|db| {
            db.prepare("SELECT txid, vout, lease_id, expires_at FROM wallet_leases")?
                .query_map([], lease)?
                .collect()
        })
    }
}

fn lease(row: &Row<'_>) -> rusqlite::Result<LeaseRow> {
    Ok(LeaseRow {
        coin: OutPoint::new(txid(row)?, row.get("vout")?),
        lease_id: array(row, "lease_id")?,
        expires_at: unsigned(row.get("expires_at")?),
    })
}

fn txid(row: &Row<'_>) -> rusqlite::Result<Txid> {
    array(row, "txid").map(Txid::from_byte_array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coin(vout: u32) -> OutPoint {
        OutPoint::new(Txid::from_byte_array([1; 32]), vout)
    }

    fn put(vout: u32, expires_at: u64, now: u64) -> PutLease {
        let lease = LeaseRow {
            coin: coin(vout),
            lease_id: [vout as u8; 32],
            expires_at,
        };
        PutLease { lease, now }
    }

    #[test]
    fn labels_and_leases_survive_a_restart_until_leases_expire() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.submit(put(1, 100, 50));
        store.submit(put(2, 200, 50));
        store.submit(put(2, 300, 60));
        for label in ["tea", "coffee"] {
            let (txid, label) = (coin(0).txid, label.to_owned());
            store.submit(PutLabel { txid, label });
        }
        store.close().unwrap();

        let store = Store::open(dir.path()).unwrap();
        let labels = store.wallet_labels().unwrap();
        assert_eq!(labels, [(coin(0).txid, "coffee".to_owned())]);
        let leases = store.wallet_leases().unwrap();
        assert_eq!(leases, [put(1, 100, 0).lease, put(2, 300, 0).lease]);
        store.submit(put(3, 400, 100));
        store.submit(DropLease(coin(2)));
        store.submit(DropLease(coin(9)));
        store.flush();
        assert_eq!(store.wallet_leases().unwrap(), [put(3, 400, 0).lease]);
    }

    #[test]
    fn leases_may_never_expire() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.submit(put(1, u64::MAX, 50));
        store.submit(put(2, 200, 100));
        store.flush();
        assert_eq!(store.wallet_leases().unwrap().len(), 2);
    }
}
