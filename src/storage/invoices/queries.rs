//! Queries for invoices, sets, HTLCs and settlements. No query loads the whole history of an invoice
//! unless that is its purpose.

use ldk_amp::{HtlcKey, PaymentAddr, SetId};
use lightning_types::payment::PaymentHash;
use rusqlite::{OptionalExtension, params};

use super::expiry::LAST_DELETED;
use super::records::{htlc_record, invoice_record, set_record};
use crate::model::htlc::{HtlcRecord, SetRecord};
use crate::model::invoice::{InvoicePage, InvoiceRecord, Settlement};
use crate::storage::creation_days::{self, after_offset};
use crate::storage::sql::{bound, optional_array, signed, unsigned};
use crate::storage::{StorageError, Store};

impl Store {
    /// Returns the invoice with this payment hash.
    ///
    /// # Errors
    /// If the query fails.
    pub fn invoice_by_hash(
        &self,
        hash: &PaymentHash,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice("SELECT * FROM invoices WHERE payment_hash = ?1", &hash.0)
    }

    /// Returns the invoice with this payment address.
    ///
    /// # Errors
    /// If the query fails.
    pub fn invoice_by_addr(
        &self,
        addr: &PaymentAddr,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice(
            "SELECT * FROM invoices WHERE payment_addr = ?1",
            addr.as_bytes(),
        )
    }

    /// Returns an AMP set.
    ///
    /// # Errors
    /// If the query fails.
    pub fn set(&self, set_id: &SetId) -> Result<Option<SetRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM amp_sets WHERE set_id = ?1")?
                .query_row([set_id.as_bytes()], set_record)
                .optional()
        })
    }

    /// Returns all HTLCs of an invoice, in order of HTLC id.
    ///
    /// # Errors
    /// If the query fails.
    pub fn htlcs_of_invoice(&self, add_index: u64) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs(
            "WHERE add_index = ?1 ORDER BY htlc_id, channel_id",
            [signed(add_index)],
        )
    }

    /// Returns all HTLCs of an AMP set, in order of HTLC id.
    ///
    /// # Errors
    /// If the query fails.
    pub fn htlcs_of_set(&self, set_id: &SetId) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs(
            "WHERE set_id = ?1 ORDER BY htlc_id, channel_id",
            [set_id.as_bytes()],
        )
    }

    /// Returns the held HTLCs, and the settled ones that LDK has not claimed yet.
    ///
    /// # Errors
    /// If the query fails.
    pub fn unresolved_htlcs(&self) -> Result<Vec<HtlcRecord>, StorageError> {
        // Must be identical to the condition of the index `htlcs_unresolved`.
        self.htlcs("WHERE claimed = 0 AND state < 2 ORDER BY accepted_at", [])
    }

    /// Returns a stored HTLC.
    ///
    /// # Errors
    /// If the query fails.
    pub fn htlc(&self, key: &HtlcKey) -> Result<Option<HtlcRecord>, StorageError> {
        let found = self.htlcs(
            "WHERE channel_id = ?1 AND htlc_id = ?2",
            params![key.channel_id.0, signed(key.htlc_id)],
        )?;
        Ok(found.into_iter().next())
    }

    /// Returns the highest add index and settle index ever assigned.
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

    /// Returns a page of invoices, oldest first.
    ///
    /// # Errors
    /// If the query fails.
    pub fn invoices(&self, page: &InvoicePage) -> Result<Vec<InvoiceRecord>, StorageError> {
        let order = if page.reversed { "DESC" } else { "ASC" };
        // Open or accepted; must be identical to the condition of the index `invoices_pending`.
        let pending = if page.pending_only {
            "AND state IN (0, 3)"
        } else {
            ""
        };
        let query = format!(
            "SELECT * FROM invoices WHERE add_index BETWEEN ?1 AND ?2 {pending}
             AND created_at >= ?3 AND (?4 = 0 OR created_at <= ?4)
             ORDER BY add_index {order} LIMIT ?5",
        );
        let mut found: Vec<InvoiceRecord> = self.query(|db| {
            let (from, to) = (page.created_from, page.created_to);
            let created = creation_days::INVOICES.indices(db, from, to)?;
            let indices = after_offset(&created, page.index_offset, page.reversed);
            db.prepare_cached(&query)?
                .query_map(
                    params![
                        indices.start(),
                        indices.end(),
                        bound(from),
                        bound(to),
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

    /// Returns at most `limit` settlements of invoices and AMP sets with a settle index above `after`
    /// and up to `until`, in order.
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
                        set_id: optional_array(row, "set_id")?.map(SetId::from_bytes),
                    })
                })?
                .collect()
        })
    }

    /// Returns the invoice with this add index.
    ///
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
