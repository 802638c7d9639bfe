//! Changes that the invoice registry writes. All of them are idempotent.

use lightning_types::payment::PaymentHash;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord};
use crate::model::invoice::{InvoiceRecord, InvoiceState};
use crate::storage::sql::{json, signed};
use crate::storage::{Change, Subject, creation_days};

/// Writes an invoice.
pub struct PutInvoice(pub InvoiceRecord);

impl Change for PutInvoice {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let i = &self.0;
        if update(db, i)? {
            return Ok(());
        }
        db.prepare_cached(
            "INSERT INTO invoices VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            signed(i.add_index),
            i.kind.number(),
            i.payment_hash.0,
            i.payment_addr.as_bytes(),
            i.preimage.map(|preimage| preimage.0),
            json(&i.terms)?,
            signed(i.value_msat),
            signed(i.created_at),
            i.state.number(),
            i.settle_index.map(signed),
            i.settled_at.map(signed),
            signed(i.amt_paid_msat),
            i.expires_at.map(signed),
        ])?;
        creation_days::INVOICES.add(db, signed(i.created_at), signed(i.add_index))
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!("invoice {}", self.0.add_index))
    }
}

/// Updates the row of this invoice; returns `false` if there is none.
fn update(db: &Connection, i: &InvoiceRecord) -> rusqlite::Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE invoices SET preimage = ?2, state = ?3, settle_index = ?4, settled_at = ?5,
             amt_paid_msat = ?6 WHERE add_index = ?1",
        )?
        .execute(params![
            signed(i.add_index),
            i.preimage.map(|preimage| preimage.0),
            i.state.number(),
            i.settle_index.map(signed),
            i.settled_at.map(signed),
            signed(i.amt_paid_msat),
        ])?;
    Ok(changed > 0)
}

/// Writes the state of an invoice only. The amount paid to an AMP invoice is summed in the database,
/// so a record in memory may not have it.
pub struct PutInvoiceState {
    pub add_index: u64,
    pub state: InvoiceState,
}

impl Change for PutInvoiceState {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("UPDATE invoices SET state = ?2 WHERE add_index = ?1")?
            .execute(params![signed(self.add_index), self.state.number()])
            .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!("the state of invoice {}", self.add_index))
    }
}

/// Writes an AMP set. When the set settles, its amount is added to the invoice, exactly once.
pub struct PutSet(pub SetRecord);

impl Change for PutSet {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let set = &self.0;
        let settled_before: Option<bool> = db
            .prepare_cached("SELECT state = ?2 FROM amp_sets WHERE set_id = ?1")?
            .query_row(
                params![set.set_id.as_bytes(), HtlcState::Settled.number()],
                |row| row.get(0),
            )
            .optional()?;
        db.prepare_cached(
            "INSERT INTO amp_sets VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (set_id) DO UPDATE SET state = ?3, settle_index = ?4, settled_at = ?5,
             amt_paid_msat = ?6",
        )?
        .execute(params![
            set.set_id.as_bytes(),
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

    fn subject(&self) -> Subject {
        Subject::Vital(format!(
            "AMP set {} of invoice {}",
            self.0.set_id, self.0.add_index
        ))
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
            h.channel_id.0,
            signed(h.htlc_id),
            signed(h.add_index),
            h.shard.as_ref().map(|s| s.set_id.to_bytes()),
            h.payment_hash.0,
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
            h.preimage.map(|preimage| preimage.0),
            h.shard.as_ref().map(|s| s.ephemeral_key),
        ])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!(
            "HTLC {} of channel {}",
            self.0.htlc_id, self.0.channel_id
        ))
    }
}

/// Marks the settled HTLCs with this payment hash as claimed by LDK.
pub struct MarkClaimed {
    pub payment_hash: PaymentHash,
}

impl Change for MarkClaimed {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("UPDATE htlcs SET claimed = 1 WHERE payment_hash = ?1 AND state = ?2")?
            .execute(params![self.payment_hash.0, HtlcState::Settled.number()])
            .map(|_| ())
    }
}
