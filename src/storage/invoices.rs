//! Invoices, AMP sets and HTLCs that pay them.
//!
//! A record is a row; writing one replaces the row of the same key, so a change may be applied again
//! without harm. No query loads an invoice's whole history unless the caller asks for just that.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::sql::{array, bound, json, optional_array, parse, signed, unsigned};
use super::{Change, StorageError, Store};

/// What kind of payment an invoice takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceKind {
    /// An ordinary BOLT 11 invoice of ours, paid once by its payment hash.
    Bolt11,
    /// Made the moment the first shard of a spontaneous AMP payment arrived.
    SpontaneousAmp,
}

/// Where an invoice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceState {
    Open,
    Settled,
    Canceled,
}

/// Where an HTLC, or an AMP set, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcState {
    /// Held.
    Accepted,
    Settled,
    Canceled,
}

/// What an invoice says, beside what is asked for in SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTerms {
    pub memo: String,
    pub description_hash: Option<[u8; 32]>,
    /// BOLT 11 text; empty for spontaneous payments.
    pub payment_request: String,
    /// Seconds from creation; 0 for spontaneous payments, as lnd shows it.
    pub expiry: u64,
    /// Blocks.
    pub cltv_delta: u32,
    pub private: bool,
}

/// A row of `invoices`.
#[derive(Clone, PartialEq, Eq)]
pub struct InvoiceRecord {
    /// Counts invoices from 1, in the order of their creation.
    pub add_index: u64,
    pub kind: InvoiceKind,
    /// For a spontaneous AMP payment: the hash of the first shard that arrived, as in lnd.
    pub payment_hash: [u8; 32],
    pub payment_addr: [u8; 32],
    pub preimage: Option<[u8; 32]>,
    pub terms: InvoiceTerms,
    /// 0: any amount.
    pub value_msat: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    pub state: InvoiceState,
    /// Counts settlements, of invoices and of sets together, from 1.
    pub settle_index: Option<u64>,
    pub settled_at: Option<u64>,
    pub amt_paid_msat: u64,
}

/// A row of `amp_sets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRecord {
    pub set_id: [u8; 32],
    pub add_index: u64,
    pub state: HtlcState,
    pub settle_index: Option<u64>,
    pub settled_at: Option<u64>,
    pub amt_paid_msat: u64,
}

/// What an AMP shard carries beside its amount.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardRecord {
    pub set_id: [u8; 32],
    pub share: [u8; 32],
    pub child_index: u32,
    /// The onion's ephemeral key, from which the shared secret can be had again.
    pub ephemeral_key: [u8; 33],
}

impl std::fmt::Debug for ShardRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardRecord")
            .field("child_index", &self.child_index)
            .finish_non_exhaustive()
    }
}

/// A row of `htlcs`.
#[derive(Clone, PartialEq, Eq)]
pub struct HtlcRecord {
    pub channel_id: [u8; 32],
    pub htlc_id: u64,
    pub add_index: u64,
    pub payment_hash: [u8; 32],
    pub scid: u64,
    pub amount_msat: u64,
    /// What the sender said the whole payment is.
    pub total_msat: u64,
    pub accept_height: u32,
    /// Seconds since 1970.
    pub accepted_at: u64,
    pub resolved_at: Option<u64>,
    pub expiry_height: u32,
    /// The height at which LDK fails it back by itself.
    pub claim_deadline: Option<u32>,
    pub state: HtlcState,
    /// LDK said `PaymentClaimed`: nothing is left to do.
    pub claimed: bool,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    pub shard: Option<ShardRecord>,
    pub preimage: Option<[u8; 32]>,
}

/// Who has the preimage of an open invoice can claim what is paid to it on its way.
impl std::fmt::Debug for InvoiceRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvoiceRecord")
            .field("add_index", &self.add_index)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .field("value_msat", &self.value_msat)
            .field("settle_index", &self.settle_index)
            .field("amt_paid_msat", &self.amt_paid_msat)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for HtlcRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HtlcRecord")
            .field("htlc_id", &self.htlc_id)
            .field("add_index", &self.add_index)
            .field("amount_msat", &self.amount_msat)
            .field("state", &self.state)
            .field("claimed", &self.claimed)
            .finish_non_exhaustive()
    }
}

/// Writes an invoice.
pub struct PutInvoice(pub InvoiceRecord);

impl Change for PutInvoice {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let i = &self.0;
        db.prepare_cached(
            "INSERT INTO invoices VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (add_index) DO UPDATE SET state = ?9, settle_index = ?10,
             settled_at = ?11, amt_paid_msat = ?12",
        )?
        .execute(params![
            signed(i.add_index),
            i.kind.number(),
            i.payment_hash,
            i.payment_addr,
            i.preimage,
            json(&i.terms)?,
            signed(i.value_msat),
            signed(i.created_at),
            i.state.number(),
            i.settle_index.map(signed),
            i.settled_at.map(signed),
            signed(i.amt_paid_msat),
        ])
        .map(|_| ())
    }
}

/// Writes a set. The amount of a set that settles is added to its invoice once.
pub struct PutSet(pub SetRecord);

impl Change for PutSet {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let set = &self.0;
        let settled_before: Option<bool> = db
            .prepare_cached("SELECT state = ?2 FROM amp_sets WHERE set_id = ?1")?
            .query_row(params![set.set_id, HtlcState::Settled.number()], |row| {
                row.get(0)
            })
            .optional()?;
        db.prepare_cached(
            "INSERT INTO amp_sets VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (set_id) DO UPDATE SET state = ?3, settle_index = ?4, settled_at = ?5,
             amt_paid_msat = ?6",
        )?
        .execute(params![
            set.set_id,
            signed(set.add_index),
            set.state.number(),
            set.settle_index.map(signed),
            set.settled_at.map(signed),
            signed(set.amt_paid_msat),
        ])?;
        if set.state == HtlcState::Settled && settled_before != Some(true) {
            db.prepare_cached(
                "UPDATE invoices SET amt_paid_msat = amt_paid_msat + ?2 WHERE add_index = ?1",
            )?
            .execute(params![signed(set.add_index), signed(set.amt_paid_msat)])?;
        }
        Ok(())
    }
}

