//! What the registry and its callers ask. No query loads an invoice's whole history unless the caller
//! asks for just that.

use rusqlite::{OptionalExtension, params};

use super::expiry::LAST_DELETED;
use super::records::{
    HtlcRecord, HtlcState, InvoiceRecord, InvoiceState, SetRecord, htlc_record, invoice_record,
    set_record,
};
use crate::storage::sql::{bound, signed, unsigned};
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

impl Store {
    /// # Errors
    /// What SQLite says.
    pub fn invoice_by_hash(&self, hash: &[u8; 32]) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice("SELECT * FROM invoices WHERE payment_hash = ?1", hash)
    }

    /// # Errors
    /// What SQLite says.
    pub fn invoice_by_addr(&self, addr: &[u8; 32]) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice("SELECT * FROM invoices WHERE payment_addr = ?1", addr)
    }

    /// The invoice that a payment hash belongs to, be it its own or that of one of its HTLCs.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn invoice_of_htlc(&self, hash: &[u8; 32]) -> Result<Option<InvoiceRecord>, StorageError> {
        self.one_invoice(
            "SELECT invoices.* FROM invoices JOIN htlcs USING (add_index)
             WHERE htlcs.payment_hash = ?1 LIMIT 1",
            hash,
        )
    }

    /// # Errors
    /// What SQLite says.
    pub fn set(&self, set_id: &[u8; 32]) -> Result<Option<SetRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM amp_sets WHERE set_id = ?1")?
                .query_row([set_id], set_record)
                .optional()
        })
    }

    /// # Errors
    /// What SQLite says.
    pub fn sets_of_invoice(&self, add_index: u64) -> Result<Vec<SetRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM amp_sets WHERE add_index = ?1 ORDER BY settled_at")?
                .query_map([signed(add_index)], set_record)?
                .collect()
        })
    }

    /// # Errors
    /// What SQLite says.
    pub fn htlcs_of_invoice(&self, add_index: u64) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs(
            "WHERE add_index = ?1 ORDER BY htlc_id, channel_id",
            [signed(add_index)],
        )
    }

    /// # Errors
    /// What SQLite says.
    pub fn htlcs_of_set(&self, set_id: &[u8; 32]) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs("WHERE set_id = ?1 ORDER BY htlc_id, channel_id", [set_id])
    }

    /// Those that are held, and those whose settlement was decided but not yet carried out by LDK.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn unresolved_htlcs(&self) -> Result<Vec<HtlcRecord>, StorageError> {
        self.htlcs(
            "WHERE state = ?1 OR (state = ?2 AND claimed = 0) ORDER BY accepted_at",
            [HtlcState::Accepted.number(), HtlcState::Settled.number()],
        )
    }

    /// An HTLC that was seen before.
    ///
    /// # Errors
    /// What SQLite says.
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
    /// What SQLite says.
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
    /// What SQLite says.
    pub fn invoices(&self, page: &InvoicePage) -> Result<Vec<InvoiceRecord>, StorageError> {
        let offset = match (page.index_offset, page.reversed) {
            (0, true) => i64::MAX,
            (offset, _) => bound(offset),
        };
        let query = format!(
            "SELECT * FROM invoices WHERE add_index {} ?1 AND (?2 = 0 OR state = ?3)
             AND created_at >= ?4 AND (?5 = 0 OR created_at <= ?5)
             ORDER BY add_index {} LIMIT ?6",
            if page.reversed { "<" } else { ">" },
            if page.reversed { "DESC" } else { "ASC" },
        );
        let mut found: Vec<InvoiceRecord> = self.query(|db| {
            db.prepare_cached(&query)?
                .query_map(
                    params![
                        offset,
                        page.pending_only,
                        InvoiceState::Open.number(),
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

    /// Invoices that settled as a whole after this settle index.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn invoices_settled_after(&self, index: u64) -> Result<Vec<InvoiceRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT * FROM invoices WHERE settle_index > ?1 ORDER BY settle_index",
            )?
            .query_map([bound(index)], invoice_record)?
            .collect()
        })
    }

    /// AMP sets that settled after this settle index.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn sets_settled_after(&self, index: u64) -> Result<Vec<SetRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT * FROM amp_sets WHERE settle_index > ?1 ORDER BY settle_index",
            )?
            .query_map([bound(index)], set_record)?
            .collect()
        })
    }

    /// # Errors
    /// What SQLite says.
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
