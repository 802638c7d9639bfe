//! Outgoing payments and their attempts.

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use rusqlite::{Connection, OptionalExtension, Row, params};
use zeroize::Zeroizing;

use super::sql::{array, json, optional_array, parse, signed, unsigned};
use super::{Change, StorageError, Store, Subject, creation_days};
use crate::model::attempt::{AttemptRecord, AttemptState};
use crate::model::payment::{FailureReason, PaymentRecord, PaymentState};

mod count;
mod delete;
mod pages;

pub use delete::DeletePayments;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Writes a payment, replacing a failed one with the same identifier.
pub struct PutPayment(pub PaymentRecord);

impl Change for PutPayment {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let p = &self.0;
        replace_earlier(db, p)?;
        if update(db, p)? {
            return Ok(());
        }
        db.prepare_cached("INSERT INTO payments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![
                signed(p.payment_index),
                p.identifier,
                signed(p.created_at_ns),
                p.state.number(),
                p.failure_reason.number(),
                p.preimage.map(|preimage| preimage.0),
                p.root.as_deref(),
                json(&p.terms)?,
            ])?;
        count::add(db, 1)?;
        let created_at = signed(p.created_at_ns) / NANOS_PER_SECOND;
        creation_days::PAYMENTS.add(db, created_at, signed(p.payment_index))
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!("payment {}", self.0.payment_index))
    }
}

/// Updates the row of this payment; returns `false` if there is none.
fn update(db: &Connection, p: &PaymentRecord) -> rusqlite::Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE payments SET state = ?2, failure_reason = ?3, preimage = ?4, root = ?5,
             terms = ?6 WHERE payment_index = ?1",
        )?
        .execute(params![
            signed(p.payment_index),
            p.state.number(),
            p.failure_reason.number(),
            p.preimage.map(|preimage| preimage.0),
            p.root.as_deref(),
            json(&p.terms)?,
        ])?;
    Ok(changed > 0)
}

/// Removes an earlier failed payment with this identifier.
fn replace_earlier(db: &Connection, p: &PaymentRecord) -> rusqlite::Result<()> {
    let earlier = params![p.identifier, signed(p.payment_index)];
    let exists = db
        .prepare_cached("SELECT 1 FROM payments WHERE identifier = ?1 AND payment_index <> ?2")?
        .exists(earlier)?;
    if exists {
        delete::save_highest_ids(db)?;
        let deleted = db
            .prepare_cached("DELETE FROM payments WHERE identifier = ?1 AND payment_index <> ?2")?
            .execute(earlier)?;
        count::subtract(db, deleted)?;
    }
    Ok(())
}

/// Writes an attempt.
pub struct PutAttempt(pub AttemptRecord);

impl Change for PutAttempt {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let a = &self.0;
        let failure = a.failure.as_ref().map(json).transpose()?;
        db.prepare_cached(
            "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (attempt_id) DO UPDATE SET state = ?6, resolve_time_ns = ?8,
             preimage = ?9, route = ?10, failure = ?11",
        )?
        .execute(params![
            signed(a.attempt_id),
            signed(a.payment_index),
            a.payment_hash.0,
            a.shard.as_ref().map(|(share, _)| &**share),
            a.shard.as_ref().map(|(_, index)| index),
            a.state.number(),
            signed(a.attempt_time_ns),
            a.resolve_time_ns.map(signed),
            a.preimage.map(|preimage| preimage.0),
            json(&a.route)?,
            failure,
        ])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!(
            "attempt {} of payment {}",
            self.0.attempt_id, self.0.payment_index
        ))
    }
}

impl Store {
    /// Returns the payment with this identifier (payment hash, or set_id for AMP).
    ///
    /// # Errors
    /// If the query fails.
    pub fn payment(&self, identifier: &[u8; 32]) -> Result<Option<PaymentRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached("SELECT * FROM payments WHERE identifier = ?1")?
                .query_row([identifier], payment_record)
                .optional()
        })
    }

    /// Returns the payments in flight, oldest first.
    ///
    /// # Errors
    /// If the query fails.
    pub fn payments_in_flight(&self) -> Result<Vec<PaymentRecord>, StorageError> {
        self.query(|db| {
            db.prepare("SELECT * FROM payments WHERE state = ?1 ORDER BY payment_index")?
                .query_map([PaymentState::InFlight.number()], payment_record)?
                .collect()
        })
    }

    /// Returns the attempts of a payment, oldest first.
    ///
    /// # Errors
    /// If the query fails.
    pub fn attempts(&self, payment_index: u64) -> Result<Vec<AttemptRecord>, StorageError> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT * FROM attempts WHERE payment_index = ?1 ORDER BY attempt_id",
            )?
            .query_map([signed(payment_index)], attempt_record)?
            .collect()
        })
    }

    /// Returns the highest payment index and attempt id ever assigned.
    ///
    /// # Errors
    /// If the query fails.
    pub fn payment_indices(&self) -> Result<(u64, u64), StorageError> {
        self.query(|db| {
            let (payment, attempt) = delete::saved_highest_ids(db)?;
            db.query_row(
                "SELECT COALESCE((SELECT MAX(payment_index) FROM payments), 0),
                 COALESCE((SELECT MAX(attempt_id) FROM attempts), 0)",
                [],
                |row| {
                    let payment = unsigned(row.get(0)?).max(payment);
                    Ok((payment, unsigned(row.get(1)?).max(attempt)))
                },
            )
        })
    }
}

fn payment_record(row: &Row<'_>) -> rusqlite::Result<PaymentRecord> {
    Ok(PaymentRecord {
        payment_index: unsigned(row.get("payment_index")?),
        identifier: array(row, "identifier")?,
        created_at_ns: unsigned(row.get("created_at_ns")?),
        state: PaymentState::of(row.get("state")?)?,
        failure_reason: FailureReason::of(row.get("failure_reason")?)?,
        preimage: optional_array(row, "preimage")?.map(PaymentPreimage),
        root: optional_array(row, "root")?.map(Zeroizing::new),
        terms: parse(&row.get::<_, String>("terms")?)?,
    })
}

fn attempt_record(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let share = optional_array(row, "share")?.map(Zeroizing::new);
    let index: Option<u32> = row.get("child_index")?;
    Ok(AttemptRecord {
        attempt_id: unsigned(row.get("attempt_id")?),
        payment_index: unsigned(row.get("payment_index")?),
        payment_hash: PaymentHash(array(row, "payment_hash")?),
        shard: share.zip(index),
        state: AttemptState::of(row.get("state")?)?,
        attempt_time_ns: unsigned(row.get("attempt_time_ns")?),
        resolve_time_ns: row.get::<_, Option<i64>>("resolve_time_ns")?.map(unsigned),
        preimage: optional_array(row, "preimage")?.map(PaymentPreimage),
        route: parse(&row.get::<_, String>("route")?)?,
        failure: row
            .get::<_, Option<String>>("failure")?
            .map(|text| parse(&text))
            .transpose()?,
    })
}

super::sql::numbered!(PaymentState { InFlight = 0, Succeeded = 1, Failed = 2 });
super::sql::numbered!(AttemptState { InFlight = 0, Succeeded = 1, Failed = 2 });
super::sql::numbered!(FailureReason {
    None = 0,
    Timeout = 1,
    NoRoute = 2,
    Error = 3,
    IncorrectPaymentDetails = 4,
    InsufficientBalance = 5,
    Canceled = 6,
});

#[cfg(test)]
mod tests;
