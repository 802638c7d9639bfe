//! Invoices of the donation page and the totals they received.

use rusqlite::{Connection, OptionalExtension, params};

use super::sql::{signed, unsigned};
use super::{Change, StorageError, Store, Subject};
use crate::model::invoice::InvoiceRecord;

/// Makes this invoice, which is stored or queued before this change, the page's current one.
pub struct PutDonationInvoice {
    pub add_index: u64,
}

impl Change for PutDonationInvoice {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        // An invoice deleted in the meantime must not make the commit fail.
        db.prepare_cached(
            "INSERT OR IGNORE INTO donation_invoices
             SELECT add_index FROM invoices WHERE add_index = ?1",
        )?
        .execute(params![signed(self.add_index)])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("donation page invoice {}", self.add_index))
    }
}

/// Makes the wallet's receiving address with this index the page's current one.
pub struct PutDonationAddress {
    pub index: u32,
}

impl Change for PutDonationAddress {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO donation_address VALUES (0, ?1)")?
            .execute(params![self.index])
            .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Informative(format!("donation page address {}", self.index))
    }
}

/// Totals of the page's payments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DonationTotal {
    pub payments: u64,
    pub amt_msat: u64,
    /// The settle index of the latest payment; 0 if there is none.
    pub last_settle_index: u64,
}

impl Store {
    /// Returns the page's invoices, the current one last.
    ///
    /// # Errors
    /// If the query fails.
    pub fn donation_invoices(&self) -> Result<Vec<InvoiceRecord>, StorageError> {
        let indices: Vec<u64> = self.query(|db| {
            db.prepare_cached("SELECT add_index FROM donation_invoices ORDER BY add_index")?
                .query_map([], |row| Ok(unsigned(row.get(0)?)))?
                .collect()
        })?;
        let records = indices.into_iter().map(|index| self.invoice(index));
        // Skips invoices deleted in the meantime.
        records.filter_map(Result::transpose).collect()
    }

    /// Returns the page's current invoice; `None` if it never had one or it was deleted.
    ///
    /// # Errors
    /// If the query fails.
    pub fn last_donation_invoice(&self) -> Result<Option<InvoiceRecord>, StorageError> {
        let last: Option<i64> = self.query(|db| {
            db.prepare_cached("SELECT MAX(add_index) FROM donation_invoices")?
                .query_row([], |row| row.get(0))
        })?;
        last.map_or(Ok(None), |index| self.invoice(unsigned(index)))
    }

    /// Returns the index of the receiving address on the page.
    ///
    /// # Errors
    /// If the query fails.
    pub fn donation_address(&self) -> Result<Option<u32>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT address_index FROM donation_address")?
                .query_row([], |row| row.get(0))
                .optional()
        })
    }

    /// Returns the totals paid to the page's invoices.
    ///
    /// # Errors
    /// If the query fails.
    pub fn donation_total(&self) -> Result<DonationTotal, StorageError> {
        let query = "SELECT COUNT(*), COALESCE(SUM(s.amt_paid_msat), 0),
                 COALESCE(MAX(s.settle_index), 0)
             FROM donation_invoices AS d JOIN amp_sets AS s ON s.add_index = d.add_index
             WHERE s.settle_index > 0";
        self.query(|db| {
            db.prepare_cached(query)?.query_row([], |row| {
                Ok(DonationTotal {
                    payments: unsigned(row.get(0)?),
                    amt_msat: unsigned(row.get(1)?),
                    last_settle_index: unsigned(row.get(2)?),
                })
            })
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ldk_amp::{PaymentAddr, SetId};
    use lightning_types::payment::PaymentHash;

    use super::*;
    use crate::model::htlc::{HtlcState, SetRecord};
    use crate::model::invoice::{InvoiceKind, InvoiceState, InvoiceTerms};
    use crate::storage::invoices::{DeleteInvoice, PutInvoice, PutSet};

    /// A static invoice without expiry.
    pub(crate) fn invoice(add_index: u64) -> InvoiceRecord {
        InvoiceRecord {
            add_index,
            kind: InvoiceKind::Amp,
            payment_hash: PaymentHash([add_index as u8; 32]),
            payment_addr: PaymentAddr::from_bytes([add_index as u8; 32]),
            preimage: None,
            terms: InvoiceTerms::default(),
            value_msat: 0,
            created_at: 1,
            expires_at: None,
            state: InvoiceState::Open,
            settle_index: None,
            settled_at: None,
            amt_paid_msat: 0,
        }
    }

    fn paid(add_index: u64, settle_index: u64, amt_paid_msat: u64) -> PutSet {
        PutSet(SetRecord {
            set_id: SetId::from_bytes([settle_index as u8; 32]),
            add_index,
            state: HtlcState::Settled,
            settle_index: Some(settle_index),
            settled_at: Some(7),
            amt_paid_msat,
        })
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn total_includes_all_invoices_of_the_page() {
        let (_directory, store) = store();
        assert_eq!(store.donation_total().unwrap(), DonationTotal::default());
        for add_index in 1..=3 {
            store.submit(PutInvoice(invoice(add_index)));
        }
        // Invoice 2 does not belong to the page; invoice 1 is added twice but counted once.
        for add_index in [1, 3, 1] {
            store.submit(PutDonationInvoice { add_index });
        }
        for (index, (add_index, msat)) in (1..).zip([(1, 5), (2, 100), (3, 20), (1, 3)]) {
            store.submit(paid(add_index, index, msat));
        }
        store.flush();
        let expected = DonationTotal {
            payments: 3,
            amt_msat: 28,
            last_settle_index: 4,
        };
        assert_eq!(store.donation_total().unwrap(), expected);
        let invoices = store.donation_invoices().unwrap();
        let indices: Vec<_> = invoices.iter().map(|invoice| invoice.add_index).collect();
        assert_eq!(indices, [1, 3]);
    }

    #[test]
    fn deleted_invoices_are_removed_from_the_page() {
        let (_directory, store) = store();
        store.submit(PutInvoice(invoice(1)));
        store.submit(PutDonationInvoice { add_index: 1 });
        store.submit(DeleteInvoice { add_index: 1 });
        store.submit(PutDonationInvoice { add_index: 1 });
        store.flush();
        assert!(store.donation_invoices().unwrap().is_empty());
    }
}
