//! Outgoing payments and their attempts.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sql::{array, json, optional_array, parse, signed, unsigned};
use super::{Change, StorageError, Store, Subject};

mod delete;
mod pages;

pub use delete::DeletePayments;
pub use pages::PaymentPage;

/// The state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    InFlight,
    Succeeded,
    Failed,
}

/// The reason why a payment failed, in lnd's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    None,
    Timeout,
    NoRoute,
    Error,
    IncorrectPaymentDetails,
    InsufficientBalance,
    Canceled,
}

/// The state of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    InFlight,
    Succeeded,
    Failed,
}

/// The parameters of a payment request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentTerms {
    /// 33 bytes in hex.
    pub destination: String,
    pub amount_msat: u64,
    /// Maximum total routing fee.
    pub fee_limit_msat: u64,
    /// BOLT 11 text, empty if there is none.
    pub payment_request: String,
    /// The payment secret (BOLT 4: `payment_secret`); keysend payments have none.
    pub payment_addr: Option<[u8; 32]>,
    /// Blocks.
    pub final_cltv_delta: u32,
    /// Maximum total time lock in blocks from now; 0 for 2016.
    pub cltv_limit: u32,
    pub max_parts: u32,
    /// 0: no limit.
    pub max_shard_msat: u64,
    /// Short channel ids; empty for any channel.
    pub outgoing_channels: Vec<u64>,
    /// 33 bytes in hex.
    pub last_hop: Option<String>,
    /// Additional route hints from the API client; the invoice's hints are in its text.
    #[serde(default)]
    pub route_hints: Vec<Vec<HintHopRecord>>,
    /// Custom TLV records (types >= 65536) for the receiver.
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    /// Seconds since 1970 after which no new attempt is made.
    pub deadline: u64,
    /// The API client chooses the routes (SendToRoute).
    #[serde(default)]
    pub by_route: bool,
}

/// A hop of a route hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintHopRecord {
    /// 33 bytes in hex.
    pub node_id: String,
    pub scid: u64,
    pub fee_base_msat: u32,
    /// Millionths of the amount.
    pub fee_ppm: u32,
    /// Blocks.
    pub cltv_delta: u16,
}

/// A row of `payments`.
#[derive(Clone)]
pub struct PaymentRecord {
    /// Payment index, counted from 1.
    pub payment_index: u64,
    /// Payment hash, or set_id for AMP.
    pub identifier: [u8; 32],
    pub created_at_ns: u64,
    pub state: PaymentState,
    /// Reason why an in-flight payment makes no more attempts, if any.
    pub failure_reason: FailureReason,
    /// The preimage of the last attempt that settled.
    pub preimage: Option<[u8; 32]>,
    /// Root share of an in-flight AMP payment, the XOR of all its shares.
    pub root: Option<Zeroizing<[u8; 32]>>,
    pub terms: PaymentTerms,
}

impl std::fmt::Debug for PaymentRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaymentRecord")
            .field("payment_index", &self.payment_index)
            .field("state", &self.state)
            .field("failure_reason", &self.failure_reason)
            .finish_non_exhaustive()
    }
}

/// A hop of a route, as the sender sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopRecord {
    /// 33 bytes in hex.
    pub node_id: String,
    pub scid: u64,
    /// Amount that this hop's node forwards after deducting its fee (BOLT 4: `amt_to_forward`); for
    /// the receiver, the amount it gets.
    pub amt_to_forward_msat: u64,
    pub fee_msat: u64,
    /// Block height in this hop's payload (BOLT 4: `outgoing_cltv_value`).
    pub expiry: u32,
    /// Blocks that this hop's node keeps for itself: how much later than `expiry` the HTLC that it
    /// gets expires; 0 for the receiver.
    pub cltv_delta: u32,
    /// Custom TLV records (types >= 65536) of this attempt only; those of the payment are in its
    /// terms.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_records: BTreeMap<u64, Vec<u8>>,
}

/// The reason why an attempt failed, as far as LDK reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// The receiver rejected the payment permanently.
    pub by_receiver: bool,
    /// The receiver did not get all parts in time (`mpp_timeout`).
    #[serde(default)]
    pub timed_out: bool,
    /// The receiver could not use the payload (`invalid_onion_payload`).
    #[serde(default)]
    pub invalid_payload: bool,
    /// Index of the failing node in the route; 0 is this node.
    pub source_index: u32,
    /// Block height at the time of the failure.
    pub height: u32,
}

/// A row of `attempts`.
#[derive(Clone)]
pub struct AttemptRecord {
    /// Attempt id, counted from 1.
    pub attempt_id: u64,
    pub payment_index: u64,
    /// Payment hash of this HTLC; AMP shards each have their own.
    pub payment_hash: [u8; 32],
    /// Share and child index of an AMP shard.
    pub shard: Option<(Zeroizing<[u8; 32]>, u32)>,
    pub state: AttemptState,
    pub attempt_time_ns: u64,
    pub resolve_time_ns: Option<u64>,
    pub preimage: Option<[u8; 32]>,
    pub route: Vec<HopRecord>,
    pub failure: Option<AttemptFailure>,
}

impl AttemptRecord {
    /// Amount that this attempt delivers, in msat.
    pub fn amount_msat(&self) -> u64 {
        self.route.last().map_or(0, |hop| hop.amt_to_forward_msat)
    }

    /// Routing fee of this attempt, in msat.
    pub fn fee_msat(&self) -> u64 {
        self.route
            .iter()
            .fold(0, |sum, hop| sum.saturating_add(hop.fee_msat))
    }
}

/// Writes a payment, replacing a failed one with the same identifier.
pub struct PutPayment(pub PaymentRecord);

impl Change for PutPayment {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let p = &self.0;
        replace_earlier(db, p)?;
        db.prepare_cached(
            "INSERT INTO payments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (payment_index) DO UPDATE SET state = ?4, failure_reason = ?5,
             preimage = ?6, root = ?7, terms = ?8",
        )?
        .execute(params![
            signed(p.payment_index),
            p.identifier,
            signed(p.created_at_ns),
            p.state.number(),
            p.failure_reason.number(),
            p.preimage,
            p.root.as_deref(),
            json(&p.terms)?,
        ])
        .map(|_| ())
    }

    fn subject(&self) -> Subject {
        Subject::Vital(format!("payment {}", self.0.payment_index))
    }
}

/// Removes an earlier failed payment with this identifier.
fn replace_earlier(db: &Connection, p: &PaymentRecord) -> rusqlite::Result<()> {
    let earlier = params![p.identifier, signed(p.payment_index)];
    let exists = db
        .prepare_cached("SELECT 1 FROM payments WHERE identifier = ?1 AND payment_index <> ?2")?
        .exists(earlier)?;
    if exists {
        delete::save_highest_ids(db)?;
        db.prepare_cached("DELETE FROM payments WHERE identifier = ?1 AND payment_index <> ?2")?
            .execute(earlier)?;
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
            a.payment_hash,
            a.shard.as_ref().map(|(share, _)| &**share),
            a.shard.as_ref().map(|(_, index)| index),
            a.state.number(),
            signed(a.attempt_time_ns),
            a.resolve_time_ns.map(signed),
            a.preimage,
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
        preimage: optional_array(row, "preimage")?,
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
        payment_hash: array(row, "payment_hash")?,
        shard: share.zip(index),
        state: AttemptState::of(row.get("state")?)?,
        attempt_time_ns: unsigned(row.get("attempt_time_ns")?),
        resolve_time_ns: row.get::<_, Option<i64>>("resolve_time_ns")?.map(unsigned),
        preimage: optional_array(row, "preimage")?,
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