/// Writes an HTLC.
pub struct PutHtlc(pub HtlcRecord);

impl Change for PutHtlc {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let h = &self.0;
        db.prepare_cached(
            "INSERT OR REPLACE INTO htlcs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
             ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
        )?
        .execute(params![
            h.channel_id,
            signed(h.htlc_id),
            signed(h.add_index),
            h.shard.as_ref().map(|s| s.set_id),
            h.payment_hash,
            signed(h.scid),
            signed(h.amount_msat),
            signed(h.total_msat),
            h.accept_height,
            signed(h.accepted_at),
            h.resolved_at.map(signed),
            h.expiry_height,
            h.claim_deadline,
            h.state.number(),
            h.claimed,
            json(&h.custom_records)?,
            h.shard.as_ref().map(|s| s.share),
            h.shard.as_ref().map(|s| s.child_index),
            h.preimage,
            h.shard.as_ref().map(|s| s.ephemeral_key),
        ])
        .map(|_| ())
    }
}

/// LDK has claimed all HTLCs of this hash.
pub struct MarkClaimed {
    pub payment_hash: [u8; 32],
}

impl Change for MarkClaimed {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("UPDATE htlcs SET claimed = 1 WHERE payment_hash = ?1 AND state = ?2")?
            .execute(params![self.payment_hash, HtlcState::Settled.number()])
            .map(|_| ())
    }
}

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

    /// The highest add index and the highest settle index so far.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn invoice_indices(&self) -> Result<(u64, u64), StorageError> {
        self.query(|db| {
            db.query_row(
                "SELECT COALESCE((SELECT MAX(add_index) FROM invoices), 0),
                 MAX(COALESCE((SELECT MAX(settle_index) FROM invoices), 0),
                     COALESCE((SELECT MAX(settle_index) FROM amp_sets), 0))",
                [],
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

fn invoice_record(row: &Row<'_>) -> rusqlite::Result<InvoiceRecord> {
    Ok(InvoiceRecord {
        add_index: unsigned(row.get("add_index")?),
        kind: InvoiceKind::of(row.get("kind")?)?,
        payment_hash: array(row, "payment_hash")?,
        payment_addr: array(row, "payment_addr")?,
        preimage: optional_array(row, "preimage")?,
        terms: parse(&row.get::<_, String>("terms")?)?,
        value_msat: unsigned(row.get("value_msat")?),
        created_at: unsigned(row.get("created_at")?),
        state: InvoiceState::of(row.get("state")?)?,
        settle_index: row.get::<_, Option<i64>>("settle_index")?.map(unsigned),
        settled_at: row.get::<_, Option<i64>>("settled_at")?.map(unsigned),
        amt_paid_msat: unsigned(row.get("amt_paid_msat")?),
    })
}

fn set_record(row: &Row<'_>) -> rusqlite::Result<SetRecord> {
    Ok(SetRecord {
        set_id: array(row, "set_id")?,
        add_index: unsigned(row.get("add_index")?),
        state: HtlcState::of(row.get("state")?)?,
        settle_index: row.get::<_, Option<i64>>("settle_index")?.map(unsigned),
        settled_at: row.get::<_, Option<i64>>("settled_at")?.map(unsigned),
        amt_paid_msat: unsigned(row.get("amt_paid_msat")?),
    })
}

fn htlc_record(row: &Row<'_>) -> rusqlite::Result<HtlcRecord> {
    Ok(HtlcRecord {
        channel_id: array(row, "channel_id")?,
        htlc_id: unsigned(row.get("htlc_id")?),
        add_index: unsigned(row.get("add_index")?),
        payment_hash: array(row, "payment_hash")?,
        scid: unsigned(row.get("scid")?),
        amount_msat: unsigned(row.get("amount_msat")?),
        total_msat: unsigned(row.get("total_msat")?),
        accept_height: row.get("accept_height")?,
        accepted_at: unsigned(row.get("accepted_at")?),
        resolved_at: row.get::<_, Option<i64>>("resolved_at")?.map(unsigned),
        expiry_height: row.get("expiry_height")?,
        claim_deadline: row.get("claim_deadline")?,
        state: HtlcState::of(row.get("state")?)?,
        claimed: row.get("claimed")?,
        custom_records: parse(&row.get::<_, String>("custom_records")?)?,
        shard: shard_record(row)?,
        preimage: optional_array(row, "preimage")?,
    })
}

fn shard_record(row: &Row<'_>) -> rusqlite::Result<Option<ShardRecord>> {
    let Some(set_id) = optional_array(row, "set_id")? else {
        return Ok(None);
    };
    Ok(Some(ShardRecord {
        set_id,
        share: array(row, "share")?,
        child_index: row.get("child_index")?,
        ephemeral_key: array(row, "ephemeral_key")?,
    }))
}

super::sql::numbered!(InvoiceKind { Bolt11 = 0, SpontaneousAmp = 1 });
super::sql::numbered!(InvoiceState { Open = 0, Settled = 1, Canceled = 2 });
super::sql::numbered!(HtlcState { Accepted = 0, Settled = 1, Canceled = 2 });

#[cfg(test)]
mod tests;
