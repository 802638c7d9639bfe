//! Rows of the tables `invoices`, `amp_sets` and `htlcs`.

use std::collections::BTreeMap;

use ldk_amp::HtlcKey;
use lightning::ln::types::ChannelId;
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::storage::sql::{array, numbered, optional_array, parse, unsigned};

/// The kind of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceKind {
    /// An ordinary BOLT 11 invoice, paid once to its payment hash.
    Bolt11,
    /// Created when the first shard of a spontaneous AMP payment arrived.
    SpontaneousAmp,
    /// A static AMP invoice: can be paid any number of times, each time by a new set.
    Amp,
    /// A hold invoice as in lnd: paid once like [`Self::Bolt11`], but the API client that created it
    /// has the preimage and settles or cancels it.
    Hold,
    /// Created when a keysend payment arrived: a spontaneous payment that carries its preimage.
    Keysend,
}

impl InvoiceKind {
    /// Returns whether the invoice is paid by AMP sets, whose HTLCs have different payment hashes.
    pub const fn is_amp(self) -> bool {
        matches!(self, Self::SpontaneousAmp | Self::Amp)
    }
}

/// The state of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceState {
    /// Can be paid. An AMP invoice stays open after payments.
    Open,
    Settled,
    Canceled,
    /// A hold invoice whose payment is held until it is settled or canceled.
    Accepted,
    /// A static invoice that the operator has disabled temporarily.
    Disabled,
}

/// The state of an HTLC or of an AMP set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcState {
    /// Held by this node.
    Accepted,
    Settled,
    Canceled,
}

/// The fields of an invoice that are not used in SQL queries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTerms {
    pub memo: String,
    pub description_hash: Option<[u8; 32]>,
    /// BOLT 11 text; empty for spontaneous payments.
    pub payment_request: String,
    /// Seconds from creation; 0 for spontaneous payments, as in lnd.
    pub expiry: u64,
    /// Final CLTV delta, in blocks.
    pub cltv_delta: u32,
    /// Whether the route hints reveal our unannounced channels.
    pub private: bool,
}

/// A row of `invoices`.
#[derive(Clone, PartialEq, Eq)]
pub struct InvoiceRecord {
    /// Number of the invoice, counted from 1 in order of creation.
    pub add_index: u64,
    pub kind: InvoiceKind,
    /// For a spontaneous AMP payment, the hash of the first shard that arrived, as in lnd.
    pub payment_hash: [u8; 32],
    pub payment_addr: [u8; 32],
    pub preimage: Option<[u8; 32]>,
    pub terms: InvoiceTerms,
    /// 0: any amount.
    pub value_msat: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970; `None`: never.
    pub expires_at: Option<u64>,
    pub state: InvoiceState,
    /// Number of the settlement, counted from 1 over invoices and sets together.
    pub settle_index: Option<u64>,
    /// Seconds since 1970.
    pub settled_at: Option<u64>,
    pub amt_paid_msat: u64,
}

impl InvoiceRecord {
    /// Returns whether the invoice is open but expired at `now` (seconds since 1970).
    pub fn is_expired(&self, now: u64) -> bool {
        self.state == InvoiceState::Open && self.expires_at.is_some_and(|last| now > last)
    }
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

/// The AMP fields of a shard.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardRecord {
    pub set_id: [u8; 32],
    pub share: [u8; 32],
    pub child_index: u32,
    /// The ephemeral key of the onion, from which the shared secret can be derived again.
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
    /// Total amount of the payment according to the sender (BOLT 4: `total_msat`).
    pub total_msat: u64,
    pub accept_height: u32,
    /// Seconds since 1970.
    pub accepted_at: u64,
    /// Seconds since 1970.
    pub resolved_at: Option<u64>,
    pub expiry_height: u32,
    /// The height at which LDK fails the HTLC back.
    pub claim_deadline: Option<u32>,
    pub state: HtlcState,
    /// LDK has reported `PaymentClaimed`: the HTLC is resolved.
    pub claimed: bool,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    pub shard: Option<ShardRecord>,
    pub preimage: Option<[u8; 32]>,
}

impl HtlcRecord {
    /// Identifies the HTLC.
    pub fn key(&self) -> HtlcKey {
        HtlcKey {
            channel_id: ChannelId(self.channel_id),
            htlc_id: self.htlc_id,
        }
    }

    /// Marks the HTLC as canceled at `now` (seconds since 1970) and drops its custom records, which
    /// would let senders use disk space without paying.
    pub fn cancel(&mut self, now: u64) {
        self.state = HtlcState::Canceled;
        self.resolved_at = Some(now);
        self.custom_records.clear();
    }
}

/// Omits the preimage: with the preimage of an open invoice, forwarding nodes could claim payments
/// to it.
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

pub(super) fn invoice_record(row: &Row<'_>) -> rusqlite::Result<InvoiceRecord> {
    Ok(InvoiceRecord {
        add_index: unsigned(row.get("add_index")?),
        kind: InvoiceKind::of(row.get("kind")?)?,
        payment_hash: array(row, "payment_hash")?,
        payment_addr: array(row, "payment_addr")?,
        preimage: optional_array(row, "preimage")?,
        terms: parse(&row.get::<_, String>("terms")?)?,
        value_msat: unsigned(row.get("value_msat")?),
        created_at: unsigned(row.get("created_at")?),
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(unsigned),
        state: InvoiceState::of(row.get("state")?)?,
        settle_index: row.get::<_, Option<i64>>("settle_index")?.map(unsigned),
        settled_at: row.get::<_, Option<i64>>("settled_at")?.map(unsigned),
        amt_paid_msat: unsigned(row.get("amt_paid_msat")?),
    })
}

pub(super) fn set_record(row: &Row<'_>) -> rusqlite::Result<SetRecord> {
    Ok(SetRecord {
        set_id: array(row, "set_id")?,
        add_index: unsigned(row.get("add_index")?),
        state: HtlcState::of(row.get("state")?)?,
        settle_index: row.get::<_, Option<i64>>("settle_index")?.map(unsigned),
        settled_at: row.get::<_, Option<i64>>("settled_at")?.map(unsigned),
        amt_paid_msat: unsigned(row.get("amt_paid_msat")?),
    })
}

pub(super) fn htlc_record(row: &Row<'_>) -> rusqlite::Result<HtlcRecord> {
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

numbered!(InvoiceKind { Bolt11 = 0, SpontaneousAmp = 1, Amp = 2, Hold = 3, Keysend = 4 });
numbered!(InvoiceState { Open = 0, Settled = 1, Canceled = 2, Accepted = 3, Disabled = 4 });
numbered!(HtlcState { Accepted = 0, Settled = 1, Canceled = 2 });
