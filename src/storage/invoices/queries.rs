//! What the registry and its callers ask. No query loads an invoice's whole history unless the caller
//! asks for just that.

use rusqlite::{OptionalExtension, params};

use super::expiry::LAST_DELETED;
use super::records::{
    HtlcRecord, InvoiceRecord, SetRecord, htlc_record, invoice_record, set_record,
};
use crate::storage::sql::{bound, optional_array, signed, unsigned};
use crate::storage::{StorageError, Store};

/// Which invoices to list, and in what order.
#[derive(Debug, Clone, Copy, Default)]
pub struct InvoicePage {
    /// Exclusive; 0 is the beginning, or the end if `reversed`.
    pub index_offset: u64,
    pub limit: u64,
    /// The last ones before the offset; still returned oldest first, as lnd does.
    pub reversed: bool,
    pub pending_only: bool,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_from: u64,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_to: u64,
}

/// What a settle index stands for: an invoice that was paid, or one set of an AMP invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub settle_index: u64,
    pub add_index: u64,
    /// `None`: the whole invoice.
    pub set_id: Option<[u8; 32]>,
}

impl Store {
    /// # Errors
    /// If the query fails.
    pub fn invoice_by_hash(&self, hash: &[u8; 32]) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice("SELECT * FROM invoices WHERE payment_hash = ?1", hash)
    }

    /// # Errors
    /// If the query fails.
    pub fn invoice_by_addr(&self, addr: &[u8; 32]) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice("SELECT * FROM invoices WHERE payment_addr = ?1", addr)
    }

    /// # Errors
    /// If the query fails.
    pub fn set(&self, set_id: &[u8; 32]) -> Result<Option<SetRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM amp_sets WHERE set_id = ?1")?
                .query_row([set_id], set_record)
                .optional()
        })
    }

    /// # Errors
    /// If the query fails.
    pub fn htlcs_of_invoice(&self, add_index: u64) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs(
            "WHERE add_index = ?1 ORDER BY htlc_id, channel_id",
            [signed(add_index)],
        )
    }

    /// # Errors
    /// If the query fails.
    pub fn htlcs_of_set(&self, set_id: &[u8; 32]) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs("WHERE set_id = ?1 ORDER BY htlc_id, channel_id", [set_id])
    }

    /// Those that are held, and those whose settlement was decided but not yet carried out by LDK.
    ///
    /// # Errors
    /// If the query fails.
    pub fn unresolved_htlcs(&self) -> Result<Vec<HtlcRecord>, StorageError> {
        // Word by word the condition of the index `htlcs_unresolved`.
        self.htlcs("WHERE claimed = 0 AND state < 2 ORDER BY accepted_at", [])
    }

    /// An HTLC that was seen before.
    ///
    /// # Errors
    /// If the query fails.
    pub fn htlc(
        &self,
        channel_id: &[u8; 32],
        htlc_id: u64,
    ) -> Result<Option<HtlcRecord>, StorageError> {
        let found = self.htlcs(
            "WHERE channel_id = ?1 AND htlc_id = ?2",
            params![channel_id, signed(htlc_id)],
        )?;
        Ok(found.into_iter().next())
    }

    /// The highest add index and the highest settle index that were ever given.
    ///
    /// # Errors
    /// If the query fails.
    pub fn invoice_indices(&self) -> Result<(u64, u64), StorageError> {
        self.query(|db| {
            db.query_row(
                "SELECT MAX(COALESCE((SELECT MAX(add_index) FROM invoices), 0),
                     COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE key = ?1), 0)),
                 MAX(COALESCE((SELECT MAX(settle_index) FROM invoices), 0),
                     COALESCE((SELECT MAX(settle_index) FROM amp_sets), 0))",
                [LAST_DELETED],
                |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))),
            )
        })
    }

    /// # Errors
    /// If the query fails.
    pub fn invoices(&self, page: &InvoicePage) -> Result<Vec<InvoiceRecord>, StorageError> {
        let offset = match (page.index_offset, page.reversed) {
            (0, true) => i64::MAX,
            (offset, _) => bound(offset),
        };
        let (after, order) = if page.reversed {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        // Open or accepted; word by word the condition of the index `invoices_pending`.
        let pending = if page.pending_only {
            "AND state IN (0, 3)"
        } else {
            ""
        };
        let query = format!(
            "SELECT * FROM invoices WHERE add_index {after} ?1 {pending}
             AND created_at >= ?2 AND (?3 = 0 OR created_at <= ?3)
             ORDER BY add_index {order} LIMIT ?4",
        );
        let mut found: Vec<InvoiceRecord> = self.query(|db| {
            db.prepare_cached(&query)?
                .query_map(
                    params![
                        offset,
                        bound(page.created_from),
                        bound(page.created_to),
                        bound(page.limit),
                    ],
                    invoice_record,
                )?
                .collect()
        })?;
        if page.reversed {
            found.reverse();
        }
        Ok(found)
    }

    /// At most `limit` settlements of invoices and of AMP sets after the settle index `after` and
    /// up to `until`, in order.
    ///
    /// # Errors
    /// If the query fails.
    pub fn settlements(
        &self,
        after: u64,
        until: u64,
        limit: u64,
    ) -> Result<Vec<Settlement>, StorageError> {
        let query = "SELECT settle_index, add_index, NULL AS set_id FROM invoices
             WHERE settle_index > ?1 AND settle_index <= ?2
             UNION ALL
             SELECT settle_index, add_index, set_id FROM amp_sets
             WHERE settle_index > ?1 AND settle_index <= ?2
             ORDER BY settle_index LIMIT ?3";
        self.query(|db| {
            db.prepare_cached(query)?
                .query_map(params![bound(after), bound(until), bound(limit)], |row| {
                    Ok(Settlement {
                        settle_index: unsigned(row.get("settle_index")?),
                        add_index: unsigned(row.get("add_index")?),
                        set_id: optional_array(row, "set_id")?,
                    })
                })?
                .collect()
        })
    }

    /// # Errors
    /// If the query fails.
    pub fn invoice(&self, add_index: u64) -> Result<Option<InvoiceRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM invoices WHERE add_index = ?1")?
                .query_row([signed(add_index)], invoice_record)
                .optional()
        })
    }

    fn one_invoice(
        &self,
        query: &str,
        key: &[u8; 32],
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(query)?
                .query_row([key], invoice_record)
                .optional()
        })
    }

    fn htlcs(
        &self,
        condition: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<HtlcRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(&format!("SELECT * FROM htlcs {condition}"))?
                .query_map(params, htlc_record)?
                .collect()
        })
    }
}
