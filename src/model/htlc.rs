//! Incoming HTLCs and the AMP sets that they form.

use std::collections::BTreeMap;

use ldk_amp::{HtlcKey, SetId};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

/// The state of an HTLC or of an AMP set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HtlcState {
    /// Held by this node.
    Accepted,
    Settled,
    Canceled,
}

/// An incoming HTLC that pays an invoice.
#[derive(Clone, PartialEq, Eq)]
pub struct HtlcRecord {
    pub channel_id: ChannelId,
    pub htlc_id: u64,
    pub add_index: u64,
    pub payment_hash: PaymentHash,
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
    pub preimage: Option<PaymentPreimage>,
}

impl HtlcRecord {
    /// Identifies the HTLC.
    pub fn key(&self) -> HtlcKey {
        HtlcKey {
            channel_id: self.channel_id,
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

/// The AMP fields of a shard.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardRecord {
    pub set_id: SetId,
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

/// An AMP set: the HTLCs of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRecord {
    pub set_id: SetId,
    pub add_index: u64,
    pub state: HtlcState,
    pub settle_index: Option<u64>,
    pub settled_at: Option<u64>,
    pub amt_paid_msat: u64,
}
